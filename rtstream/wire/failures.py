"""Errors as gRPC clients see them: a status code, a line for people, and a google.rpc.ErrorInfo for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

import grpc
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status as RichStatus

from rtstream.errors import RtstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from grpc.aio import ServicerContext

DOMAIN = "rtstream"
DETAILS_KEY = "grpc-status-details-bin"
"""Where gRPC libraries look for the details."""

Reason = Literal[
    "TOKEN_MISSING",
    "TOKEN_WRONG",
    "TOO_MANY_STREAMS",
    "SLOW_SUBSCRIBER",
    "NOT_READY",
    "STOPPING",
    "INVALID_REQUEST",
    "AUDIO_TOO_LONG",
    "IDLE",
    "NO_DEVICES",
    "INTERNAL",
]
"""What protos/rtstream/v1/rtstream.proto promises; stable."""

CODES: Mapping[Reason, grpc.StatusCode] = {
    "TOKEN_MISSING": grpc.StatusCode.UNAUTHENTICATED,
    "TOKEN_WRONG": grpc.StatusCode.UNAUTHENTICATED,
    "TOO_MANY_STREAMS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "SLOW_SUBSCRIBER": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "NOT_READY": grpc.StatusCode.UNAVAILABLE,
    "STOPPING": grpc.StatusCode.UNAVAILABLE,
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "AUDIO_TOO_LONG": grpc.StatusCode.INVALID_ARGUMENT,
    "IDLE": grpc.StatusCode.DEADLINE_EXCEEDED,
    "NO_DEVICES": grpc.StatusCode.UNAVAILABLE,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}


class RequestFailedError(RtstreamError):
    """Why a call ends with an error; raised by whatever serves it, sent by :func:`abort`."""

    def __init__(self, reason: Reason, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = metadata


def invalid(field: str, message: str) -> RequestFailedError:
    """A request whose ``field`` is not what it may be."""
    return RequestFailedError("INVALID_REQUEST", f"{field}: {message}", field=field)


async def abort(context: ServicerContext[Any, Any], failure: RequestFailedError) -> NoReturn:
    """End a call with the failure's status and details. Raises what grpc.aio raises for that."""
    code = CODES[failure.reason]
    info = ErrorInfo(reason=failure.reason, domain=DOMAIN, metadata=failure.metadata)
    status = RichStatus(code=Code.Value(code.name), message=str(failure))
    status.details.add().Pack(info)
    await context.abort(code, str(failure), ((DETAILS_KEY, status.SerializeToString()),))


def read_failure(metadata: Iterable[tuple[str, str | bytes]] | None) -> RequestFailedError | None:
    """What :func:`abort` sent, from a call's trailing metadata; None if there is nothing of ours in it."""
    for key, value in metadata or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = RichStatus.FromString(value)
        except ValueError:  # protobuf's DecodeError: not ours
            continue
        for detail in status.details:
            info = ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN and info.reason in get_args(Reason):
                return RequestFailedError(info.reason, status.message, **info.metadata)
    return None
