"""What the gRPC server needs of the service behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rtstream.errors import RtstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rtstream.events import StreamEvent
    from rtstream.publish.broker import Broker
    from rtstream.wire.values import Device, Status, StreamSettings


class StreamLimitError(RtstreamError):
    """As many client streams are being recognised as are allowed; one must end before the next can begin."""


class NotReadyError(RtstreamError):
    """The model is not loaded yet, or the service is stopping; to be tried again."""


class RecognitionStream(Protocol):
    """One client's audio being recognised. Iterate over it, once, for its events, while pushing."""

    async def push(self, samples: NDArray[np.float32]) -> None:
        """Take further samples, 16 kHz mono, shape (n,); waits for room, so that a fast client is held back."""
        ...

    async def pause(self) -> None:
        """Close the open segment: more may be long in coming, and follows without a gap."""
        ...

    async def flush(self) -> None:
        """Close the open segment as :meth:`pause`, and give a Flushed behind what was said before."""
        ...

    async def finish(self) -> None:
        """Say that no more audio comes: the iteration ends after the last final."""
        ...

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """Give the events, in order."""
        ...

    async def close(self) -> None:
        """Let go of everything, whatever is pending; any number of times."""
        ...


class Hub(Protocol):
    """The service, as the server sees it. All of it is called on the event loop of the server."""

    @property
    def broker(self) -> Broker:
        """Where the events of the service's own source are published."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """Into which the events of its own source are translated: BCP 47 tags."""
        ...

    @property
    def muted(self) -> bool:
        """Whether the audio of its own source is dropped."""
        ...

    def status(self) -> Status:
        """How the service is, now."""
        ...

    async def devices(self) -> Sequence[Device]:
        """What could be captured from; may take a moment. Raises AudioError if the sound system cannot be asked."""
        ...

    def mute(self, muted: bool) -> None:  # noqa: FBT001 - it is what it says
        """Drop the audio of its own source from now on, or recognise it again."""
        ...

    async def open_stream(self, settings: StreamSettings) -> RecognitionStream:
        """Begin to recognise a client's audio. Raises StreamLimitError, NotReadyError, or ConfigError for settings."""
        ...
