from importlib import resources

import pytest

from rtstream.recognizer.lexicon import Lexicon


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("okay", 1.0),
        ("Knock knock", 1.0),
        ("i don't know", 1.0),
        ("one miian", 0.5),
        ("n nnn", 0.0),
        ("", 0.0),
        ("at", 1.0),
    ],
)
def test_words_are_known_and_letters_that_make_none_are_not(text, share):
    assert Lexicon().share(text) == share


def test_the_list_ships_and_is_small():
    assert 10_000 < len(resources.files("rtstream.recognizer").joinpath("lexicon.txt.xz").read_bytes()) < 300_000
