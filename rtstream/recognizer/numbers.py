"""English numbers in words, as a speech recogniser writes them: lower case, without hyphens and commas."""

from __future__ import annotations

import re
from functools import lru_cache

from rtstream.recognizer.number_converters import converter

CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}
NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"


@lru_cache(maxsize=4096)
def cardinal(number: int, *, linked: bool = False) -> str:
    """A count in words, ``linked`` with "and" where it is said: 105 is one hundred (and) five."""
    return _plain(converter("en").to_cardinal(number), linked=linked)


@lru_cache(maxsize=1024)
def ordinal(number: int) -> str:
    """Its place in a row: 21 is twenty first."""
    return _plain(converter("en").to_ordinal(number))


def year(number: int) -> str:
    """A year as it is mostly said: 1995 is nineteen ninety five, 2005 two thousand five."""
    return _plain(converter("en").to_year(number))


def digits(text: str) -> str:
    """Each digit of a text in words."""
    return " ".join(cardinal(int(digit)) for digit in text if digit.isdecimal())


def _plain(words: str, *, linked: bool = False) -> str:
    words = words.replace("-", " ").replace(",", "")
    return words if linked else words.replace(" and ", " ")


def say_numbers(text: str) -> str:
    """The text with its amounts, times, ordinals, years, decimals and counts in words; other digits stay."""
    text = re.sub(r"(?<=\d)\s?%", " percent", text)
    text = re.sub(rf"([$€£])({NUMBER})(?:\.(\d+))?", _amount, text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", _clock, text)
    text = re.sub(r"\b(\d{1,4})(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1])), text)
    text = re.sub(r"(?<=\d)(?=[A-Za-z])", " ", text)
    text = re.sub(rf"\b({NUMBER})\.(\d+)\b", _decimal, text)
    text = re.sub(r"\b(1[1-9]\d\d|20\d\d)\b(?!,\d)", lambda m: year(int(m[1])), text)
    return re.sub(rf"(?<![\w.,])({NUMBER})(?!\w)", lambda m: _count(m[1]), text)


def _count(text: str) -> str:
    number = int(text.replace(",", ""))
    if number >= 10**12 or (text.startswith("0") and len(text) > 1):
        return digits(text)
    return cardinal(number)


def _amount(match: re.Match[str]) -> str:
    units, decimals = CURRENCIES[match[1]], match[3] or ""
    if len(decimals) not in {0, 2}:
        return f"{_count(match[2])} point {digits(decimals)} {units}"
    cents = f" {cardinal(int(decimals))} cents" if int(decimals or "0") else ""
    return f"{_count(match[2])} {units.removesuffix('s') if match[2] == '1' else units}{cents}"


def _decimal(match: re.Match[str]) -> str:
    return f"{_count(match[1])} point {digits(match[2])}"


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if hour > 24 or minute > 59:
        return match[0]
    if minute == 0:
        return f"{cardinal(hour)} o'clock"
    return f"{cardinal(hour)} {f'oh {cardinal(minute)}' if minute < 10 else cardinal(minute)}"
