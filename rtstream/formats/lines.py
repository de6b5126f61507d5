"""Events as text for people and as JSON for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rtstream.events import SAMPLE_RATE, Event, Final, Translation

if TYPE_CHECKING:
    from rtstream.events import Word


def clean(text: str) -> str:
    """One printable line: single spaces, no control characters, which a terminal or a player would obey."""
    # A control character that separates words (tab, newline) is a space to split; any other vanishes.
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def json_line(event: Event, *, words: bool = False, file: str | None = None) -> str:
    """``{"type", "segment", "start", "end", "text", "language"}`` of an event, times in seconds of the source.

    Times are rounded to ms. Finals have their ``confidence`` besides, translations ``final``; what a service heard has
    the ``time`` of day at which it began. ``words`` adds to partials and finals a list of
    ``{"word", "start", "end", "confidence"}``, ``file`` the recording that the event is from.
    """
    line: dict[str, Any] = {"type": type(event).__name__.lower()}
    if file is not None:
        line["file"] = file
    line |= {"segment": event.segment, "start": _seconds(event.start), "end": _seconds(event.end), "text": event.text}
    if event.language:
        line["language"] = event.language
    if isinstance(event, Translation):
        line["final"] = event.final
    if isinstance(event, Final) and event.confidence is not None:
        line["confidence"] = round(event.confidence, 3)
    line |= time_field(event.time)
    if words and not isinstance(event, Translation):
        line["words"] = [_word(word) for word in event.words]
    return json.dumps(line, ensure_ascii=False)


def time_field(time: float | None) -> dict[str, str]:
    """``{"time": "2026-11-30T06:42:37.250Z"}`` of Unix seconds; nothing of None."""
    if time is None:
        return {}
    return {"time": datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def text_lines(final: Final, *, words: bool = False, clock: bool = False, language: bool = False) -> list[str]:
    """``[00:00.40 - 00:05.72] text``; ``words`` adds a line ``start end confidence word`` for each word.

    ``language``: which it is in, too, ``[00:00.40 - 00:05.72] [es] text``. ``clock``: times of day, local time, where
    the final has one: ``[14:05:33.40 - 14:05:38.72] text``.
    """
    shown = _Times(final, clock=clock)
    named = f"[{final.language}] " if language else ""
    lines = [f"[{shown(final.start)} - {shown(final.end)}] {named}{clean(final.text)}"]
    if words:
        lines += [
            f"    {shown(word.start)} {shown(word.end)} {word.confidence:4.2f} {clean(word.text)}"
            for word in final.words
        ]
    return lines


def translation_line(translation: Translation, *, clock: bool = False) -> str:
    """``[00:00.40 - 00:05.72] es: text``; ``clock`` as in :func:`text_lines`."""
    shown = _Times(translation, clock=clock)
    times = f"[{shown(translation.start)} - {shown(translation.end)}]"
    return f"{times} {translation.language}: {clean(translation.text)}"


class _Times:
    """Shows positions of an event for reading."""

    def __init__(self, event: Final | Translation, *, clock: bool) -> None:
        self._event = event
        self._clock = clock

    def __call__(self, samples: int) -> str:
        event = self._event
        if not self._clock or event.time is None:
            return short_clock(samples)
        local = datetime.fromtimestamp(event.time + (samples - event.start) / SAMPLE_RATE, UTC).astimezone()
        return f"{local:%H:%M:%S}.{local.microsecond // 10_000:02}"


def short_clock(samples: int) -> str:
    """A position for reading: ``01:02.50``, from an hour on ``1:01:02.50``."""
    hundredths = round(samples * 100 / SAMPLE_RATE)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:' if hours else ''}{minutes:02}:{rest // 100:02}.{rest % 100:02}"


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)


def _word(word: Word) -> dict[str, str | float]:
    return {
        "word": word.text,
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "confidence": round(word.confidence, 3),
    }
