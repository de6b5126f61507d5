"""What people say with numbers and letters in it: telephone numbers, amounts, dates, times, sums, names spelt out.

Everything is in words, as it is said, so that CTC can spell it and the decoder learns one form of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from num2words import num2words

from rtstream.training.corpus.joined import DIGITS, REPEATED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

LETTERS = {
    "a": "ay", "b": "bee", "c": "see", "d": "dee", "e": "ee", "f": "eff", "g": "jee", "h": "aitch", "i": "eye",
    "j": "jay", "k": "kay", "l": "ell", "m": "em", "n": "en", "o": "oh", "p": "pee", "q": "cue", "r": "are",
    "s": "ess", "t": "tee", "u": "you", "v": "vee", "w": "double you", "x": "ex", "y": "why", "z": "zee",
}  # fmt: skip
"""Letters, and words that a voice says as the letters' names."""
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
NAMES = (
    "anderson", "bergstrom", "calloway", "dvorak", "ellsworth", "fitzgerald", "goldberg", "huang", "ibrahim",
    "jankowski", "kavanagh", "lindqvist", "mukherjee", "nguyen", "okafor", "przybylski", "quigley", "rodriguez",
    "schwartz", "thackeray", "underwood", "vasquez", "whitfield", "xavier", "yamamoto", "zimmerman", "joseph",
    "maxwell", "greenwich", "lisbon", "vermont", "oxford", "juneau", "quebec", "zagreb", "wichita",
)  # fmt: skip
CARDS = (4, 4, 4, 4)
GROUPS = ((3, 4), (3, 3, 4), (4, 4), (5, 6), (3,), (4,), (5,), (6,), (2, 2, 2), CARDS)
"""How many digits people say at a breath: telephone and card numbers, codes."""
AROUND_DIGITS = (
    "call me at {}", "my number is {}", "the code is {}", "dial {}", "it is extension {}", "the pin is {}",
    "we are in room {}", "flight {} is delayed", "the account number is {}", "enter {} and press start",
    "was it {} or something else", "{} is the right one",
)  # fmt: skip
AROUND_NUMBERS = (
    "there are {} of them", "about {} people live here", "we counted {} in the end", "add {} to the list",
    "turn to page {}", "set it to {}", "it is {} miles away", "we sold {} tickets",
)  # fmt: skip
AROUND_MONEY = ("it costs {}", "they paid {} for it", "that will be {} please", "i have {} left", "send her {}")
AROUND_DATES = ("we met on {}", "the meeting is on {}", "remind me on {}", "she was born on {}", "it is due {}")
AROUND_TIMES = (
    "wake me up at {}", "the train leaves at {}", "it is {} now", "set an alarm for {}", "we start at {} sharp",
)  # fmt: skip
AROUND_DECIMALS = ("set it to {}", "it rose by {}", "we measured {}", "is it {} already", "down to {} now")
AROUND_LENGTHS = ("set a timer for {}", "it took {}", "come back in {}", "add {} to the timer")


@dataclass(frozen=True, slots=True)
class Saying:
    """A text in lower-case words, and how a voice has to be given it: commas are pauses, letters their names."""

    text: str
    given: str


def sayings(count: int, rng: np.random.Generator) -> list[Saying]:
    """So many, of all kinds in turn; letters and digits, which are worst to hear, twice as often."""
    kinds: Sequence[Callable[[np.random.Generator], Saying]] = (
        digits, number, spelt, money, date, digits, time, sum_of_two, code, length, spelt, decimal, ordinal,
    )  # fmt: skip
    return [kinds[index % len(kinds)](rng) for index in range(count)]


def digits(rng: np.random.Generator) -> Saying:
    """Digits in groups; whoever says "oh" says it each time."""
    words = list(DIGITS[:10])
    if rng.random() < 0.4:
        words[0] = DIGITS[10]
    said = _one(words, rng)
    groups = [
        " ".join(said := said if rng.random() < REPEATED else _one(words, rng) for _ in range(size))
        for size in _one(GROUPS, rng)
    ]
    return _within(AROUND_DIGITS, ", ".join(groups), rng)


def number(rng: np.random.Generator) -> Saying:
    """A cardinal of two to seven digits."""
    return _within(AROUND_NUMBERS, _cardinal(_of_any_size(10, 9_999_999, rng), rng), rng)


def money(rng: np.random.Generator) -> Saying:
    """Dollars, pounds or euros, and cents or pence at times."""
    unit, part = _one((("dollars", "cents"), ("pounds", "pence"), ("euros", "cents")), rng)
    text = f"{_cardinal(_of_any_size(2, 99_999, rng), rng)} {unit}"
    if rng.random() < 0.4:
        cents = _cardinal(int(rng.integers(2, 100)), rng)
        text = f"{_cardinal(int(rng.integers(2, 100)), rng)} {unit} {_one(('and ', ''), rng)}{cents} {part}"
    return _within(AROUND_MONEY, text, rng)


