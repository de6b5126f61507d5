"""Strings of digits are right or wrong by their digits, not by how these are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.evaluation.digit_score import digits_said, score_digits
from rtstream.evaluation.evaluate import normalizer
from rtstream.training.corpus.joined import DIGITS

NORMALIZE = normalizer()
WORDS = dict(zip("0123456789", DIGITS, strict=False))


@pytest.mark.parametrize(
    "text",
    [
        "five five five oh one nine nine",
        "Five, five, five. Zero one nine nine.",
        "555-0199",
        "(555) 0199!",
        "5 5 5, 0 1 9 9.",
        "5550199",
        "five 5 5 zero 1 ninety nine",
        "triple five zero one double nine",
        "uh, 555 0199",
    ],
)
def test_forms_of_one_number_are_alike(text):
    assert digits_said(text, NORMALIZE) == list("5550199")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("for five", ["for", "5"]),
        ("5 to 5", ["5", "to", "5"]),
        ("3.5", ["3", ".", "5"]),
        ("7:30", ["7", ":", "3", "0"]),
        ("", []),
        ("...", []),
        ("00", ["0", "0"]),
        ("oh", ["0"]),
        ("one one", ["1", "1"]),
        ("fifty six oh five", list("5605")),
        ("1,234,567", list("1234567")),
    ],
)
def test_whatever_else_is_said_stands_between(text, said):
    assert digits_said(text, NORMALIZE) == said


@given(st.text("0123456789", min_size=1, max_size=12))
def test_no_digit_is_lost_in_words(digits):
    assert digits_said(" ".join(WORDS[digit] for digit in digits), NORMALIZE) == list(digits)


def test_a_string_is_right_as_a_whole_and_wrong_digit_by_digit():
    references = ["one two three", "four four", "nine", "room four", ""]
    texts = ["123", "4 for 4", "", "room 4", "7"]
    figures = score_digits(references, texts, NORMALIZE).figures()
    assert figures == {"clips": 3, "right": 1, "accuracy": 33.33, "error_rate": 33.33}


def test_without_digits_there_is_nothing_to_score():
    assert score_digits(["hello", "one more"], ["hello", "one"], NORMALIZE).figures() is None
