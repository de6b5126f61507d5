import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.nn.model import LETTERS
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.final_pass import Opening
from rtstream.recognizer.guard import GuardConfig, borne_out, foreign, spelt, spoken, written_alone
from tests.recognizer.posteriors import say

CONFIG = GuardConfig()


@given(st.text(alphabet="abcdefgh ", max_size=30))
def test_what_was_said_is_borne_out(text):
    said = " ".join(text.split())
    assert greedy_text(say(said), LETTERS) == said
    assert borne_out(said, say(said), LETTERS, CONFIG) or len(said) < CONFIG.min_letters


def test_a_misspelling_is_borne_out():
    assert borne_out("their house is white", say("there house is wite"), LETTERS, CONFIG)


def test_words_in_silence_are_not():
    assert not borne_out("thank you", say(""), LETTERS, CONFIG)


def test_a_text_said_twice_is_not():
    heard = say("we went home early")
    assert not borne_out("we went home early we went home early", heard, LETTERS, CONFIG)


def test_another_text_is_not():
    assert not borne_out("please subscribe to my channel", say("the cat sat on the old mat"), LETTERS, CONFIG)


def test_nothing_said_is_nothing_written():
    assert borne_out("", say(""), LETTERS, CONFIG)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was 1946.", "it was nineteen forty six"),
        ("46", "forty six"),
        ("70 men and 13 boats", "seventy men and thirteen boats"),
        ("In 1877, 3 of them left.", "in eighteen seventy seven three of them left"),
    ],
)
def test_numbers_in_digits_are_borne_out(text, said):
    assert borne_out(text, say(said), LETTERS, CONFIG)


@pytest.mark.parametrize("text", ["46", "1946", "3 boats"])
def test_numbers_in_silence_are_not(text):
    assert not borne_out(text, say(""), LETTERS, CONFIG)


def test_digits_do_not_excuse_other_words():
    assert not borne_out("please subscribe to my 3 channels", say("the cat sat on the old mat"), LETTERS, CONFIG)


@pytest.mark.parametrize(
    ("sure", "no_speech", "published"),
    [(0.9, 0.0, True), (0.9, 0.59, True), (0.9, 0.61, False), (0.2, 0.1, True), (0.2, 0.55, False), (0.05, 0.3, False)],
)
def test_the_likelier_it_is_that_nobody_speaks_the_surer_must_ctc_be(sure, no_speech, published):
    table = say("we went home", sure)
    assert spoken("We went home.", Opening(no_speech, 1.0), table, LETTERS, CONFIG) is published


def test_a_partial_that_cannot_be_taken_back_needs_more_than_a_final():
    table = say("we went home", 0.3)
    given = ("We went home.", Opening(0.5, 1.0), table, LETTERS, CONFIG)
    assert (spoken(*given), spoken(*given, partial=True)) == (True, False)


@pytest.mark.parametrize(
    ("text", "said", "borne"),
    [
        ("2", "two", True),
        ("2.", "two", True),
        ("46", "forty six", True),
        ("46", "four six", True),
        ("2", "tss", False),
        ("46", "shh", False),
        ("1946", "shh", True),  # said in more ways than are tried
    ],
)
def test_a_small_number_alone_is_looked_for_in_words(text, said, borne):
    assert spoken(text, Opening(0.5, 1.0), say(said), LETTERS, CONFIG) is borne


def test_what_ctc_cannot_spell_is_left_to_the_decoder():
    assert spoken("46", Opening(0.5, 1.0), say("forty six"), LETTERS, CONFIG)
    assert not spoken("46", Opening(0.7, 1.0), say("forty six"), LETTERS, CONFIG)


@pytest.mark.parametrize(
    ("language", "final", "partial"), [(0.9, True, True), (0.2, True, False), (0.05, False, False)]
)
def test_what_is_likely_another_language_is_not_published(language, final, partial):
    given = ("We went home.", Opening(0.0, language), say("we went home"), LETTERS, CONFIG)
    assert (spoken(*given), spoken(*given, partial=True)) == (final, partial)


@pytest.mark.parametrize(
    ("said", "sure", "text"),
    [("we went home", 0.9, "we went home"), ("we went home", 0.4, ""), ("a", 0.9, ""), ("", 0.9, "")],
)
def test_ctc_writes_alone_only_what_it_is_sure_of(said, sure, text):
    table = say(said, sure)
    for index, letter in enumerate(said):  # still the likeliest
        table[index * 4, LETTERS.index(letter) + 1] = np.log(sure)
    assert written_alone(table, LETTERS, CONFIG) == text


@pytest.mark.parametrize(("language", "taken_back"), [(0.03, True), (0.1, False)])
def test_what_was_shown_is_taken_back_where_the_decoder_finds_another_language(language, taken_back):
    assert foreign(Opening(no_speech=0.0, language=language), CONFIG) is taken_back


@pytest.mark.parametrize(
    ("text", "sure", "heard"), [("knit seven", 0.9, True), ("knit seven", 0.2, False), ("", 0.9, False)]
)
def test_a_text_of_which_ctc_hears_every_letter_counts_whatever_the_decoder_finds(text, sure, heard):
    assert spelt(text, say("knit seven", sure), LETTERS, CONFIG) is heard
