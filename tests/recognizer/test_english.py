"""English of what is said in another language: what of it is shown, and what is refused."""

from itertools import pairwise

import pytest

from rtstream.engine.torch_int8 import TorchDecoder
from rtstream.recognizer.english import GrowingTranslation, said_once, translate, without_noises
from rtstream.recognizer.final_pass import GreedyDecoder
from tests.recognizer.test_final_pass import TOKENIZER, Scripted, words

FRAMES_A_TOKEN = 10


def translating(text):
    """A decoder that writes a text, of which each token is heard a little later."""
    says = words(text)
    scripted = Scripted(says, [FRAMES_A_TOKEN * n for n in range(len(says))])
    return GreedyDecoder(TorchDecoder(scripted), TOKENIZER, "de", task="translate"), scripted


def test_a_translation_is_all_that_the_decoder_writes_to_its_end():
    decoder, scripted = translating("we went home early")
    assert translate(decoder, scripted.at(400), "wir gingen") == "we went home early"


@pytest.mark.parametrize("text", ["the " * 40, "one two three four five six seven eight nine ten " * 3])
def test_a_loop_and_what_nobody_could_have_said_in_the_time_are_no_translation(text):
    decoder, scripted = translating(text)
    assert translate(decoder, scripted.at(100), "wir gingen") == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [(" (music)", ""), ("[BLANK] ...", ""), (" *coughs* ", ""), ("(laughs) Yes.", "(laughs) Yes."), (" - 5 ", "- 5")],
)
def test_noises_and_marks_alone_are_no_text(text, kept):
    assert without_noises(text) == kept


@pytest.mark.parametrize(
    ("text", "spoken", "kept"),
    [
        ("I will not live, I will not live.", "ja sama wzięłam na siebie", "I will not live."),
        ("so the rapper sings, the rapper sings, the rapper sings well", "il rapper canta", "so the rapper sings well"),
        ("I will not live, I will not live.", "Nie, nie, nie będę", "I will not live, I will not live."),
        ("very, very good, very good", "sehr gut", "very, very good, very good"),
        ("a house and a garden and a house", "ein Haus", "a house and a garden and a house"),
        ("", "", ""),
    ],
)
def test_what_was_not_spoken_twice_in_a_row_is_said_once(text, spoken, kept):
    assert said_once(text, spoken) == kept


def test_what_is_shown_grows_by_whole_words_and_takes_nothing_back():
    decoder, scripted = translating("we went home early")
    growing, shown = GrowingTranslation(), []
    for frames in range(40, 400, 40):
        before = growing.text
        if growing.extend(decoder, scripted.at(frames), 20):
            shown.append(growing.text)
        else:
            assert growing.text == before
    assert len(shown) > 3
    assert all(later.startswith(f"{sooner} ") for sooner, later in pairwise(shown))
    assert shown[-1] == "we went home early"


def test_marks_alone_are_not_shown_and_come_with_the_first_word():
    decoder, scripted = translating("- - yes")
    growing = GrowingTranslation()
    assert not growing.extend(decoder, scripted.at(15), 5)
    assert growing.extend(decoder, scripted.at(400), 5)
    assert growing.text == "- - yes"
