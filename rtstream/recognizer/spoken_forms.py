"""The ways in which a written text may be said, for CTC, which hears letters: numbers and signs have several."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rtstream.recognizer.numbers import cardinal, ordinal
from rtstream.recognizer.spoken_elsewhere import Sayings
from rtstream.recognizer.spoken_graph import SpokenGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.recognizer.spoken_graph import SpokenForms

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
SCALES = {3: ("thousand",), 6: ("million",), 9: ("billion",), 12: ("trillion",)}
SCALE_NAMES = frozenset(name for names in SCALES.values() for name in names)
TENS = {"0": "hundreds", "1": "tens"} | {str(n): f"{cardinal(10 * n)[:-1]}ies" for n in range(2, 10)}
MAYBE_AND = "and|"
"""In what is said: that "and" may be heard there."""


def spoken_forms(text: str, letters: str, language: str = "en") -> SpokenForms:
    """All ways of saying a text: words are said as they are spelt, numbers and signs in every usual way.

    ``language``: ISO 639-1; of one whose numbers are not known only words are said.
    """
    if language != "en":
        return Sayings(text, language).compiled(letters)
    sayings = _English()
    node = 0
    for index, word in enumerate(text.split()):
        sayings.word = index
        node = sayings.add_word(word, node)
    return sayings.compile(node, letters)


class _English(SpokenGraph):
    """What may be said of an English text."""

    def __init__(self) -> None:
        super().__init__()
        self.money = ""  # of a number that a scale may follow: "$5 million"

    def add_word(self, word: str, node: int) -> int:  # noqa: C901 - a case for each kind
        """A written word with its marks."""
        elements = [(str(e.lastgroup), e[0]) for e in ELEMENT.finditer(word)]
        money, self.money = self.money, ""
        if all(kind == "letters" or (kind == "sign" and said not in SIGNS) for kind, said in elements):
            spelt = [" ".join(re.findall(r"[^\W\d_]", word))] if SPELT.fullmatch(word) else []
            node = self.say(node, word.replace("|", ""), *spelt)
            scale = money and word.lower().strip(".,;:!?") in SCALE_NAMES
            return self.say(node, *MONEY[money], "", tight=True) if scale else node
        for index, (kind, said) in enumerate(elements):
            match kind:
                case "clock":
                    node = self._add_clock(said, node)
                case "money":
                    node = self._add_money(said, node)
                case "ordinal":
                    number = int(said[:-2])
                    node = self.say(node, ordinal(number), f"the {ordinal(number)}", tight=index > 0)
                case "decade":
                    node = self._add_decade(re.sub(r"\D", "", said), node)
                case "number":
                    node = self._add_number(said, node, tight=index > 0)
                case "letters":
                    node = self.say(node, said, tight=index > 0)
                case _ if said in SIGNS:
                    node = self.say(node, *SIGNS[said], tight=True)
                case _ if said in BETWEEN and index + 1 < len(elements):
                    node = self.say(node, *BETWEEN[said], tight=True)
        return node

    def _add_number(self, number: str, node: int, *, tight: bool = False) -> int:
        """A number: as a count, digit by digit, in pairs, in hundreds, and with digits said to be double or triple."""
        return self.say_number(number.replace(",", ""), node, _said_of_digits, _counts, SCALES, tight=tight)

    def _add_clock(self, clock: str, node: int) -> int:
        hour, minute = clock.split(":")
        middle = self._add_number(hour, node)
        h, m = int(hour), int(minute)
        past = ["o'clock", "hundred", "hundred hours", ""] if not m else [f"{z} {cardinal(m)}" for z in ("oh", "zero")]
        end = self.say(middle, *(past if m < 10 else [cardinal(m)]), tight=True)
        if m in (15, 30, 45):
            name = "half" if m == 30 else "quarter"
            other = f"{name} past {cardinal(h)}" if m < 45 else f"{name} to {cardinal(h % 12 + 1)}"
            self.say(node, other, f"a {other}", end=end)
        return end

    def _add_money(self, amount: str, node: int) -> int:
        sign, (whole, _, cents) = amount[0], amount[1:].partition(".")
        node = self._add_number(whole, node)
        if not cents:
            self.money = sign
            return self.say(node, *MONEY[sign], "", tight=True)
        node = self.say(node, *MONEY[sign], "point", "", tight=True)
        node = self.say(node, "and", "", tight=True)
        if int(cents):
            end = self._add_number(cents, node, tight=True)
            if cents[0] == "0":
                self.say(node, cardinal(int(cents)), tight=True, end=end)
        else:
            end = self.say(node, "", "zero", tight=True)
        return self.say(end, "cents", "cent", "pence", *MONEY[sign], "", tight=True)

    def _add_decade(self, digits: str, node: int) -> int:
        """1990s: a number and a plural; 90s: a plural."""
        if digits.endswith("00") and len(digits) > 2:
            plural = "hundreds" if digits[-3] != "0" else "thousands"
            node = self._add_number(digits[: -2 if plural == "hundreds" else -3], node)
            return self.say(node, plural, tight=True)
        node = self._add_number(digits[:-2], node) if digits[:-2] else node
        return self.say(node, TENS[digits[-2]], tight=True)


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
