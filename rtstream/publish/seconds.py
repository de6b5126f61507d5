"""What the service says, with times in seconds: as programs outside want it, where rtstream itself counts samples.

``time``, where it is known, is the time of day in Unix seconds at which an event's first sample was heard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rtstream import events
from rtstream.events import SAMPLE_RATE, DeviceState, Fault, Flushed
from rtstream.publish.items import Gap, Position

if TYPE_CHECKING:
    from rtstream.publish.items import Item


@dataclass(frozen=True, slots=True)
class Word:
    """One word, its place in the audio in seconds, and its confidence in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Partial:
    """The text of a segment that is being spoken. Within a segment each partial's text extends the one before it.

    ``start`` and ``end``: seconds of the audio; ``words``: only if asked for; ``language``: the one that is taken to be
    spoken, an ISO 639-1 code.
    """

    segment: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = field(default=())
    time: float | None = field(default=None, compare=False)
    language: str = ""


@dataclass(frozen=True, slots=True)
class Final:
    """The text of a segment that has ended. It replaces the segment's partials, once, and never changes.

    An empty text takes back what the partials showed. ``start`` and ``end``: seconds of the audio; ``words``: only if
    asked for; ``source``: which pass wrote it. ``position``: its number, to resume after; None outside subscriptions.
    ``confidence`` in [0, 1]; None for an empty text. ``language``: an ISO 639-1 code; "" of finals that
    were stored before there was such a field.
    """

    segment: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = field(default=())
    source: Literal["decoder", "ctc"] = "decoder"
    position: Position | None = None
    confidence: float | None = None
    time: float | None = field(default=None, compare=False)
    language: str = ""


@dataclass(frozen=True, slots=True)
class Translation:
    """The text of a segment in another language, ``language`` being its BCP 47 tag.

    With ``final`` it never changes, and ``position`` is the number of the final that it translates, None outside
    subscriptions. Otherwise it is of a partial, and the next one of its segment replaces it. ``start`` and ``end``:
    seconds of the audio.
    """

    segment: int
    start: float
    end: float
    text: str
    language: str
    final: bool
    position: Position | None = None
    time: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AudioLost:
    """Audio that was never recognised: ``seconds`` of it from ``start`` on, both in seconds, and why."""

    start: float
    seconds: float
    reason: Literal["overflow", "behind", "device"]
    time: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody begins to speak in a segment, or has stopped, ``start`` seconds from the begin of the audio."""

    segment: int
    start: float
    state: Literal["started", "ended"]
    time: float | None = field(default=None, compare=False)


RecognizedEvent = Partial | Final | Translation | Speech | AudioLost | Fault | Flushed
"""What a client's own audio brings."""
Event = RecognizedEvent | DeviceState | Gap
"""What a subscription brings."""


def read_item(item: Item) -> Event:
    """An item of a subscription."""
    if isinstance(item, Gap):
        return item
    match item.event:
        case events.Translation() as event:
            return read_translation(event, item.translates)
        case DeviceState() as event:
            return event
        case event:
            return read_event(event, item.position)


def read_event(event: events.StreamEvent, position: Position | None = None) -> RecognizedEvent:
    """An event of a client's own audio, or of a subscription."""
    match event:
        case events.Partial():
            start, end = _seconds(event.start), _seconds(event.end)
            return Partial(event.segment, start, end, event.text, _words(event.words), event.time, event.language)
        case events.Final():
            return read_final(event, position)
        case events.Translation():
            return read_translation(event)
        case events.AudioLost():
            return AudioLost(_seconds(event.position), _seconds(event.samples), event.reason, event.time)
        case events.Speech():
            return Speech(event.segment, _seconds(event.position), event.state, event.time)
        case Fault() | Flushed():
            return event


def read_final(final: events.Final, position: Position | None = None) -> Final:
    """A final; ``position``: its number, if it has one."""
    start, end = _seconds(final.start), _seconds(final.end)
    words = _words(final.words)
    return Final(
        final.segment,
        start,
        end,
        final.text,
        words,
        final.source,
        position,
        final.confidence,
        final.time,
        final.language,
    )


def read_translation(event: events.Translation, translates: Position | None = None) -> Translation:
    """A translation; ``translates``: the number of its final, if it has one."""
    start, end = _seconds(event.start), _seconds(event.end)
    return Translation(event.segment, start, end, event.text, event.language, event.final, translates, event.time)


def _words(words: tuple[events.Word, ...]) -> tuple[Word, ...]:
    return tuple(Word(word.text, _seconds(word.start), _seconds(word.end), word.confidence) for word in words)


def _seconds(samples: int) -> float:
    return samples / SAMPLE_RATE
