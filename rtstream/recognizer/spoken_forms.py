"""The ways in which a written text may be said, for CTC, which hears letters: numbers and signs have several."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rtstream.model.letters import fold
from rtstream.recognizer.ctc_search import BEGIN, Readings
from rtstream.recognizer.numbers import cardinal, ordinal

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
ELEMENT = re.compile(
    rf"(?P<clock>\d{{1,2}}:\d\d(?!\d))"
    rf"|(?P<money>[$€£](?:{NUMBER})(?:\.\d\d(?!\d))?)"
    r"|(?P<ordinal>\d{1,6}(?:st|nd|rd|th)\b)"
    r"|(?P<decade>\d*[1-9]0'?s\b)"
    rf"|(?P<number>{NUMBER})"
    r"|(?P<letters>[^\W\d_]+)"
    r"|(?P<sign>.)",
    re.IGNORECASE,
)
SPELT = re.compile(r"\W*(?:[^\W\d_][-.])+[^\W\d_]\W*")
"""Letters said one by one, as Moonshine writes them ("S-t-o-d-o-l-s-k-y") and abbreviations are ("U.S.A.")."""
SIGNS = {
    "%": ("percent", "per cent", ""),
    "&": ("and", ""),
    "+": ("plus", "and", ""),
    "=": ("equals", "is", ""),
    "@": ("at", ""),
    "#": ("number", "hash", "pound", ""),
    "°": ("degrees", "degree", ""),
}
BETWEEN = {
    ".": ("point", "dot", ""),
    "-": ("", "dash", "hyphen", "minus", "to"),
    "/": ("", "slash", "over", "of"),
    ":": ("", "to", "colon"),
}
"""How a sign between digits, or digits and letters, is said; elsewhere it is none."""
MONEY = {"$": ("dollars", "dollar", "bucks"), "€": ("euros", "euro"), "£": ("pounds", "pound", "quid")}
SCALES = {3: "thousand", 6: "million", 9: "billion", 12: "trillion"}
TENS = {"0": "hundreds", "1": "tens"} | {str(n): f"{cardinal(10 * n)[:-1]}ies" for n in range(2, 10)}
MAYBE_AND = "and?"
"""In what is said: that "and" may be heard there."""
LONGEST = 15
"""Digits above which a number is not said as one count."""


@dataclass(frozen=True, slots=True)
class SpokenForms:
    """``readings``: all ways of saying a text; ``words``: the written word of each of their symbols, -1 of spaces."""

    readings: Readings
    words: list[int]


def spoken_forms(text: str, letters: str, language: str = "en") -> SpokenForms:  # noqa: ARG001 - all have English forms
    """All ways of saying a text: words are said as they are spelt, numbers and signs in every usual way."""
    sayings = _Sayings()
    node = 0
    for index, word in enumerate(text.split()):
        sayings.word = index
        node = sayings.add_word(word, node)
    return sayings.compile(node, letters)


@dataclass(frozen=True, slots=True)
class _Edge:
    """What may be said from a node to a later one, perhaps nothing; ``tight``: where no space need be heard before."""

    start: int
    end: int
    said: str
    word: int
    tight: bool


class _Sayings:
    """A graph of what may be said; ``word``: the written word to which what is added belongs.

    What adds to it takes the node after which that is said, and gives the node behind it.
    """

    def __init__(self) -> None:
        self.word = 0
        self.nodes = 1
        self.edges: list[_Edge] = []
        self.money = ""  # of a number that a scale may follow: "$5 million"

    def add_word(self, word: str, node: int) -> int:  # noqa: C901 - a case for each kind
        """A written word with its marks."""
        elements = [(str(e.lastgroup), e[0]) for e in ELEMENT.finditer(word)]
        money, self.money = self.money, ""
        if all(kind == "letters" or (kind == "sign" and said not in SIGNS) for kind, said in elements):
            spelt = [" ".join(re.findall(r"[^\W\d_]", word))] if SPELT.fullmatch(word) else []
            node = self._say(node, word, *spelt)
            scale = money and word.lower().strip(".,;:!?") in SCALES.values()
            return self._say(node, *MONEY[money], "", tight=True) if scale else node
        for index, (kind, said) in enumerate(elements):
            match kind:
                case "clock":
                    node = self._add_clock(said, node)
                case "money":
                    node = self._add_money(said, node)
                case "ordinal":
                    number = int(said[:-2])
                    node = self._say(node, ordinal(number), f"the {ordinal(number)}", tight=index > 0)
                case "decade":
                    node = self._add_decade(re.sub(r"\D", "", said), node)
                case "number":
                    node = self._add_number(said, node, tight=index > 0)
                case "letters":
                    node = self._say(node, said, tight=index > 0)
                case _ if said in SIGNS:
                    node = self._say(node, *SIGNS[said], tight=True)
                case _ if said in BETWEEN and index + 1 < len(elements):
                    node = self._say(node, *BETWEEN[said], tight=True)
        return node

    def _say(self, start: int, *sayings: str, tight: bool = False, end: int | None = None) -> int:
        if end is None:
            end = self.nodes
            self.nodes += 1
        self.edges += [_Edge(start, end, said, self.word, tight) for said in dict.fromkeys(sayings)]
        return end

    def _add_number(self, number: str, node: int, *, tight: bool = False) -> int:
        """A number: as a count, digit by digit, in pairs, in hundreds, and with digits said to be double or triple."""
        digits = number.replace(",", "")
        count = len(digits)
        at: list[int] = [node, *range(self.nodes, self.nodes + count)]
        self.nodes += count

        def say(start: int, end: int, *sayings: str) -> None:
            self._say(at[start], *sayings, tight=tight or start > 0, end=at[end])

        for start in range(count):
            for length, sayings in _said_of_digits(digits, start):
                say(start, start + length, *sayings)
        if digits[0] != "0":
            if 3 < count <= LONGEST:
                say(0, count, *_counts(int(digits)))
            for zeros, scale in SCALES.items():
                if zeros < count and digits.endswith("0" * zeros):
                    say(count - zeros, count, scale)
        return at[-1]

    def _add_clock(self, clock: str, node: int) -> int:
        hour, minute = clock.split(":")
        middle = self._add_number(hour, node)
        h, m = int(hour), int(minute)
        past = ["o'clock", "hundred", "hundred hours", ""] if not m else [f"{z} {cardinal(m)}" for z in ("oh", "zero")]
        end = self._say(middle, *(past if m < 10 else [cardinal(m)]), tight=True)
        if m in (15, 30, 45):
            name = "half" if m == 30 else "quarter"
            other = f"{name} past {cardinal(h)}" if m < 45 else f"{name} to {cardinal(h % 12 + 1)}"
            self._say(node, other, f"a {other}", end=end)
        return end

    def _add_money(self, amount: str, node: int) -> int:
        sign, (whole, _, cents) = amount[0], amount[1:].partition(".")
        node = self._add_number(whole, node)
        if not cents:
            self.money = sign
            return self._say(node, *MONEY[sign], "", tight=True)
        node = self._say(node, *MONEY[sign], "point", "", tight=True)
        node = self._say(node, "and", "", tight=True)
        if int(cents):
            end = self._add_number(cents, node, tight=True)
            if cents[0] == "0":
                self._say(node, cardinal(int(cents)), tight=True, end=end)
        else:
            end = self._say(node, "", "zero", tight=True)
        return self._say(end, "cents", "cent", "pence", *MONEY[sign], "", tight=True)

    def _add_decade(self, digits: str, node: int) -> int:
        """1990s: a number and a plural; 90s: a plural."""
        if digits.endswith("00") and len(digits) > 2:
            plural = "hundreds" if digits[-3] != "0" else "thousands"
            node = self._add_number(digits[: -2 if plural == "hundreds" else -3], node)
            return self._say(node, plural, tight=True)
        node = self._add_number(digits[:-2], node) if digits[:-2] else node
        return self._say(node, TENS[digits[-2]], tight=True)

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
                spelt = [(spell_word(word, letters), word == MAYBE_AND) for word in edge.said.split()]
                spelt = [(word, optional) for word, optional in spelt if word]
                if not spelt:
                    reached[edge.end] += ends
                    continue
                if heard and gap is None:
                    gap = put(space, -1, *heard)
                at = [*([] if gap is None else [gap]), *(ends if edge.tight else [e for e in ends if e == BEGIN])]
                for index, (word, optional) in enumerate(spelt):
                    without = at if optional else []
                    if index:
                        at = [put(space, -1, *at), *(at if edge.tight else [])]
                    for symbol in word:
                        at = [put(symbol, edge.word, *at)]
                    at = [*at, *without]
                reached[edge.end] += at
        return SpokenForms(Readings(symbols, before, list(dict.fromkeys(reached[last]))), words)


def _said_of_digits(digits: str, start: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """What may be said of the one, two or three digits at a place of a number: how many these are, and how."""
    one, two, three = (digits[start : start + length] for length in (1, 2, 3))
    name = cardinal(int(one))
    yield 1, (name, "oh") if one == "0" else (name,)
    if two == 2 * one:
        yield 2, (f"double {name}",)
    if three == 3 * one:
        yield 3, (f"triple {name}",)
    if one != "0":
        yield from ((len(part), _counts(int(part))) for part in (two, three) if len(part) > 1)
    elif start and digits[start - 1] != "0":
        if two == "00":
            yield 2, ("hundred",)
        if three == "000":
            yield 3, ("thousand",)


def _counts(number: int) -> tuple[str, ...]:
    """A count as it is said."""
    said = cardinal(number, linked=True).replace(" and ", f" {MAYBE_AND} ")
    return (said, f"a{said[3:]}") if said.startswith("one ") else (said,)


def spell_word(word: str, letters: str) -> list[int]:
    """CTC symbols of a word; none for one without letters that CTC knows."""
    return [letters.index(c) + 1 for c in fold(word) if c in letters and c != " "]
