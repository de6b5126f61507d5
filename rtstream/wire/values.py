"""What calls are about, for the service and its clients alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtstream.events import DeviceState, Fault

Phase = Literal["starting", "loading", "ready", "degraded", "stopping"]
"""``degraded``: it serves, but without its microphone, or with its disk full; the faults say which."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a client asks of its own stream. ``chunk_ms``: None for the service's own, else 320, 640 or 1280.

    ``phrases``: names and words to find where they are said, besides the service's own, each ``PHRASE`` or
    ``PHRASE=WEIGHT``. ``silence_ms`` ends a segment, None: the service's own. ``speech``: also tell when it starts and
    ends. ``languages``: BCP 47 tags of those that may be spoken, () for any that the model knows, None: the service's.
    ``translate``: also give, in English, what is said in other languages.
    """

    partials: bool = True
    words: bool = False
    chunk_ms: int | None = None
    phrases: tuple[str, ...] = ()
    silence_ms: int | None = None
    speech: bool = False
    languages: tuple[str, ...] | None = None
    translate: bool = False


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
