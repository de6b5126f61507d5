import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtstream.nn.model import LETTERS
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.guard import GuardConfig, borne_out

CONFIG = GuardConfig()


def say(text, sure=0.9, stretch=4):
    """Posteriors that say a text, each letter followed by blanks."""
    table = np.full((max(1, len(text) * stretch), len(LETTERS) + 1), (1 - sure) / len(LETTERS), np.float32)
    table[:, 0] = sure
    for index, letter in enumerate(text):
        table[index * stretch] = (1 - sure) / len(LETTERS)
        table[index * stretch, LETTERS.index(letter) + 1] = sure
    return np.log(table / table.sum(axis=1, keepdims=True))


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
