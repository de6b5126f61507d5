"""Finals as captions, in SubRip (SRT) and WebVTT.

A final may be half a minute long; a caption holds what can be read at a glance.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE, Final
from rtstream.formats.lines import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS, LINES = 42, 2
"""What subtitling guides allow a caption."""
LONGEST_MS = 7_000
PAUSE_MS = 1_000
"""A pause between two words that parts captions."""
SHORTEST_MS = 1_000
"""A caption stays at least this long where the next one leaves it the time."""
VTT_HEADER = "WEBVTT\n\n"
JOINER = "\u2060"
"""Word joiner: invisible, and between two characters enough to keep them from being read as mark-up."""


@dataclass(frozen=True, slots=True)
class Caption:
    """Lines of plain text, one or two, and when they show: milliseconds of the source, ``start`` before ``end``."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """A word and its place in ms."""

    text: str
    start: int
    end: int


def captions(final: Final, *, lines: int = LINES) -> list[Caption]:
    """Cut a final into captions of ``lines`` (1 or 2), in order and without overlap; none for an empty text.

    Cuts are placed by the words' times where the final has them, else the text is spread evenly over its time. A line
    is longer than ``COLUMNS`` only if it is a single word.
    """
    start, end = _milliseconds(final.start), _milliseconds(final.end)
    groups = list(_group(_spans(final), lines))
    starts = [max(group[0].start, start) for group in groups]
    # Words without letters may have no time at all: every caption gets at least a moment, from the last one back.
    limit = end
    for index in reversed(range(len(groups))):
        starts[index] = limit = max(min(starts[index], limit - 1), 0)
    given: list[Caption] = []
    for group, begin, following in zip(groups, starts, [*starts, end][1:], strict=True):
        begin = max(begin, given[-1].end if given else 0)  # noqa: PLW2901 - matters only without a ms for each caption
        stop = max(min(max(group[-1].end, begin + SHORTEST_MS), following), begin + 1)
        given.append(Caption(begin, stop, _wrap([span.text for span in group])))
    return given


def srt_cue(number: int, caption: Caption) -> str:
    """One SubRip block with its closing blank line; numbers count from 1."""
    # The format knows no escapes, and players take "<i>" and "{\an8}" for mark-up.
    lines = [
        line.replace("-->", f"--{JOINER}>").replace("<", f"<{JOINER}").replace("{", f"{{{JOINER}")
        for line in caption.lines
    ]
    times = f"{_clock(caption.start, ',')} --> {_clock(caption.end, ',')}"
    return "\n".join([str(number), times, *lines, "", ""])


def vtt_cue(caption: Caption) -> str:
    """One WebVTT cue with its closing blank line; a file starts with ``VTT_HEADER``."""
    lines = [html.escape(line, quote=False) for line in caption.lines]
    return "\n".join([f"{_clock(caption.start, '.')} --> {_clock(caption.end, '.')}", *lines, "", ""])


def _milliseconds(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE)


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{milliseconds:03}"


def _spans(final: Final) -> list[_Span]:
    text = clean(final.text)
    words = [_Span(clean(w.text), _milliseconds(w.start), _milliseconds(w.end)) for w in final.words]
    if text and " ".join(word.text for word in words) == text:
        return words
    start, length = _milliseconds(final.start), _milliseconds(final.end - final.start)
    spans, done = [], 0
    for word in text.split():
        first = start + length * done // len(text)
        done += len(word)
        spans.append(_Span(word, first, start + length * done // len(text)))
        done += 1
    return spans


def _group(spans: Sequence[_Span], lines: int) -> Iterator[Sequence[_Span]]:
    """Part words into captions: where the speaker pauses or ends a sentence, and what lies between evenly."""
    begin = 0
    for end in range(1, len(spans) + 1):
        if end == len(spans) or _rests(spans[begin:end], spans[end]):
            yield from _even(spans[begin:end], lines)
            begin = end


def _rests(before: Sequence[_Span], after: _Span) -> bool:
    """Whether the speaker rests between two words; a sentence too short for a caption of its own is no reason."""
    if after.start - before[-1].end >= PAUSE_MS:
        return True
    return before[-1].text.endswith((".", "?", "!")) and len(_text(before)) > COLUMNS // 2


def _even(spans: Sequence[_Span], lines: int) -> list[Sequence[_Span]]:
    """Part words into as few captions as can hold them, as even in length as can be."""
    # For each number of words from the first on: captions, the sum of their squared lengths, begin of the last one.
    best = [(0, 0, 0)]
    for end in range(1, len(spans) + 1):
        choices = []
        for begin in reversed(range(end)):
            group = spans[begin:end]
            if len(group) > 1 and not _fits(group, lines):
                break
            count, squares, _ = best[begin]
            choices.append((count + 1, squares + len(_text(group)) ** 2, begin))
        best.append(min(choices))
    groups: list[Sequence[_Span]] = []
    end = len(spans)
    while end:
        begin = best[end][2]
        groups.append(spans[begin:end])
        end = begin
    return groups[::-1]


def _fits(group: Sequence[_Span], lines: int) -> bool:
    return group[-1].end - group[0].start <= LONGEST_MS and len(_fill([span.text for span in group])) <= lines


def _text(group: Sequence[_Span]) -> str:
    return " ".join(span.text for span in group)


def _fill(words: Sequence[str]) -> list[str]:
    """Lines filled one after the other."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= COLUMNS:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _wrap(words: Sequence[str]) -> tuple[str, ...]:
    """One line, or two of about the same length."""
    if len(_fill(words)) == 1:
        return (" ".join(words),)
    halves = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return min(halves, key=lambda pair: max(map(len, pair)))
