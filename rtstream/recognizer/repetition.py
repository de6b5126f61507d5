"""What is said several times in a row, which CTC counts: a decoder loops, and leaves out what it has just written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = re.compile(
    r"(?P<key>\d{1,3}(?:,\d{3})+|\d{1,3}(?:\.\d{3}){2,}|\d+[.:]\d+|\d|[^\W\d_]+(?:['’][^\W\d_]+)*)(?P<rest>\W*)"
)
ONE_BY_ONE = re.compile(r"(?<=\d)(?=\d)")
LONGEST = 24
"""Pieces of what is said again."""
FEW = 2
"""Times up to which a repetition is not doubted within a text: "very very good".

It is where the text is nothing else, and at its end, where a decoder writes the last word once more of audio that
breaks off in it.
"""
DIGITS = 3
"""Digits from which on a number is looked at digit by digit."""
LETTERS_A_DIGIT = 3
MISSED, MISSED_MORE = 4.0, 2.0
"""Nats a letter that CTC may miss of what is said once more, the decoder having written that, or not even that.

It costs hardly more where it is said and CTC hears little of it, and 6 or more where nobody says it.
"""
MORE = 12
"""Times that something may be said more than twice as often as it is written."""
MISSED_DIGIT = 2.0
"""The same as ``MISSED``, of a digit in a number."""
MARGIN = 3.0
"""Nats by which another count of it must be better besides."""
CHANGES = 4
"""Digits of a number that are changed at the most."""


@dataclass(frozen=True, slots=True)
class _Run:
    """``length`` pieces from ``start`` on, said ``times`` times; after them ``rest`` pieces of the same once more.

    ``at_most``: it may be said less often, but not more.
    """

    start: int
    length: int
    times: int
    rest: int = 0
    at_most: bool = False


def as_often_as_heard(text: str, penalty: Callable[[str], float]) -> str:
    """The text with each of its repetitions as often as CTC hears it.

    ``penalty``: how much worse than the best CTC finds a text, in nats. Looked at are what is said three times or more,
    a text that says the same all along, words at its end that are written twice, and digits of a number that is said
    digit by digit.
    """
    if not PIECE.search(text):
        return text
    start = 0
    while True:
        pieces = list(PIECE.finditer(text))
        run = next(_runs([piece["key"].casefold() for piece in pieces], start), None)
        if run is None:
            return _digits_as_heard(text, penalty)
        text, times = _recounted(text, pieces, run, penalty)
        start = run.start + run.length * times


def _runs(keys: list[str], place: int) -> Iterator[_Run]:
    """The repetitions in question from a place on, from left to right, each the longest there."""
    while place < len(keys):
        run = _run_at(keys, place)
        end = place + run.length * run.times
        if run.times > FEW or (run.times > 1 and run.length * run.times + run.rest == len(keys)):
            yield run
        elif run.times > 1 and end == len(keys) and any(len(key) > 1 and key.isalpha() for key in keys[place:end]):
            yield replace(run, at_most=True)
        place += run.length * run.times


def _run_at(keys: list[str], start: int) -> _Run:
    best = _Run(start, 1, 1)
    for length in range(1, min(LONGEST, (len(keys) - start) // 2) + 1):
        unit = keys[start : start + length]
        times = 1
        while keys[start + times * length : start + (times + 1) * length] == unit:
            times += 1
        if times > 1 and times * length > best.times * best.length:
            rest = keys[start + times * length :]
            cut = start == 0 and len(rest) < length and rest == unit[: len(rest)]
            best = _Run(start, length, times, len(rest) if cut else 0)
    return best


def _recounted(text: str, pieces: list[re.Match[str]], run: _Run, penalty: Callable[[str], float]) -> tuple[str, int]:
    """The text with what CTC hears in the place of a run, and how often that is."""
    found = [_climb(text, pieces, run, penalty)]
    if all(piece["key"].isdecimal() for piece in pieces[run.start : run.start + run.length]):
        # "11 11" may be two ones twice: as elevens they are said with fewer letters, and there seem to be more of them.
        found.append(_climb(text, pieces, run, lambda each: penalty(ONE_BY_ONE.sub(" ", each))))
    _, best, times = min(found)
    return best, times


def _climb(
    text: str, pieces: list[re.Match[str]], run: _Run, penalty: Callable[[str], float]
) -> tuple[float, str, int]:
    """The penalty of the best text, that text, and how often it says the run."""
    letters = sum(_letters(piece["key"]) for piece in pieces[run.start : run.start + run.length])
    plain = penalty(text)
    best, times, least = text, run.times, plain
    for step, missed in ((-1, MISSED), (1, MISSED_MORE))[: 1 if run.at_most else 2]:
        count, worse = run.times + step, 0
        while 0 < count <= 2 * run.times + MORE and worse < 2:
            other = _with_count(text, pieces, run, count)
            found = penalty(other)
            less = found - missed * letters * (count - run.times)
            worse = 0 if less < least else worse + 1
            if less < least:
                best, times, least, plain = other, count, less, found
            count += step
    return plain, best, times


def _letters(key: str) -> int:
    """About as many as CTC would hear of it, and a space."""
    return 1 + sum(LETTERS_A_DIGIT if c.isdecimal() else c.isalpha() for c in key)


def _with_count(text: str, pieces: list[re.Match[str]], run: _Run, count: int) -> str:
    """The text with a run said so often, as it is written in between, and what stands behind it."""
    units = [
        [piece[0] for piece in pieces[start : start + run.length]]
        for start in range(run.start, run.start + run.length * run.times, run.length)
    ]
    between = units[max(0, run.times - 2)]
    before = (units[:-1] + [between] * (count - run.times + 1))[: count - 1]
    said = "".join("".join(unit) for unit in [*before, units[-1] if before else units[0]])
    last = pieces[run.start + run.length * run.times + run.rest - 1]
    bare = said[: list(PIECE.finditer(said))[-1].end("key")]
    return text[: pieces[run.start].start()] + bare + last["rest"] + text[last.end() :]


def _digits_as_heard(text: str, penalty: Callable[[str], float]) -> str:
    """The text with each digit of its numbers as often in a row as CTC hears it, where it hears them one by one."""
    for number in range(len(_numbers(list(PIECE.finditer(text))))):

        def spelt(text: str, number: int = number) -> float:
            pieces = list(PIECE.finditer(text))
            numbers = _numbers(pieces)
            if number >= len(numbers):  # another digit made "1,23" a count
                return inf
            first, last = numbers[number]
            digits = " ".join(piece["key"] for piece in pieces[first : last + 1])
            return penalty(f"{text[: pieces[first].start()]} {digits} {text[pieces[last].end('key') :]}")

        least = spelt(text)
        if least > penalty(text) + 1.0:
            continue  # heard as a count
        for _ in range(CHANGES):
            pieces = list(PIECE.finditer(text))
            first, last = _numbers(pieces)[number]
            steps = (1,) if last - first < DIGITS else (-1, 1)
            runs = _digit_runs(pieces, first, last)
            counts = [(run, step) for run in runs for step in steps if run.times + step]
            others = [(step, _with_count(text, pieces, run, run.times + step)) for run, step in counts]
            free = (LETTERS_A_DIGIT + 1) * MISSED_DIGIT
            found, other = min((spelt(other) - free * step, other) for step, other in others)
            if found >= least - MARGIN:
                break
            least, text = spelt(other), other
    return text


def _numbers(pieces: list[re.Match[str]]) -> list[tuple[int, int]]:
    """The first and the last piece of each row of ``DIGITS`` digits or more."""
    rows = [list(row) for digit, row in groupby(range(len(pieces)), lambda at: pieces[at]["key"].isdecimal()) if digit]
    return [(row[0], row[-1]) for row in rows if len(row) >= DIGITS]


def _digit_runs(pieces: list[re.Match[str]], first: int, last: int) -> Iterator[_Run]:
    """Rows of one digit."""
    for _, row in groupby(range(first, last + 1), lambda at: pieces[at]["key"]):
        places = list(row)
        yield _Run(places[0], 1, len(places))
