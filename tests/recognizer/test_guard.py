import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.model.config import LETTERS
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.evidence import Evidence
from rtstream.recognizer.final_pass import Opening
from rtstream.recognizer.guard import (
    GuardConfig,
    borne_out,
    hardly_heard,
    is_sure,
    is_unheard,
    spelt,
    spoken,
    written_alone,
)
from rtstream.recognizer.lexicon import Lexicon
from tests.recognizer.posteriors import faint, say

CONFIG = GuardConfig()


@given(st.text(alphabet="abcdefgh ", max_size=30))
def test_what_was_said_is_borne_out(text):
    said = " ".join(text.split())
    assert greedy_text(say(said), LETTERS) == said
    assert borne_out(said, Evidence(say(said), LETTERS), CONFIG) or len(said) < CONFIG.min_letters


def test_a_misspelling_is_borne_out():
    assert borne_out("their house is white", Evidence(say("there house is wite"), LETTERS), CONFIG)


def test_words_in_silence_are_not():
    assert not borne_out("thank you", Evidence(say(""), LETTERS), CONFIG)


def test_a_text_said_twice_is_not():
    heard = say("we went home early")
    assert not borne_out("we went home early we went home early", Evidence(heard, LETTERS), CONFIG)


def test_another_text_is_not():
    assert not borne_out("please subscribe to my channel", Evidence(say("the cat sat on the old mat"), LETTERS), CONFIG)


def test_nothing_said_is_nothing_written():
    assert borne_out("", Evidence(say(""), LETTERS), CONFIG)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was 1946.", "it was nineteen forty six"),
        ("46", "forty six"),
        ("70 men and 13 boats", "seventy men and thirteen boats"),
        ("In 1877, 3 of them left.", "in eighteen seventy seven three of them left"),
        ("8 0 0 5 5 5 0 1 9 9", "eight zero zero five five five zero one nine nine"),
        ("800-555-0199", "eight hundred triple five oh one double nine"),
        (
            "The population is 1,234,567.",
            "the population is one million two hundred thirty four thousand five hundred sixty seven",
        ),
        ("4111111111111111", "four" + 15 * " one"),
    ],
)
def test_numbers_in_digits_are_borne_out(text, said):
    assert borne_out(text, Evidence(say(said), LETTERS), CONFIG)


@pytest.mark.parametrize("text", ["46", "1946", "3 boats"])
def test_numbers_in_silence_are_not(text):
    assert not borne_out(text, Evidence(say(""), LETTERS), CONFIG)


@pytest.mark.parametrize(
    ("text", "said"),
    [("4.", "four seven nine two five five seven three two nine"), ("1,230,567", "nine nine nine nine")],
)
def test_other_numbers_are_not(text, said):
    assert not borne_out(text, Evidence(say(said), LETTERS), CONFIG)


def test_digits_do_not_excuse_other_words():
    assert not borne_out(
        "please subscribe to my 3 channels", Evidence(say("the cat sat on the old mat"), LETTERS), CONFIG
    )


@pytest.mark.parametrize(
    ("sure", "no_speech", "published"),
    [(0.9, 0.0, True), (0.9, 0.59, True), (0.9, 0.61, False), (0.2, 0.1, True), (0.2, 0.55, False), (0.05, 0.3, False)],
)
def test_the_likelier_it_is_that_nobody_speaks_the_surer_must_ctc_be(sure, no_speech, published):
    table = say("we went home", sure)
    assert spoken("We went home.", Opening(no_speech, 1.0), Evidence(table, LETTERS), CONFIG) is published


def test_a_partial_that_cannot_be_taken_back_needs_more_than_a_final():
    table = say("we went home", 0.3)
    given = ("We went home.", Opening(0.5, 1.0), Evidence(table, LETTERS), CONFIG)
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
        ("1946", "shh", False),
        ("1946", "nineteen forty six", True),
    ],
)
def test_a_number_alone_is_looked_for_in_words(text, said, borne):
    assert spoken(text, Opening(0.5, 1.0), Evidence(say(said), LETTERS), CONFIG) is borne


def test_what_ctc_cannot_spell_is_left_to_the_decoder():
    assert spoken("日本", Opening(0.5, 1.0), Evidence(say("meer"), LETTERS), CONFIG)
    assert not spoken("日本", Opening(0.7, 1.0), Evidence(say("meer"), LETTERS), CONFIG)


def test_letters_of_another_script_are_looked_for_in_latin_ones():
    assert borne_out("Звёздочка", Evidence(say("zvezdochka"), LETTERS, "ru"), CONFIG)
    assert not borne_out("Решётка", Evidence(say("zvezdochka"), LETTERS, "ru"), CONFIG)


@pytest.mark.parametrize(
    ("language", "final", "partial"), [(0.9, True, True), (0.2, True, False), (0.05, False, False)]
)
def test_what_is_likely_another_language_is_not_published(language, final, partial):
    given = ("We went home.", Opening(0.0, language), Evidence(say("we went home"), LETTERS), CONFIG)
    assert (spoken(*given), spoken(*given, partial=True)) == (final, partial)


