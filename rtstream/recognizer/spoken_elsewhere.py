"""The ways in which a text in another language than English may be said."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from rtstream.recognizer.number_speech.speech import speech
from rtstream.recognizer.spoken_graph import SpokenGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.recognizer.number_speech.speech import Speech, Ways
    from rtstream.recognizer.spoken_graph import SpokenForms

NUMBER = r"\d{1,3}(?:[.,]\d{3})+(?!\d)|\d+"
GROUP = re.compile(r"\d{3}(?!\d)\D*")
FIRST_GROUP = re.compile(r"[1-9]\d{0,2}")
"""Of a number whose thousands are parted by spaces, which makes several words of it."""
SPELT = re.compile(r"\W*(?:[^\W\d_][-.])+[^\W\d_]\W*")
"""Letters said one by one."""
MINUTES = 60
HOURS = 25


@cache
def _elements(language: str) -> re.Pattern[str]:
    mark = speech(language).ordinal_mark
    ordinal = rf"|(?P<ordinal>\d{{1,4}}(?:{mark}))" if mark else ""
    return re.compile(
        rf"(?P<clock>\d{{1,2}}[:.h]\d\d(?![.,:]?\d)){ordinal}|(?P<number>{NUMBER})"
        r"|(?P<sum>(?:US|R)\$)|(?P<letters>[^\W\d_]+)|(?P<sign>.)",
        re.IGNORECASE,
    )


class Sayings(SpokenGraph):
    """What may be said of a text."""

    def __init__(self, text: str, language: str) -> None:
        super().__init__()
        self._speech: Speech = speech(language)
        self._elements = _elements(language)
        self._words = text.split()
        self._groups = dict(_groups(self._words))
        self._money: Ways = tuple(name for sign, names in self._speech.money.items() if sign in text for name in names)
        self._owed = False  # a sum whose sign stood before it
        self._hour = False  # whether the word before was a time
        self._counted = False  # whether it ended in digits
        self._last = 0
        for index, word in enumerate(self._words):
            self.word = index
            self._last = self._add_word(word, self._last)

    def compiled(self, letters: str) -> SpokenForms:
        """In CTC's symbols."""
        return self.compile(self._last, letters)

    def _add_word(self, word: str, node: int) -> int:
        said = self._speech
        elements = [(str(e.lastgroup), e[0]) for e in self._elements.finditer(word.replace("|", ""))]
        digits = any(kind not in {"letters", "sign", "sum"} for kind, _ in elements)
        hour, self._hour = self._hour, elements[-1:] != [] and elements[-1][0] == "clock"
        counted, self._counted = self._counted, elements[-1:] != [] and elements[-1][1][-1:].isdecimal()
        if not digits and all(kind == "letters" or not self._sign(each) for kind, each in elements):
            plain = word.replace("|", "")
            bare = plain.strip(".,;:!?").lower()
            ways = [plain, plain.replace("-", " "), *(said.units.get(bare, ()) if counted else ())]
            if SPELT.fullmatch(plain):
                ways.append(" ".join(re.findall(r"[^\W\d_]", plain)))
            if hour and bare in said.hour_words:
                ways.append("")  # said between hour and minute
            return self.say(node, *ways)
        for index, (kind, each) in enumerate(elements):
            node = self._add(kind, each, node, index, elements)
        if digits and self._owed:
            node, self._owed = self.say(node, *self._money, "", tight=True), False
        return node

    def _sign(self, sign: str) -> Ways:
        """What a sign is said as, wherever it stands."""
        return self._speech.signs.get(sign, ()) or self._speech.money.get(sign, ())

    def _add(  # noqa: PLR0911 - a case for each kind
        self, kind: str, each: str, node: int, index: int, elements: list[tuple[str, str]]
    ) -> int:
        said, tight = self._speech, index > 0
        match kind:
            case "clock":
                return self._add_clock(each, node, tight=tight)
            case "ordinal":
                digits = re.match(r"\d+", each)
                assert digits is not None  # the pattern begins so
                end = self._add_number(digits[0], node, tight=tight)
                return self.say(node, *said.ordinal(int(digits[0])), tight=tight, end=end)
            case "number" if not index and self.word in self._groups:
                return self._add_group(*self._groups[self.word], node)
            case "number":
                return self._add_number(re.sub(r"\D", "", each), node, tight=tight)
            case "letters":
                units = said.units.get(each.lower(), ()) if tight and elements[index - 1][1][-1:].isdecimal() else ()
                return self.say(node, each, *units, tight=tight)
        between = 0 < index < len(elements) - 1
        if each in said.money:
            if not tight and not between:  # before the number, or by itself behind it
                follows = self._words[self.word + 1 : self.word + 2] if len(elements) == 1 else elements[1:2]
                self._owed = bool(follows) and str(follows[0][-1] if len(elements) > 1 else follows[0])[:1].isdecimal()
            return node if self._owed else self.say(node, *said.money[each], *said.cents, "", tight=True)
        if each in said.signs:
            return self.say(node, *said.signs[each], "", tight=True)
        if between and each in said.between:
            node = self.say(node, *self._money, "", tight=True) if each in ",." else node
            return self.say(node, *said.between[each], "", tight=True)
        return node

    def _add_number(self, digits: str, node: int, *, tight: bool = False) -> int:
        said = self._speech
        end = self.say_number(digits, node, self._parts, said.count, said.scales, tight=tight)
        if digits[0] != "0" and len(digits) <= 4:
            self.say(node, *said.whole(int(digits)), tight=tight, end=end)
        return end

    def _parts(self, digits: str, start: int) -> Iterator[tuple[int, Ways]]:
        """What may be said of the one, two or three digits at a place of a number."""
        said = self._speech
        yield 1, said.count(int(digits[start])) or ("",)
        if digits[start] != "0":
            yield from (
                (length, said.count(int(digits[start : start + length])))
                for length in (2, 3)
                if start + length <= len(digits)
            )
        elif start and digits[start - 1] != "0" and digits[start : start + 2] == "00":
            yield 2, said.hundred

    def _add_clock(self, clock: str, node: int, *, tight: bool) -> int:
        """A time of day, or two numbers with a sign between them."""
        said = self._speech
        hour, sign, minute = re.split(r"(\D)", clock)
        middle = self._add_number(hour, node, tight=tight)
        middle = self.say(middle, *said.hour, *said.between.get(sign, ()), *self._money, "", tight=True)
        end = self._add_number(minute, middle, tight=True)
        if minute == "00":
            self.say(middle, "", end=end)
        elif minute[0] == "0":
            self.say(middle, *said.count(int(minute)), tight=True, end=end)
        if int(hour) < HOURS and int(minute) < MINUTES:
            self.say(node, *said.clock(int(hour) % 24, int(minute)), tight=tight, end=end)
        return end

    def _add_group(self, digits: str, scale: int, before: int, node: int) -> int:
        """Digits of a long number whose thousands are parted by spaces; the group ``before`` is of ``scale`` zeros."""
        end = self._add_number(digits, node, tight=True)
        if not scale and digits == "1":
            self.say(node, "", end=end)  # a thousand is not always counted
        counts = self._speech.count(int(digits)) if int(digits) else ("",)
        names = self._speech.scales.get(scale, ()) if before else ()
        return self.say(node, *(f"{name} {count}" for name in names for count in counts), tight=True, end=end)


def _groups(words: list[str]) -> Iterator[tuple[int, tuple[str, int, int]]]:
    """Of the words that are one number: digits, zeros of the group before (0 of the first), and that group's digits."""
    place = 0
    while place < len(words):
        last = place
        if FIRST_GROUP.fullmatch(words[place]):
            while last + 1 < len(words) and words[last].isdecimal() and GROUP.fullmatch(words[last + 1]):
                last += 1
        if last > place:
            yield place, (words[place], 0, 0)
            for at in range(place + 1, last + 1):
                digits = words[at][:3]
                yield at, (digits, 3 * (last - at + 1), int(words[at - 1][:3]))
        place = last + 1
