"""Finals as captions, in SubRip (SRT) and WebVTT.

A final may be half a minute long; a caption holds what can be read at a glance.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE, Final
from rtstream.formats.lines import clean
from rtstream.formats.sentences import ends_sentence, may_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS, LINES = 42, 2
"""What subtitling guides allow a caption."""
LONGEST_MS = 7_000
PAUSE_MS = 1_000
"""A pause between two words that parts captions."""
SHORTEST_MS = 1_000
"""A caption stays at least this long; the next one waits for it."""
VTT_HEADER = "WEBVTT\n\n"
JOINER = "\u2060"
"""Word joiner: invisible, and between two characters enough to keep them from being read as mark-up."""


@dataclass(frozen=True, slots=True)
class Caption:
    """Lines of plain text, one or two, and when they show: milliseconds of the source, ``start`` before ``end``.

    ``times``: when each word of each line begins, where that is known.
    """

    start: int
    end: int
    lines: tuple[str, ...]
    times: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class _Span:
    """A word and its place in ms."""

    text: str
    start: int
    end: int


def captions(final: Final, *, lines: int = LINES, columns: int = COLUMNS, after: int = 0) -> list[Caption]:
    """Cut a final into captions of ``lines`` (1 or 2), in order and without overlap; none for an empty text.

    Cuts are placed by the words' times where the final has them, else the text is spread evenly over its time. None is
    shorter than ``SHORTEST_MS``, for which the last may outlast the final, and none begins before ``after`` (in ms),
    the end of the caption before. A line is longer than ``columns`` only if it is a single word.
    """
    spans, exact = _spans(final)
    groups = list(_group(spans, _Frame(lines, columns)))
    first, end = _milliseconds(final.start), _milliseconds(final.end)
    starts = [group[0].start for group in groups]
    # Words without letters may have no time at all: every caption gets a second, from the last one back ...
    limit = end + SHORTEST_MS
    for index in reversed(range(len(groups))):
        starts[index] = limit = max(min(starts[index], limit - SHORTEST_MS), first)
    given: list[Caption] = []
    for group, start, following in zip(groups, starts, [*starts, end][1:], strict=True):
        # ... and where there is no room for that, from the first one on.
        begin = max(start, after)
        after = max(min(max(group[-1].end, begin + SHORTEST_MS), following), begin + SHORTEST_MS)
        text = _wrap(group, columns)
        times = tuple(tuple(span.start for span in line) for line in text) if exact else ()
        given.append(Caption(begin, after, tuple(map(_text, text)), times))
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


def vtt_cue(caption: Caption, *, words: bool = False) -> str:
    """One WebVTT cue with its closing blank line; a file starts with ``VTT_HEADER``.

    ``words``: with a time before each word that has one, at which players begin to show it as spoken.
    """
    lines = [html.escape(line, quote=False) for line in caption.lines]
    if words:
        lines = _timed(lines, caption)
    return "\n".join([f"{_clock(caption.start, '.')} --> {_clock(caption.end, '.')}", *lines, "", ""])


def _timed(lines: Sequence[str], caption: Caption) -> list[str]:
    """Lines with times before their words, as far as they are later than one another and within the cue."""
    newest = caption.start
    timed = list(lines)
    for index, times in enumerate(caption.times):
        words = []
        for word, time in zip(lines[index].split(" "), times, strict=True):
            later = newest < time < caption.end
            newest = time if later else newest
            words.append(f"<{_clock(time, '.')}>{word}" if later else word)
        timed[index] = " ".join(words)
    return timed


def _milliseconds(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE)


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{milliseconds:03}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a caption may hold."""

    lines: int
    columns: int

    def holds(self, group: Sequence[_Span]) -> bool:
        return group[-1].end - group[0].start <= LONGEST_MS and len(_fill(group, self.columns)) <= self.lines


def _spans(final: Final) -> tuple[list[_Span], bool]:
    """The words of a final, and whether their times are its words' own."""
    text = clean(final.text)
    words = [_Span(clean(w.text), _milliseconds(w.start), _milliseconds(w.end)) for w in final.words]
    if text and _text(words) == text and all(" " not in word.text for word in words):
        return words, True
    start, length = _milliseconds(final.start), _milliseconds(final.end - final.start)
    spans, done = [], 0
    for word in text.split():
        first = start + length * done // len(text)
        done += len(word)
        spans.append(_Span(word, first, start + length * done // len(text)))
        done += 1
    return spans, False


def _group(spans: Sequence[_Span], frame: _Frame) -> Iterator[Sequence[_Span]]:
    """Part words into captions: where the speaker pauses or ends a sentence, and what lies between evenly."""
    begin = 0
    for end in range(1, len(spans) + 1):
        if end == len(spans) or _rests(spans[begin:end], spans[end]):
            yield from _even(spans[begin:end], frame)
            begin = end


def _rests(before: Sequence[_Span], after: _Span) -> bool:
    """Whether the speaker rests between two words; a sentence too short for a caption of its own is no reason."""
    if after.start - before[-1].end >= PAUSE_MS:
        return True
    if len(_text(before)) <= COLUMNS // 2 or after.start - before[0].start < SHORTEST_MS:
        return False
    return ends_sentence(before[-1].text, after.text)


def _even(spans: Sequence[_Span], frame: _Frame) -> list[Sequence[_Span]]:
    """Part words into as few captions as can hold them, as even in length as can be.

    Words that belong together stay so, and no caption is too short, if that needs but more captions.
    """
    # For each number of words from the first on: bad cuts, captions, the sum of squared lengths, begin of the last one.
    best = [(0, 0, 0, 0)]
    for end in range(1, len(spans) + 1):
        choices = []
        for begin in reversed(range(end)):
            group = spans[begin:end]
            if len(group) > 1 and not frame.holds(group):
                break
            bad, count, squares, _ = best[begin]
            bad += end < len(spans) and not may_part(group[-1].text, spans[end].text)
            bad += end < len(spans) and spans[end].start - group[0].start < SHORTEST_MS
            choices.append((bad, count + 1, squares + len(_text(group)) ** 2, begin))
        best.append(min(choices))
    groups: list[Sequence[_Span]] = []
    end = len(spans)
    while end:
        begin = best[end][3]
        groups.append(spans[begin:end])
        end = begin
    return groups[::-1]


def _text(group: Sequence[_Span]) -> str:
    return " ".join(span.text for span in group)


def _fill(group: Sequence[_Span], columns: int) -> list[int]:
    """The lengths of lines that are filled one after the other."""
    lengths: list[int] = []
    for span in group:
        if lengths and lengths[-1] + 1 + len(span.text) <= columns:
            lengths[-1] += 1 + len(span.text)
        else:
            lengths.append(len(span.text))
    return lengths


def _wrap(group: Sequence[_Span], columns: int) -> list[Sequence[_Span]]:
    """One line, or two of about the same length, that part no words which belong together."""
    if len(_fill(group, columns)) == 1:
        return [group]

    def cost(cut: int) -> tuple[bool, bool, int]:
        longest = max(len(_text(group[:cut])), len(_text(group[cut:])))
        return longest > columns, not may_part(group[cut - 1].text, group[cut].text), longest

    cut = min(range(1, len(group)), key=cost)
    return [group[:cut], group[cut:]]
