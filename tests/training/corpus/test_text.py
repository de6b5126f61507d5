"""Training texts: letters, apostrophes and single spaces, or nothing that could be learnt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.model.config import LETTERS
from rtstream.training.corpus.text import letter_ids, normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("It's the dogs' 'bone'.", "it's the dogs bone"),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", "don't"),
        ("rock'n'roll", "rock'n'roll"),
        ("salt & pepper", "salt and pepper"),
        ("twenty-one and/or none", "twenty one and or none"),
        ("Café naïve", "cafe naive"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", "a"),
        ("  spaces \t and\nlines ", "spaces and lines"),
        ("", ""),
        ("...", ""),
    ],
)
def test_text_becomes_lower_case_letters(text, expected):
    assert normalize(text) == expected


@pytest.mark.parametrize("text", ["7 apples", "room 3b", "Привет", "日本", "straße", "x²", "½ cup"])
def test_text_with_digits_or_other_letters_has_no_one_spelling(text):
    assert normalize(text) is None


@given(text=st.text() | st.text(alphabet="aB' -é,."))
def test_result_is_words_of_letters_and_inner_apostrophes_and_stays_as_it_is(text):
    plain = normalize(text)
    if plain is None:
        return
    assert set(plain) <= set(LETTERS)
    assert plain == " ".join(plain.split())
    assert not any(word.startswith("'") or word.endswith("'") for word in plain.split())
    assert normalize(plain) == plain


@given(text=st.text(alphabet=LETTERS))
def test_letter_ids_spell_the_text_and_avoid_the_blank(text):
    ids = letter_ids(text)
    assert "".join(LETTERS[i - 1] for i in ids) == text
    assert 0 not in ids


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Außerdem, grüß dich!", "ausserdem gruss dich"),
        ("fr", "Aujourd\N{RIGHT SINGLE QUOTATION MARK}hui, peut-être...", "aujourd'hui peut etre"),
        ("ca", "Un pols cristal·lí", "un pols cristalli"),
        ("pl", "Łódź \N{EN DASH} nie?", "lodz nie"),
        ("ru", "«Звёздочка», объём", "zvezdochka obem"),
        ("de", "7 Äpfel", None),
        ("es", "sal & pimienta", None),
        ("fr", "日本", None),
    ],
)
def test_text_of_another_language_becomes_plain_letters(language, text, expected):
    assert normalize(text, language) == expected
