"""Numbers of other languages than English in one form. docs/numbers.md has the rules.

A number that is said is found by what it would be said as: whatever its words seem to be worth is said again and must
be the same words. What may also be another word, or takes the form of what is counted, stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from rtstream.model.letters import fold
from rtstream.recognizer.number_converters import converter
from rtstream.recognizer.number_forms import Span
from rtstream.recognizer.number_speech.speech import speech

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtstream.recognizer.number_forms import NumberForm

MOST = 10
"""Words of a number."""
LIST = 4
"""Numbers below a hundred in a row from which on they are the digits of one."""
GROUPED = 10_000
"""Counts from here on have points between thousands, where the language has."""
LONG = 7
"""Digits from which on a number without points is read digit by digit."""
LAST_DAY = 31
MARKS = ".,;:!?"
SIGNS = tuple("€$£₽")
TOKEN = re.compile(r"(?P<before>\W*)(?P<core>.*?)(?P<after>\W*)", re.DOTALL)
FIGURE = re.compile(
    r"(?P<before>[^\w€$£%+-]*)(?P<number>\d{1,3}(?:\.\d{3})+|\d+)(?:,(?P<decimals>\d+))?(?P<share>%?)(?P<after>[^\w€$£%°]*)"
)


@dataclass(frozen=True)
class _Rules:
    """What a language's numbers need besides the way in which they are said.

    ``ambiguous``: words, folded, that alone may be no numbers. ``percent``: what is said for the sign, as it is
    written; ``other_percents`` are folded. ``share``: how the sign is written. ``point``: the word before decimals.
    ``grouped``: whether points part thousands. ``joined``: whether a number below a thousand is one word, or all that
    may be said of it can be listed. ``spelt``: whether numbers can be written in words; of those that end in one of
    ``inflected`` (below a hundred, or hundreds) the form hangs on what is counted, of ``regional`` ones on the country.
    """

    ambiguous: frozenset[str]
    percent: str
    point: str
    other_percents: tuple[str, ...] = ()
    share: str = "%"
    grouped: bool = True
    joined: bool = True
    spelt: bool = True
    inflected: frozenset[int] = frozenset()
    regional: frozenset[int] = frozenset()


def _ending(*units: int, tens: int = 0) -> frozenset[int]:
    """Numbers below a hundred that end in one of these, from ``tens`` on and the units themselves."""
    return frozenset(n for n in range(100) if n % 10 in units and (n < 10 or n >= tens))


_HUNDREDS = frozenset(range(200, 1000, 100))
RULES: Mapping[str, _Rules] = {
    "ca": _Rules(
        frozenset({"un", "una", "u", "deu", "set", "nou", "sis", "quart"}), "per cent", "coma",
        inflected=_ending(1, 2, tens=20) | _HUNDREDS,
    ),
    "de": _Rules(
        frozenset({"ein", "eine", "einen", "einem", "einer", "eines", "eins", "ne", "acht", "sieben"}),
        "Prozent", "Komma", share=" %", inflected=frozenset({1}),
    ),
    "es": _Rules(
        frozenset({"un", "una", "uno"}), "por ciento", "coma", ("porciento",),
        inflected=_ending(1, tens=20) | _HUNDREDS,
    ),
    "fr": _Rules(
        frozenset({"un", "une", "neuf", "cent", "cents"}), "pour cent", "virgule", share=" %", grouped=False,
        inflected=_ending(1, tens=20) - {71, 91},
    ),
    "it": _Rules(
        frozenset({"un", "una", "uno", "sei", "venti"}), "per cento", "virgola", ("percento",),
        inflected=_ending(1, tens=20),
    ),
    "nl": _Rules(frozenset({"een", "acht"}), "procent", "komma", inflected=frozenset({1})),
    "pl": _Rules(
        frozenset({"jeden", "jedna", "jedno", "jednego", "jednej", "jednym", "sto"}), "procent", "przecinek",
        ("procenta", "procentow"), grouped=False, joined=False, spelt=False,
    ),
    "pt": _Rules(
        frozenset({"um", "uma"}), "por cento", "vírgula", ("porcento",),
        inflected=_ending(1, 2, tens=20) | _HUNDREDS, regional=frozenset({14, 16, 17, 19}),
    ),
    "ru": _Rules(
        frozenset({"odin", "odna", "odno", "odni", "odnogo", "odnoi", "odnomu", "odnih", "odnim", "odnimi", "odnom",
                   "odnu", "tri", "sto", "sem", "semyu", "soroka"}),
        "процентов", "", ("protsent", "protsenta"), grouped=False, joined=False, spelt=False,
    ),
}  # fmt: skip
"""Of the languages whose numbers can be brought to a form; in others they stay as they are."""


def spans(words: Sequence[str], form: NumberForm, language: str) -> list[Span]:
    """Words as they are written in a form, in order; each of them is part of one span."""
    if language in RULES and form == "digits":
        return list(_Digits(words, language).spans())
    if language in RULES and RULES[language].spelt and form == "words":
        return list(_spell(words, language))
    return [Span(word, place, place) for place, word in enumerate(words)]


# In words


def _spell(words: Sequence[str], language: str) -> Iterator[Span]:
    """Each word with its number in words."""
    rules, place = RULES[language], 0
    while place < len(words):
        said, last = words[place], place
        figure = FIGURE.fullmatch(words[place])
        following = words[place + 1] if place + 1 < len(words) else ""
        row = place > 0 and words[place - 1][-1:].isdecimal()
        number = None
        if figure is not None and not row and not _goes_on(figure, following, language):
            number = _in_words(figure, language)
        if figure is not None and number is not None:
            share = re.fullmatch(r"%(\W*)", following) if not figure["after"] else None
            after = figure["after"]
            if share is not None:
                last, after = place + 1, share[1]
            percent = f" {rules.percent}" if figure["share"] or share is not None else ""
            number = number[0].upper() + number[1:] if place == 0 else number
            said = f"{figure['before']}{number}{percent}{after}"
        yield Span(said, place, last)
        place = last + 1


def _goes_on(figure: re.Match[str], following: str, language: str) -> bool:
    """Whether a number is a part of something that is not known: of a telephone number, a sum, a German date."""
    if language == "de" and figure["after"].startswith(".") and int(figure["number"].replace(".", "")) <= LAST_DAY:
        return True
    return following[:1] in SIGNS or (following[:1].isdecimal() and not set(figure["after"]) & set(MARKS))


def _in_words(figure: re.Match[str], language: str) -> str | None:
    """A number in words; None where its form is not known."""
    rules, said = RULES[language], converter(language)
    digits, decimals = figure["number"].replace(".", ""), figure["decimals"]
    number = int(digits)
    if "." not in figure["number"] and (len(digits) >= LONG or (len(digits) > 1 and digits[0] == "0")):
        return None if decimals else " ".join(said.to_cardinal(int(digit)) for digit in digits)
    if "." not in figure["number"] and len(digits) > 4 and number % 1000:
        return None  # a count or a code
    year = len(digits) == 4 and "." not in figure["number"] and 1100 <= number < 2100 and not decimals
    parts = [number // 1000**power % 1000 for power in range(5)]
    counted = [part for power, part in enumerate(parts) if not (power and part == 1)]  # mil, not un mil
    if any(part % 100 in rules.regional for part in parts) or number >= 10**15:
        return None
    if not year and any(part % 100 in rules.inflected or part // 100 * 100 in rules.inflected for part in counted):
        return None
    words = said.to_year(number) if year else said.to_cardinal(number)
    if language == "nl":
        words = words.replace(" honderd ", "honderd").replace("duizend", "duizend ").strip()
    if language == "it":
        words = re.sub(r"(?<=\w)tre\b", "tré", words)
    if decimals:
        return f"{words} {rules.point} {' '.join(said.to_cardinal(int(digit)) for digit in decimals)}"
    return words


# In digits


@cache
def _below_thousand(language: str) -> dict[str, int]:
    """What is said of numbers below a thousand: all of it without spaces, or each number that is one word."""
    known: dict[str, int] = {}
    joined = RULES[language].joined
    for number in range(1000):
        for way in speech(language).count(number):
            forms = [[fold(form) for form in word.split("|")] for word in way.split()]
            if joined or len(forms) == 1:
                for said in product(*forms):
                    known.setdefault("".join(said), number)
    return known


@cache
def _scales(language: str) -> tuple[tuple[str, int], ...]:
    """What is said of thousands and more, the greatest first, and how many zeros they have."""
    said = ((way, zeros) for zeros, ways in speech(language).scales.items() for way in ways if " " not in way)
    names = ((fold(form), zeros) for way, zeros in said for form in way.split("|"))
    return tuple(sorted(dict.fromkeys(names), key=lambda name: (-name[1], -len(name[0]))))


@cache
def _pattern(number: int, language: str) -> re.Pattern[str]:
    """All that a number may be said as, folded, without spaces."""
    said = speech(language)
    whole = said.whole(number) if 1100 <= number < 2000 and said.hundred else ()
    ways = ("".join(f"(?:{'|'.join(map(fold, word.split('|')))})" for word in way.split())
            for way in (*said.count(number), *whole))  # fmt: skip
    return re.compile("|".join(ways))


def value(words: Sequence[str], language: str) -> int | None:
    """The number that folded words say; None where they say none, or something besides it."""
    joined = "".join(words)
    if joined in dict(_scales(language)):
        return None  # thousands of people
    worth = _worth(joined, language) if RULES[language].joined else _sum(words, language)
    return worth if worth is not None and _pattern(worth, language).fullmatch(joined) else None


def _worth(said: str, language: str) -> int | None:
    """What joined words seem to be worth."""
    known = _below_thousand(language)
    if said in known:
        return known[said]
    for name, zeros in _scales(language):
        at = said.find(name)
        while at >= 0:
            before, behind = said[:at], said[at + len(name) :]
            count = known.get(before) if before else 1
            rest = _worth(behind, language) if behind else 0
            rest = _worth(behind[1:], language) if rest is None and behind[:1] == "e" else rest  # dois mil e cinco
            if count and rest is not None and rest < 10**zeros:
                worth: int = count * 10**zeros + rest
                return worth
            at = said.find(name, at + 1)
    for name in {fold(form) for way in speech(language).hundred for form in way.split("|")}:  # neunzehnhundert
        before, _, behind = said.partition(name)
        century, rest = known.get(before, 0), known.get(behind, -1) if behind else 0
        if 11 <= century < 20 and 0 <= rest < 100:
            return 100 * century + rest
    return None


def _sum(words: Sequence[str], language: str) -> int | None:
    """What words that each are a number seem to be worth together."""
    known, scales = _below_thousand(language), dict(_scales(language))
    total = part = 0
    for word in words:
        if word in scales:
            total, part = total + max(part, 1) * 10 ** scales[word], 0
        elif word in known:
            part += known[word]
        else:
            return None
    return total + part


class _Digits:
    """Writes the numbers of a text in digits."""

    def __init__(self, words: Sequence[str], language: str) -> None:
        self._words, self._language, self._rules = words, language, RULES[language]
        found = [TOKEN.fullmatch(word) for word in words]
        self._tokens = [(match["before"], match["core"], match["after"]) for match in found if match is not None]
        self._folded = [re.sub(r"[^\w]", "", fold(core)) for _, core, _ in self._tokens]
        self._percents = [tuple(fold(each).split()) for each in (self._rules.percent, *self._rules.other_percents)]

    def spans(self) -> Iterator[Span]:
        """All words, in order."""
        place = 0
        while place < len(self._words):
            row = self._row(place)
            if len(row) >= LIST and all(number < 100 for number, _ in row):
                yield self._span("".join(str(number) for number, _ in row), place, row[-1][1])
                place = row[-1][1]
                continue
            if not row or not self._is_number(place, row[0][1]):
                yield Span(self._words[place], place, place)
                place += 1
                continue
            text, end = self._written(*row[0], place)
            yield self._span(text, place, end)
            place = end

    def _span(self, text: str, first: int, end: int) -> Span:
        return Span(f"{self._tokens[first][0]}{text}{self._tokens[end - 1][2]}", first, end - 1)

    def _joined(self, place: int, end: int) -> bool:
        """Whether no mark stands between words."""
        return not any(self._tokens[at][2] for at in range(place, end - 1)) and not any(
            self._tokens[at][0] for at in range(place + 1, end)
        )

    def _number(self, place: int) -> tuple[int, int] | None:
        """The longest number that begins at a word, and the word behind it."""
        for end in range(min(place + MOST, len(self._words)), place, -1):
            if self._joined(place, end) and all(self._folded[place:end]):
                if any(char.isdecimal() for word in self._folded[place:end] for char in word):
                    continue
                worth = value(self._folded[place:end], self._language)
                if worth is not None:
                    return worth, end
        return None

    def _row(self, place: int) -> list[tuple[int, int]]:
        """The numbers one behind the other from a word on, no mark between them, each with the word behind it."""
        row: list[tuple[int, int]] = []
        at = place
        while at < len(self._words) and (at == place or self._joined(at - 1, at + 1)):
            found = self._number(at)
            if found is None:
                break
            row.append(found)
            at = found[1]
        return row

    def _is_number(self, place: int, end: int) -> bool:
        """Whether words are a number for sure: not one that is something else, too, and no part of "per cent"."""
        last = tuple(self._folded[max(0, place - 1) : place + 1])
        if last in self._percents:
            return False
        return end - place > 1 or self._folded[place] not in self._rules.ambiguous

    def _written(self, number: int, end: int, place: int) -> tuple[str, int]:
        """A number in digits, with decimals and a share, and the word behind it."""
        text = str(number)
        scale = self._folded[end - 1]
        if number >= 10**6 and dict(_scales(self._language)).get(scale) and end - place > 1:
            power = 10 ** dict(_scales(self._language))[scale]
            if power >= 10**6 and number % power == 0:
                return f"{number // power} {self._tokens[end - 1][1]}", end
        if number >= GROUPED and self._rules.grouped:
            text = f"{number:,}".replace(",", ".")
        if (
            self._rules.point
            and self._folded[end : end + 1] == [fold(self._rules.point)]
            and self._joined(end - 1, end + 2)
        ):
            decimals = self._row(end + 1)
            if decimals and all(each < 100 for each, _ in decimals):
                text, end = f"{text},{''.join(str(each) for each, _ in decimals)}", decimals[-1][1]
        for percent in self._percents:
            behind = end + len(percent)
            if tuple(self._folded[end:behind]) == percent and self._joined(end - 1, behind):
                return f"{text}{self._rules.share}", behind
        return text, end
