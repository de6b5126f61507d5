"""A graph of what may be said of a written text, in CTC's symbols."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rtstream.model.letters import fold
from rtstream.recognizer.ctc_search import BEGIN, Readings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Parts = Callable[[str, int], Iterator[tuple[int, tuple[str, ...]]]]

LONGEST = 15
"""Digits above which a number is not said as one count."""


@dataclass(frozen=True, slots=True)
class SpokenForms:
    """``readings``: all ways of saying a text; ``words``: the written word of each of their symbols, -1 of spaces."""

    readings: Readings
    words: list[int]


@dataclass(frozen=True, slots=True)
class _Edge:
    """What may be said from a node to a later one, perhaps nothing; ``tight``: where no space need be heard before.

    A word in it may have forms, parted by bars: "un|una"; with an empty one it may be left out: "and|".
    """

    start: int
    end: int
    said: str
    word: int
    tight: bool


class SpokenGraph:
    """What may be said; ``word``: the written word to which what is added belongs.

    What adds to it takes the node after which that is said, and gives the node behind it.
    """

    def __init__(self) -> None:
        self.word = 0
        self.nodes = 1
        self.edges: list[_Edge] = []

    def say(self, start: int, *sayings: str, tight: bool = False, end: int | None = None) -> int:
        """One of these; to a new node, or to ``end``."""
        if end is None:
            end = self.nodes
            self.nodes += 1
        self.edges += [_Edge(start, end, said, self.word, tight) for said in dict.fromkeys(sayings)]
        return end

    def say_number(
        self,
        digits: str,
        node: int,
        parts: Parts,
        counts: Callable[[int], Iterable[str]],
        scales: Mapping[int, Iterable[str]],
        *,
        tight: bool = False,
    ) -> int:
        """A number: as a count, digit by digit, and as ``parts`` says what stands at a place of it."""
        count = len(digits)
        at: list[int] = [node, *range(self.nodes, self.nodes + count)]
        self.nodes += count

        def say(start: int, end: int, *sayings: str) -> None:
            self.say(at[start], *sayings, tight=tight or start > 0, end=at[end])

        for start in range(count):
            for length, sayings in parts(digits, start):
                say(start, start + length, *sayings)
        if digits[0] != "0":
            if 3 < count <= LONGEST:
                say(0, count, *counts(int(digits)))
            for zeros, names in scales.items():
                if zeros < count and digits.endswith("0" * zeros):
                    say(count - zeros, count, *names)
        return at[-1]

    def compile(self, last: int, letters: str) -> SpokenForms:
        """The graph in CTC's symbols; ``last``: the node where all is said."""
        space = letters.index(" ") + 1
        symbols: list[int] = []
        before: list[list[int]] = []
        words: list[int] = []

        def put(symbol: int, word: int, *places: int) -> int:
            symbols.append(symbol)
            words.append(word)
            before.append(list(dict.fromkeys(places)))
            return len(symbols) - 1

        reached: defaultdict[int, list[int]] = defaultdict(list, {0: [BEGIN]})
        for start, edges in groupby(sorted(self.edges, key=lambda edge: edge.start), key=lambda edge: edge.start):
            ends = list(dict.fromkeys(reached[start]))
            heard = [place for place in ends if place != BEGIN]
            gap: int | None = None
            for edge in edges:
                spelt = [forms for word in edge.said.split() if any(forms := _forms(word, letters))]
                if not spelt:
                    reached[edge.end] += ends
                    continue
                if heard and gap is None:
                    gap = put(space, -1, *heard)
                at = [*([] if gap is None else [gap]), *(ends if edge.tight else [e for e in ends if e == BEGIN])]
                for index, forms in enumerate(spelt):
                    without = at if () in forms else []
                    if index:
                        at = [put(space, -1, *at), *(at if edge.tight else [])]
                    behind: list[int] = []
                    for form in filter(None, forms):
                        places = at
                        for symbol in form:
                            places = [put(symbol, edge.word, *places)]
                        behind += places
                    at = [*behind, *without]
                reached[edge.end] += at
        return SpokenForms(Readings(symbols, before, list(dict.fromkeys(reached[last]))), words)


def _forms(word: str, letters: str) -> list[tuple[int, ...]]:
    """The symbols of each form of a word."""
    return list(dict.fromkeys(tuple(spell_word(form, letters)) for form in word.split("|")))


def spell_word(word: str, letters: str) -> list[int]:
    """CTC symbols of a word; none for one without letters that CTC knows."""
    return [letters.index(c) + 1 for c in fold(word) if c in letters and c != " "]