def date(rng: np.random.Generator) -> Saying:
    """A day of a month, of a year at times."""
    day, month = _words(num2words(int(rng.integers(1, 32)), to="ordinal")), _one(MONTHS, rng)
    text = _one((f"{month} {day}", f"the {day} of {month}", f"{month} the {day}"), rng)
    if rng.random() < 0.5:
        text += f" {_words(num2words(int(rng.integers(1800, 2031)), to='year'))}"
    return _within(AROUND_DATES, text, rng)


def time(rng: np.random.Generator) -> Saying:
    """A time of day in one of the ways to say it."""
    hour, minute = int(rng.integers(1, 13)), int(rng.integers(1, 60))
    name, after = _cardinal(hour, rng), _cardinal(hour % 12 + 1, rng)
    minutes = _cardinal(minute, rng) if minute >= 10 else f"oh {_cardinal(minute, rng)}"
    text = _one(
        (
            f"{name} {minutes}", f"{name} {minutes}", f"half past {name}", f"quarter to {after}",
            f"quarter past {name}", f"{name} o'clock", f"ten to {after}", f"{name} thirty",
        ),
        rng,
    )  # fmt: skip
    if rng.random() < 0.3 and "o'clock" not in text:
        text += _one((" in the morning", " at night", " a m", " p m"), rng)
    return _within(AROUND_TIMES, text, rng)


def length(rng: np.random.Generator) -> Saying:
    """Hours, minutes, seconds."""
    count, unit = int(rng.integers(2, 60)), _one(("hours", "minutes", "seconds", "days", "minutes"), rng)
    text = f"{_cardinal(count, rng)} {unit}"
    if unit == "hours":
        text += f" and {_cardinal(int(rng.integers(2, 60)), rng)} minutes"
    return _within(AROUND_LENGTHS, text, rng)


def sum_of_two(rng: np.random.Generator) -> Saying:
    """Two numbers, and what they make."""
    one, other = (int(rng.integers(2, 100)) for _ in range(2))
    name, made = _one((("plus", one + other), ("times", one * other), ("and", one + other)), rng)
    said = [_cardinal(value, rng) for value in (one, other, made)]
    text = _one(("{} {} {} is {}", "what is {} {} {}", "{} {} {} makes {}", "{} {} {} equals {}"), rng)
    return _saying(text.format(said[0], name, said[1], said[2]))


def decimal(rng: np.random.Generator) -> Saying:
    """A decimal, a percentage or a temperature."""
    point = " ".join(DIGITS[int(rng.integers(10))] for _ in range(int(rng.integers(1, 4))))
    small = _cardinal(int(rng.integers(0, 100)), rng)
    text = _one((f"{small} point {point}", f"{small} percent", f"{small} point {point} percent", f"minus {small}"), rng)
    return _within(AROUND_DECIMALS, text if rng.random() < 0.7 else f"{small} degrees", rng)


def ordinal(rng: np.random.Generator) -> Saying:
    """The first to the three hundredth."""
    which = _words(num2words(_of_any_size(1, 300, rng), to="ordinal"))
    around = ("on the {} floor", "the {} of them", "it was her {} birthday", "he came in {}", "take the {} exit")
    return _within(around, which, rng, alone=0.0)


def spelt(rng: np.random.Generator) -> Saying:
    """A name letter by letter, said before at times."""
    name = _one(NAMES, rng)
    before = _one(("", "", "my name is {} ", "{} is spelt "), rng).format(name)
    return Saying(before + " ".join(name), before + _letters(name))


def code(rng: np.random.Generator) -> Saying:
    """Letters, then digits."""
    letters = "".join(_one(list(LETTERS), rng) for _ in range(int(rng.integers(1, 5))))
    end = " ".join(DIGITS[int(rng.integers(10))] for _ in range(int(rng.integers(1, 5))))
    return Saying(f"{' '.join(letters)} {end}", f"{_letters(letters)}, {end}")


def _one(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def _of_any_size(least: int, most: int, rng: np.random.Generator) -> int:
    """As likely of two digits as of five."""
    return round(float(np.exp(rng.uniform(np.log(least), np.log(most)))))


def _words(text: str) -> str:
    return " ".join(text.replace("-", " ").replace(",", " ").split())


def _cardinal(value: int, rng: np.random.Generator) -> str:
    """With "and" behind hundreds, as Britons have it, or without."""
    words = _words(num2words(value))
    return words if rng.random() < 0.5 else words.replace(" and ", " ")


def _letters(word: str) -> str:
    return ", ".join(LETTERS[letter] for letter in word)


def _within(around: Sequence[str], given: str, rng: np.random.Generator, *, alone: float = 0.4) -> Saying:
    return _saying(given if rng.random() < alone else _one(around, rng).format(given))


def _saying(given: str) -> Saying:
    text = " ".join(given.replace(",", " ").split())
    named = given
    for half in (" a m", " p m"):
        if given.endswith(half) or f"{half} " in given:
            named = named.replace(half, f" {LETTERS[half[1]]} {LETTERS['m']}")
    return Saying(text, named)
