"""Every type that crosses a stage of the pipeline.

Times are counted in samples of the 16 kHz mono stream that the source delivers, from its first sample, so the same
audio always gives the same events. What a service publishes has a time of day besides, ``time``, in Unix seconds: when
it happened, for what is heard when its first sample came. It is None elsewhere, and plays no part in comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second of all audio inside rtstream, in Hz."""


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A run of consecutive samples from a source.

    ``samples`` is float32 of shape (n,), mono, 16 kHz, nominally in [-1, 1]; ``position`` is the index of its first
    sample in the source. Blocks of one source are contiguous unless audio was lost.
    """

    samples: NDArray[np.float32]
    position: int


@dataclass(frozen=True, slots=True)
class SegmentAudio:
    """Audio of one speech segment, in order; a new ``segment`` number begins a segment.

    ``segment`` counts from 0. ``position`` is the index in the source of the first of ``samples`` (float32, shape
    (n,), n may be 0 when ``last``). ``last`` closes the segment: nothing more comes for it. ``silence`` counts the
    samples at the end of ``samples``, and before them in the segment, that came after its last speech. ``cut``: the
    segment was as long as it may be, and the next one goes on within what is being said.
    """

    segment: int
    position: int
    samples: NDArray[np.float32]
    last: bool
    silence: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its place in the source, in samples, and its confidence in [0, 1]."""

    text: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Partial:
    """The text of an open segment so far. Within a segment each partial's text extends the one before it.

    ``language``: the one that is taken to be spoken, an ISO 639-1 code.
    """

    segment: int
    start: int
    end: int
    text: str
    words: tuple[Word, ...] = field(default=())
    time: float | None = field(default=None, compare=False)
    language: str = ""


@dataclass(frozen=True, slots=True)
class Final:
    """The text of a closed segment. It replaces the segment's partials, once, and never changes.

    It is empty where, all of it heard, the segment is found to be in another language than the model's: that takes back
    what partials took for words. A segment without partials then has no final at all.

    ``source`` says which pass wrote it: the attention decoder, or CTC when the decoder's text was rejected.
    ``confidence`` in [0, 1]: the mean of its words' by their length; None for an empty text. ``language``: that of the
    text, an ISO 639-1 code, of all the segment's audio: its partials may have been taken for another's. "" where it is
    not known: in a row of an old store.
    """

    segment: int
    start: int
    end: int
    text: str
    words: tuple[Word, ...] = field(default=())
    source: Literal["decoder", "ctc"] = "decoder"
    confidence: float | None = None
    time: float | None = field(default=None, compare=False)
    language: str = ""


Transcription = Partial | Final
"""The text of a segment as it is spoken."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The text of a segment in another language, ``language`` being its BCP 47 tag.

    ``start`` and ``end`` are those of what is translated: with ``final`` the segment's final, and then it never
    changes; else a partial, and a later translation of the segment replaces it. An empty one takes back what was shown,
    or says that there is none.
    """

    segment: int
    start: int
    end: int
    text: str
    language: str
    final: bool
    time: float | None = field(default=None, compare=False)


Event = Transcription | Translation
"""What recognition gives: a translation behind the partial or final that it is of."""


@dataclass(frozen=True, slots=True)
class AudioLost:
    """Audio of the source that was never recognised: ``samples`` of it from ``position`` on, and why."""

    position: int
    samples: int
    reason: Literal["overflow", "behind", "device"]
    time: float | None = field(default=None, compare=False)


CaptureState = Literal["starting", "capturing", "muted", "paused", "stalled", "lost", "ended"]
"""``paused``: whoever delivers the audio does not for now, and may; ``stalled``: a device does not, and should;
``muted``: audio comes, and is dropped because somebody asked for that."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What the audio source is doing. ``device`` is its name, ``detail`` a line for people."""

    device: str
    state: CaptureState
    detail: str = ""
    time: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that failed, or with ``recovered`` that works again.

    ``code`` is stable, upper case (``DISK_FULL``); ``message`` is one line that says what is wrong and what to do.
    """

    code: str
    message: str
    recovered: bool = False
    time: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody begins to speak in a segment, or has stopped, at ``position``; known a little later."""

    segment: int
    position: int
    state: Literal["started", "ended"]
    time: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flushed:
    """All that a client's stream had said before it asked for that has been given."""


ServiceEvent = Event | Speech | AudioLost | DeviceState | Fault
"""Everything that the service publishes."""

StreamEvent = Event | Speech | AudioLost | Fault | Flushed
"""Everything that a client's own stream brings."""