@pytest.mark.parametrize(
    ("said", "sure", "text"),
    [
        ("we went home", 0.9, "we went home"),
        ("we went home", 0.4, ""),
        ("a", 0.9, ""),
        ("", 0.9, ""),
        ("one miian two hundrh thirty", 0.9, ""),
        ("for one n ne one n nne onennn", 0.9, ""),
    ],
)
def test_ctc_writes_alone_only_words_of_which_it_is_sure(said, sure, text):
    table = say(said, sure)
    for index, letter in enumerate(said):  # still the likeliest
        table[index * 4, LETTERS.index(letter) + 1] = np.log(sure)
    assert written_alone(Evidence(table, LETTERS), CONFIG, Lexicon()) == text
    assert written_alone(Evidence(table, LETTERS, "de"), CONFIG, Lexicon()) == ""


@pytest.mark.parametrize(
    ("text", "sure", "heard"), [("knit seven", 0.9, True), ("knit seven", 0.2, False), ("", 0.9, False)]
)
def test_a_text_of_which_ctc_hears_every_letter_counts_whatever_the_decoder_finds(text, sure, heard):
    assert spelt(text, Evidence(say("knit seven", sure), LETTERS), CONFIG) is heard


@pytest.mark.parametrize(
    ("language", "text", "said", "heard"),
    [
        ("de", "drei drei", "drei drei", True),
        ("de", "three three", "three three", False),
        ("ru", "три, 3", "tri tri", True),
        ("es", "3 3", "tres tres", True),
        ("es", "tres gatos", "tres gatos", False),
        ("en", "drei drei", "drei drei", False),
    ],
)
def test_words_of_digits_are_those_of_the_language(language, text, said, heard):
    assert spoken(text, Opening(0.9, 0.05), Evidence(say(said), LETTERS, language), CONFIG) is heard


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    ("text", "sure", "heard"),
    [("3 3 3", 0.3, True), ("three three three", 0.3, True), ("3 mice", 0.3, False), ("3 3 3", 0.1, False)],
)
def test_digits_alone_count_whoever_is_found_to_speak(text, sure, heard, partial):
    said = "three mice" if "mice" in text else "three three three"
    assert spoken(text, Opening(0.9, 0.05), Evidence(say(said, sure), LETTERS), CONFIG, partial=partial) is heard


@pytest.mark.parametrize(
    ("text", "certainty", "opening", "published"),
    [
        ("Okay.", -0.5, Opening(0.19, 0.65), True),
        ("up", -0.9, Opening(0.12, 0.15), True),
        ("up", -0.9, Opening(0.12, 0.01), False),
        ("Here", -1.15, Opening(0.17, 0.41), False),
        ("Okay.", -2.0, Opening(0.19, 0.65), False),
        ("Okay.", -0.5, Opening(0.5, 0.65), False),
        ("Thank you for watching.", -0.5, Opening(0.19, 0.65), False),
    ],
    ids=["sure", "quiet", "foreign", "of noise", "unsure", "silence", "long"],
)
def test_a_short_word_of_which_ctc_misses_the_letters_counts_where_the_decoder_is_sure(
    text, certainty, opening, published
):
    silence = say(" " * 20, 0.9)
    silence[:] = np.log(np.where(np.arange(silence.shape[1]) == 0, 0.4, 0.6 / len(LETTERS)))
    given = (text, opening, Evidence(silence, LETTERS), CONFIG)
    assert hardly_heard(*given, certainty=certainty) is published


def test_a_short_word_does_not_count_where_ctc_hears_another():
    assert not hardly_heard("up", Opening(0.0, 1.0), Evidence(say("we went home"), LETTERS), CONFIG, certainty=-0.1)


@pytest.mark.parametrize(
    ("voice", "certainty", "sure"),
    [
        (Opening(0.001, 0.99), -0.2, True),
        (Opening(0.001, 0.99), -0.6, False),
        (Opening(0.1, 0.99), -0.2, False),
        (Opening(0.001, 0.8), -0.2, False),
        (None, 0.0, False),
    ],
)
def test_head_that_hears_english_and_decoder_that_is_certain_make_sure(voice, certainty, sure):
    assert is_sure(voice, certainty, CONFIG) is sure


@pytest.mark.parametrize(("text", "counts"), [("okay", True), ("thank you very much", False)])
def test_where_that_is_sure_a_short_word_counts_of_which_ctc_hears_next_to_nothing(text, counts):
    strict = GuardConfig(max_excess=2.25)  # as models/base has it
    evidence = Evidence(faint(text, 0.06), LETTERS)  # 2.7 nats a letter
    assert borne_out(text, evidence, strict, sure=True) is counts
    assert not borne_out(text, evidence, strict)
    assert not borne_out(text, Evidence(faint(text, 0.04), LETTERS), strict, sure=True)


def test_where_that_is_sure_ctc_may_miss_letters_but_not_contradict():
    text = "eight zero zero five five five"
    assert not borne_out(text, Evidence(faint(text), LETTERS), CONFIG)
    assert borne_out(text, Evidence(faint(text), LETTERS), CONFIG, sure=True)
    assert not borne_out("thank you", Evidence(say("  " * 9, 0.99), LETTERS), CONFIG, sure=True)
    assert not borne_out(text, Evidence(say("we went home early"), LETTERS), CONFIG, sure=True)


def test_what_ctc_hears_less_than_nothing_is_unheard():
    assert is_unheard("five five five", Evidence(faint("five five five"), LETTERS))
    assert not is_unheard("five five five", Evidence(say("five five"), LETTERS))
