"""English numbers in words, as a speech recogniser writes them."""

from __future__ import annotations

import re

SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}
NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"


def cardinal(number: int) -> str:
    """A count below 10**12 in words, without "and" and without hyphens."""
    for scale, name in SCALES:
        if number >= scale:
            rest = number % scale
            return f"{cardinal(number // scale)} {name}" + (f" {cardinal(rest)}" if rest else "")
    if number < 20:
        return SMALL[number]
    return TENS[number // 10] + (f" {SMALL[number % 10]}" if number % 10 else "")


def ordinal(number: int) -> str:
    """Its place in a row: 21 is twenty first."""
    *before, last = cardinal(number).split()
    if last not in ORDINALS:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join([*before, ORDINALS.get(last, last)])


def year(number: int) -> str:
    """A year as it is mostly said: 1995 is nineteen ninety five, 2005 two thousand five."""
    high, low = divmod(number, 100)
    if low == 0 and high % 10:
        return f"{cardinal(high)} hundred"
    if low == 0 or (high % 10 == 0 and low < 10):
        return cardinal(number)
    return f"{cardinal(high)} {f'oh {SMALL[low]}' if low < 10 else cardinal(low)}"


def say_numbers(text: str) -> str:
    """The text with its amounts, times, ordinals, years, decimals and counts in words; other digits stay."""
    text = re.sub(rf"([$€£])({NUMBER})(?:\.(\d\d))?", _amount, text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", _clock, text)
    text = re.sub(r"\b(\d{1,4})(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1])), text)
    text = re.sub(r"(?<=\d)(?=[A-Za-z])", " ", text)
    text = re.sub(rf"\b({NUMBER})\.(\d+)\b", _decimal, text)
    text = re.sub(r"\b(1[1-9]\d\d|20\d\d)\b(?!,\d)", lambda m: year(int(m[1])), text)
    text = re.sub(rf"({NUMBER})\s?%", lambda m: f"{_count(m[1])} percent", text)
    return re.sub(rf"(?<![\w.,])({NUMBER})(?!\w)", lambda m: _count(m[1]), text)


def _count(digits: str) -> str:
    number = int(digits.replace(",", ""))
    if number >= 10**12 or (digits.startswith("0") and len(digits) > 1):
        return " ".join(SMALL[int(digit)] for digit in digits if digit.isdigit())
    return cardinal(number)


def _amount(match: re.Match[str]) -> str:
    cents = f" {cardinal(int(match[3]))} cents" if match[3] and int(match[3]) else ""
    return f"{_count(match[2])} {CURRENCIES[match[1]]}{cents}"


def _decimal(match: re.Match[str]) -> str:
    return f"{_count(match[1])} point {' '.join(SMALL[int(digit)] for digit in match[2])}"


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if hour > 24 or minute > 59:
        return match[0]
    if minute == 0:
        return f"{cardinal(hour)} o'clock"
    return f"{cardinal(hour)} {f'oh {SMALL[minute]}' if minute < 10 else cardinal(minute)}"
