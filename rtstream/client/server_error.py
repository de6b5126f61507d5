"""How a call fails, as a client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from rtstream.client.unreachable import unreachable
from rtstream.errors import RtstreamError
from rtstream.wire.failures import read_failure

if TYPE_CHECKING:
    from collections.abc import Iterable

PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a later try may not meet again."""


TOO_LARGE = "message larger than max"
"""In gRPC's own words for a message that the service did not even look at."""


class ServerError(RtstreamError):
    """A call failed. ``code`` is gRPC's, ``reason`` the service's own stable one, or empty: see the proto."""

    def __init__(self, message: str, code: grpc.StatusCode, reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.metadata = metadata

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in PASSING


def server_error(
    target: str, code: grpc.StatusCode, details: str | None, metadata: Iterable[tuple[str, str | bytes]] | None
) -> ServerError:
    """What to raise for a call to ``target`` that ended with this status."""
    failure = read_failure(metadata)
    if failure is not None:
        return ServerError(f"{target}: {failure}", code, failure.reason, **failure.metadata)
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return ServerError(unreachable(target, details or ""), code)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in (details or ""):
        told = f"{target}: the message is far too large ({details}); send audio in smaller pieces, through recognize()"
        return ServerError(told, code, "AUDIO_TOO_LONG")
    return ServerError(f"{target}: {details or code.name}", code)


def silent(target: str, seconds: float) -> ServerError:
    """What to raise where nothing has come for ``seconds``, not even a heartbeat."""
    text = f"{target}: nothing was heard for {seconds:g} s; the connection is taken for dead"
    return ServerError(text, grpc.StatusCode.UNAVAILABLE)


def ended(target: str) -> ServerError:
    """What to raise where a subscription ends without an error."""
    return ServerError(f"{target}: the service has ended the stream", grpc.StatusCode.UNAVAILABLE)
