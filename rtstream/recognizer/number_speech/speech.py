"""How languages other than English say numbers, times and sums: tables of a language each, read when it is spoken."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rtstream.model.letters import fold
from rtstream.recognizer.number_converters import converter
from rtstream.recognizer.numbers import cardinal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Ways = tuple[str, ...]
"""Ways of saying something. A word that has forms has them parted by bars: "un|una"; an empty one: or nothing."""


def nothing(*_: int) -> Ways:
    """No way."""
    return ()


@dataclass(frozen=True, slots=True)
class Speech:
    """The tables of a language.

    ``count`` says a number from 0 on, ``whole`` what else a number by itself is said as: a year, a day of the month.
    ``ordinal`` says a place in a row, ``ordinal_mark`` is what is written behind its digits, a regular expression.
    ``clock`` says hour and minute, ``hour`` the words between them, ``hour_words`` that may be written behind both and
    not be said there. ``hundred``: behind the hundreds of "neunzehnhundert". ``scales``: of so many zeros. ``units``,
    ``signs`` and ``money`` are said for what is written, ``between`` for a sign between digits.
    """

    count: Callable[[int], Ways]
    ordinal: Callable[[int], Ways] = nothing
    whole: Callable[[int], Ways] = nothing
    ordinal_mark: str = ""
    clock: Callable[[int, int], Ways] = nothing
    hour: Ways = ()
    hour_words: frozenset[str] = frozenset()
    hundred: Ways = ()
    scales: Mapping[int, Ways] = field(default_factory=dict)
    units: Mapping[str, Ways] = field(default_factory=dict)
    signs: Mapping[str, Ways] = field(default_factory=dict)
    money: Mapping[str, Ways] = field(default_factory=dict)
    cents: Ways = ()
    between: Mapping[str, Ways] = field(default_factory=dict)


@cache
def speech(language: str) -> Speech:
    """That of a language, ISO 639-1. Of one without tables counts alone are known, or not even those."""
    if language in {"ca", "de", "es", "fr", "it", "nl", "pl", "pt", "ru"}:
        module = importlib.import_module(f"rtstream.recognizer.number_speech.{language}")
        known: Speech = module.SPEECH
        return replace(known, count=lru_cache(4096)(known.count), ordinal=lru_cache(256)(known.ordinal))
    try:
        return Speech(counting(language))
    except ModuleNotFoundError:
        return Speech(nothing)


def counting(language: str, forms: Mapping[str, str] | Callable[[str], str] | None = None) -> Callable[[int], Ways]:
    """What says a number as num2words does; ``forms`` of its words.

    Raises ModuleNotFoundError for a language that num2words does not know.
    """
    said = converter(language)

    def count(number: int) -> Ways:
        try:
            return (inflected(said.to_cardinal(number), forms),)
        except Exception:  # noqa: BLE001 - each of its languages has limits, and faults, of its own
            return ()

    return count


def inflected(words: str, forms: Mapping[str, str] | Callable[[str], str] | None) -> str:
    """Words, without hyphens and commas, each with all its forms."""
    plain = words.replace("-", " ").replace(",", "").split()
    if forms is None:
        return " ".join(plain)
    return " ".join(forms(word) if callable(forms) else forms.get(word, word) for word in plain)


def ordinals(language: str, forms: Callable[[str], str] | None = None) -> Callable[[int], Ways]:
    """What says a place in a row as num2words does; ``forms`` of its words."""
    said = converter(language)

    def ordinal(number: int) -> Ways:
        try:
            return (inflected(said.to_ordinal(number), forms),)
        except Exception:  # noqa: BLE001 - as above
            return ()

    return ordinal


class Hands(NamedTuple):
    """What a clock shows, in words: the hour and the one after it, the minutes past the one and before the other."""

    now: str
    following: str
    past: str
    before: str


def hands(count: Callable[[int], Ways], hour: int, minute: int) -> Iterator[Hands]:
    """The same in each way of counting hours, to 24 and to 12; ``count`` says a number, in its first way."""
    for h in {hour, (hour - 1) % 12 + 1}:
        yield Hands(*(count(number)[0] for number in (h, h % 12 + 1, minute, (60 - minute) % 60)))


def units(hour: str, kilometre: str, kilogram: str, centimetre: str) -> dict[str, Ways]:
    """Of the units that are mostly written short."""
    return {"h": (hour,), "km": (kilometre,), "kg": (kilogram,), "cm": (centimetre,)}


@cache
def digit_words(language: str) -> frozenset[str]:
    """The words of the digits, folded."""
    if language == "en":
        return frozenset(map(cardinal, range(10))) | {"oh"}
    ways = (way for digit in range(10) for way in speech(language).count(digit))
    return frozenset(fold(form) for way in ways for form in way.split("|"))
