"""What is to be said of numbers is in words that CTC can spell, always the same, and true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.evaluation.digit_score import digits_said
from rtstream.evaluation.evaluate import normalizer
from rtstream.training.corpus import number_texts
from rtstream.training.corpus.number_texts import LETTERS, sayings
from rtstream.training.corpus.text import normalize

SOME = sayings(600, np.random.default_rng(1))


def test_texts_are_spelt_in_letters_as_they_are():
    assert all(normalize(saying.text) == saying.text for saying in SOME)


def test_a_seed_gives_the_same_texts_and_another_others():
    assert sayings(600, np.random.default_rng(1)) == SOME
    assert sayings(600, np.random.default_rng(2)) != SOME


def test_voices_are_given_what_the_texts_say_and_letters_by_name():
    letters = {f" {letter} " for letter in LETTERS} - {" a ", " i "}
    for saying in SOME:
        assert not any(letter in f" {saying.given} " for letter in letters), saying
        if not any(letter in f" {saying.text} " for letter in letters | {" a ", " i "}):
            assert saying.given.replace(",", "") == saying.text


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_digits_are_digits_and_said_again_at_times(seed):
    rng = np.random.default_rng(seed)
    said = digits_said(number_texts.digits(rng).given, normalizer())
    # At most a card's sixteen, and the "one" of "is the right one", which is written as a digit too.
    assert 3 <= sum(map(str.isdecimal, said)) <= 17


def test_names_are_spelt_letter_by_letter():
    for seed in range(40):
        saying = number_texts.spelt(np.random.default_rng(seed))
        *_, name = saying.text.replace("my name is ", "").replace(" is spelt", "").partition(" ")
        spelt = "".join(word for word in saying.text.split() if len(word) == 1)
        assert spelt in number_texts.NAMES
        assert saying.given.endswith(", ".join(LETTERS[letter] for letter in spelt))
        assert name


@pytest.mark.parametrize("seed", range(30))
def test_sums_are_right(seed):
    words = number_texts.sum_of_two(np.random.default_rng(seed)).text
    if words.startswith("what is"):
        return
    left, right = words.split(next(f" {word} " for word in ("is", "makes", "equals") if f" {word} " in words))
    name = next(word for word in ("plus", "times", "and") if f" {word} " in left)
    # "and" may be British: the last one adds, unless a hundred stands before it
    one, other = (int(normalizer()(part)) for part in left.split(f" {name} "))
    assert int(normalizer()(right)) == (one * other if name == "times" else one + other)
