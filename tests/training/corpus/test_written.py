"""References in the teacher's style are still the references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.training.corpus.text import normalize
from rtstream.training.corpus.written import alone, in_case, in_style

WORD = st.text(alphabet="abct", min_size=1, max_size=3) | st.sampled_from(["don't", "it's", "o'clock", "mr", "st"])
REFERENCE = st.lists(WORD, max_size=8).map(" ".join)
STYLES = ("{}", "{},", "{}.", '"{}', "({})", "{}-{}", "\N{COMBINING ACUTE ACCENT}{}", "{} -", "7{}")


@st.composite
def styled(draw, words):
    """Some of the words, in their order, each written somehow, and others between them."""
    written = []
    for word in words:
        kind = draw(st.integers(0, 5))
        if kind:
            cased = draw(st.sampled_from([word, word.capitalize(), word.upper()]))
            written.append(draw(st.sampled_from(STYLES)).format(cased, word))
        if kind == 1:
            written.append(draw(WORD))
    return " ".join(written)


@st.composite
def pairs(draw):
    reference = draw(REFERENCE)
    return reference, draw(styled(reference.split()) | st.text() | st.text(alphabet="ab A'.,-"))


@given(pairs())
def test_each_word_is_the_references_word_at_its_place(pair):
    reference, written = pair
    got = in_style(reference, written).split()
    assert [normalize(word) for word in got] == reference.split()


@given(pairs())
def test_words_of_both_texts_are_written_as_the_other_has_them(pair):
    reference, written = pair
    assert set(in_style(reference, written).split()[1:-1]) <= {*reference.split(), *written.split()}


@given(REFERENCE)
def test_text_equal_to_the_reference_changes_nothing(reference):
    assert in_style(reference, reference) == reference


@given(pairs())
def test_style_is_taken_over_once(pair):
    reference, written = pair
    once = in_style(reference, written)
    assert in_style(reference, once) == once


@given(REFERENCE)
def test_nothing_written_changes_nothing(reference):
    assert in_style(reference, "") == reference
    assert in_style(reference, " \n") == reference


@given(st.text())
def test_where_nothing_is_said_nothing_is_written(written):
    assert in_style("", written) == ""


@pytest.mark.parametrize(
    ("reference", "written", "expected"),
    [
        ("the cat sat", "The cat, sat.", "The cat, sat."),
        ("the cat sat", "A cat sat!", "The cat sat!"),
        ("the cat sat", "The cat", "The cat sat"),
        ("the cat sat", "The cat sang.", "The cat sat."),
        ("the cat sat", 'The cat sang."', "The cat sat."),
        ("mister smith's at home", "Mr. Smith's at home.", "Mister Smith's at home."),
        ("twenty one cats", "Twenty-one Cats.", "Twenty one Cats."),
        ("i am here", "Here I am", "I am here"),
        ("one", "Two?", "One."),
    ],
)
def test_case_and_punctuation_are_the_teachers(reference, written, expected):
    assert in_style(reference, written) == expected


@pytest.mark.parametrize(
    ("reference", "written"),
    [
        ("three", "Three."),
        ("enter sixty two thirty one", "Enter sixty two thirty one."),
        ("rubout x c a four", "Rubout X C A four."),
        ("a i", "A I."),
        ("i said a word", "I said a word."),
        ("is it a", "Is it a."),
        ("", ""),
    ],
)
def test_what_no_teacher_wrote_is_a_sentence_with_spelt_letters_in_capitals(reference, written):
    assert alone(reference) == written
    assert normalize(written) == reference


@pytest.mark.parametrize(
    ("reference", "written", "expected"),
    [
        ("el limón más ácido será.", "El limón más acido, será", "El limón más ácido será"),
        ("er ist in köln.", "Er ist in Köln!", "Er ist in Köln!"),
        ("Er ist in Köln.", "er ist in köln", "Er ist in Köln."),
        ('"""dla niej!"""', "Dla niej.", "Dla niej."),
        ("— нет, тебе!", "Нет, тебе!", "— Нет, тебе!"),
        ("ça va?", "", "ça va?"),
    ],
)
def test_reference_of_another_language_keeps_its_accents_and_takes_case_where_it_has_none(reference, written, expected):
    assert in_case(reference, written) == expected
