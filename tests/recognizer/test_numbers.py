"""Numbers are written as they are said."""

import pytest

from rtstream.recognizer.numbers import cardinal, ordinal, say_numbers, year


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (1_234, "one thousand two hundred thirty four"),
        (2_000_001, "two million one"),
    ],
)
def test_counts(number, words):
    assert cardinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "first"), (3, "third"), (12, "twelfth"), (20, "twentieth"), (21, "twenty first"), (100, "one hundredth")],
)
def test_places_in_a_row(number, words):
    assert ordinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1995, "nineteen ninety five"),
        (1900, "nineteen hundred"),
        (1907, "nineteen oh seven"),
        (2000, "two thousand"),
        (2005, "two thousand five"),
        (2019, "twenty nineteen"),
    ],
)
def test_years(number, words):
    assert year(number) == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It costs $5.20.", "It costs five dollars twenty cents."),
        ("at 10:30 on the 3rd", "at ten thirty on the third"),
        ("1,000 people, 50%", "one thousand people, fifty percent"),
        ("3.14", "three point one four"),
        ("room 12B", "room twelve B"),
        ("007", "zero zero seven"),
        ("no numbers", "no numbers"),
    ],
)
def test_texts(text, said):
    assert say_numbers(text) == said
