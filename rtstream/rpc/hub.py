"""What the gRPC server needs of the service behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from rtstream.errors import RtstreamError
from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rtstream.events import DeviceState, Fault, StreamEvent
    from rtstream.publish.broker import Broker

Phase = Literal["starting", "loading", "ready", "degraded", "stopping"]
"""``degraded``: it serves, but without its microphone, or with its disk full; the faults say which."""


class StreamLimitError(RtstreamError):
    """As many client streams are being recognised as are allowed; one must end before the next can begin."""


class NotReadyError(RtstreamError):
    """The model is not loaded yet, or the service is stopping; to be tried again."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a client asks of its own stream. ``chunk_ms``: None for the service's own, else 320, 640 or 1280.

    ``phrases``: names and words to find where they are said, besides the service's own, each ``PHRASE`` or
    ``PHRASE=WEIGHT``. ``silence_ms`` ends a segment, None: the service's own. ``speech``: also tell when it starts and
    ends.
    """

    partials: bool = True
    words: bool = False
    chunk_ms: int | None = None
    phrases: tuple[str, ...] = ()
    silence_ms: int | None = None
    speech: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device that could be captured from. ``rate`` is its native one in Hz, ``used``: by the service, now."""

    name: str
    index: int
    channels: int
    rate: int
    default: bool = False
    used: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """How the service is. ``counters`` count from its start; names as those of its metrics.

    ``audio_age_seconds``: how long ago the last block came from the source, None before the first.
    ``real_time_factor``: CPU time per time of audio, lately; None before any. ``languages``: into which it translates;
    ``recognized_languages``: of the model, none before it is loaded. ``backlog_seconds``: of audio that waits.
    """

    version: str
    phase: Phase
    model: str = ""
    engine: str = ""
    device: DeviceState | None = None
    uptime_seconds: float = 0.0
    audio_age_seconds: float | None = None
    real_time_factor: float | None = None
    rss_bytes: int = 0
    subscribers: int = 0
    streams: int = 0
    counters: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    languages: tuple[str, ...] = ()
    recognized_languages: tuple[str, ...] = ()
    backlog_seconds: float = 0.0
    sample_rate: int = SAMPLE_RATE


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
