"""How often something is said is for CTC to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.model.config import LETTERS
from rtstream.recognizer.evidence import Evidence
from rtstream.recognizer.repetition import as_often_as_heard
from tests.recognizer.posteriors import say


def heard(text, said):
    table = say(said)
    return as_often_as_heard(text, Evidence(table, LETTERS).penalty)


@pytest.mark.parametrize(
    ("written", "said", "right"),
    [
        ("6 6 6 6 6", "six", "6"),
        ("6 6 6", "six six six", "6 6 6"),
        ("21 21", "twenty one", "21"),
        ("21", "twenty one", "21"),
        ("No no no no", "no", "No"),
        ("No, no, no, no.", "no no no no", "No, no, no, no."),
        ("No, no.", "no no no no", "No, No, No, no."),
        ("Ha, ha, ha.", "ha ha", "Ha, ha."),
        ("5 5 5 5", "five five five", "5 5 5"),
        ("Four, one, one, one,", "four" + 11 * " one", "Four" + 11 * ", one" + ","),
        ("4-1-1-1-1-1-1", "four" + 15 * " one", "4" + 15 * "-1"),
        ("11111111111111", "one one one one", "1111"),
        ("4 11 11 11 11 11 11 11 11", "four" + 15 * " one", "4 11 11 11 11 11 11 11 1"),
        ("11 11 11 11", "eleven eleven", "11 11"),
        ("8 0 0 5 5 0 1 9 9", "eight zero zero five five five zero one nine nine", "8 0 0 5 5 5 0 1 9 9"),
        ("call 800550199 now", "call eight zero zero five five five zero one nine nine now", "call 8005550199 now"),
        ("Thank you. Thank you.", "thank you", "Thank you."),
        ("We went home. We went home. We went", "we went home", "We went home"),
        ("Stop it, stop it, stop it!", "stop it stop it stop it", "Stop it, stop it, stop it!"),
        ("His mother's desk sometime sometime.", "his mother's desk sometime", "His mother's desk sometime."),
        ("On his mother's desk, his mother's desk.", "on his mother's desk", "On his mother's desk."),
    ],
)
def test_repetitions_are_as_often_as_they_are_heard(written, said, right):
    assert heard(written, said) == right


@pytest.mark.parametrize(
    ("language", "written", "said", "right"),
    [
        ("ru", "Да, да, да, да.", "da da", "Да, да."),
        ("de", "5 5 5 5 5", "funf funf funf", "5 5 5"),
        ("fr", "Très très très très bien", "tres tres tres bien", "Très très très bien"),
        ("es", "llame al 800550199 ya", "llame al ocho cero cero cinco cinco cinco cero uno nueve nueve ya",
         "llame al 8005550199 ya"),
        ("pt", "São 1.111.111.", "sao um milhao cento e onze mil cento e onze", "São 1.111.111."),
        ("it", "No no no no", "no no no no", "No no no no"),
    ],
)  # fmt: skip
def test_repetitions_in_other_languages_are_as_often_as_they_are_heard(language, written, said, right):
    assert as_often_as_heard(written, Evidence(say(said), LETTERS, language).penalty) == right


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was very very good", "it was very good"),  # what is said twice is not doubted
        ("It is far far away", "it is far away"),
        ("He said bye bye.", "he said bye bye"),
        ("It was had had", "it was had had had"),  # nor is more made of it
        ("D A L Z E L L", "d a l z e l"),
        ("call 911", "call nine one one"),
        ("1,111,111", "one million one hundred eleven thousand one hundred eleven"),
        ("2000", "two thousand"),
        ("it is 1900 or 2000000", "it is nineteen hundred or two million"),
        ("555", "five fifty five"),
        ("", ""),
        ("...", "no"),
    ],
)
def test_all_else_stays(text, said):
    assert heard(text, said) == text


@given(st.text(alphabet="ab01 ,.-:", max_size=16), st.integers(0, 5))
def test_any_text_comes_back_with_words_of_its_own(text, seed):
    def random(each):
        return hash((seed, each)) % 50 / 1.0

    found = as_often_as_heard(text, random)
    assert set(found) <= set(text)
    assert bool(found.strip(" ,.-:")) is bool(text.strip(" ,.-:"))
