"""Written texts are found in what is said, in whichever way they are said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.model.config import LETTERS
from rtstream.recognizer.ctc_search import align, best_total, excess
from rtstream.recognizer.spoken_forms import spoken_forms
from tests.recognizer.posteriors import say


def how_much_worse(text, said):
    return excess(say(said), spoken_forms(text, LETTERS).readings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was 1946.", "it was nineteen forty six"),
        ("46", "forty six"),
        ("46", "four six"),
        ("8005550199", "eight zero zero five five five oh one nine nine"),
        ("8005550199", "eight hundred triple five oh one double nine"),
        ("800-555-0199", "eight hundred five five five zero one nine nine"),
        ("1,234,567", "one million two hundred and thirty four thousand five hundred sixty seven"),
        ("250,000", "two hundred fifty thousand"),
        ("105", "a hundred and five"),
        ("2,500", "twenty five hundred"),
        ("1900", "nineteen hundred"),
        ("2005", "two thousand five"),
        ("2005", "twenty oh five"),
        ("5605", "fifty six oh five"),
        ("$5.20", "five dollars twenty cents"),
        ("$5.20", "five twenty"),
        ("$250", "two hundred fifty dollars"),
        ("$5 million", "five million dollars"),
        ("at 7:30 p.m.", "at seven thirty pm"),
        ("at 7:30", "at half past seven"),
        ("at 4:15", "at a quarter past four"),
        ("7:05", "seven oh five"),
        ("7:00", "seven o'clock"),
        ("3.5", "three point five"),
        ("50%", "fifty percent"),
        ("1990s", "nineteen nineties"),
        ("the 21st", "the twenty first"),
        ("4-1-1-1", "four one one one"),
        ("4-1-1", "four dash one dash one"),
        ("7/14/61", "seven fourteen sixty one"),
        ("12B", "twelve b"),
        ("AT&T", "at and t"),
        ("... 5", "five"),
        ("don't", "don't"),
        ("", ""),
    ],
)
def test_a_text_is_found_in_what_is_said(text, said):
    assert how_much_worse(text, said) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [("46", "forty seven"), ("8005550199", "eight zero zero five five five oh one nine"), ("$5", "six dollars")],
)
def test_another_number_is_not(text, said):
    assert how_much_worse(text, said) > 5.0


@given(st.text(alphabet="ab 019.,:$%-/'", max_size=12))
def test_each_letter_belongs_to_a_word_of_the_text(text):
    forms = spoken_forms(text, LETTERS)
    assert len(forms.words) == len(forms.readings.symbols)
    assert set(forms.words) <= {-1, *range(len(text.split()))}
    log_probs = say("a one b two hundred")
    aligned = align(log_probs, forms.readings)
    if aligned is not None:
        assert aligned.total <= best_total(log_probs) + 1e-3
        said = [forms.words[place] for place in aligned.places if forms.words[place] >= 0]
        assert said == sorted(said)


@pytest.mark.parametrize("text", ["S-t-o-d", "U.S.A.", "d-r-a-v-k."])
def test_letters_that_are_written_in_a_row_are_said_one_by_one(text):
    letters = " ".join(c for c in text.lower() if c.isalpha())
    assert how_much_worse(text, letters) == pytest.approx(0.0, abs=1e-3)
    assert how_much_worse(text, letters.replace(" ", "")) == pytest.approx(0.0, abs=1e-3)
    assert how_much_worse("well-known", "w e l l k n o w n") > 5
