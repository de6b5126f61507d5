"""Guesses at what follows a text, from what CTC spells."""

import pytest

from rtstream.recognizer.guessing import GUESSED_WORDS, continued, with_ctc
from tests.bundle.tiny_tokenizer import make_tokenizer


@pytest.mark.parametrize(
    ("written", "heard", "following"),
    [
        ("", "we went home", " we went home"),
        ("We went", "we went home", " home"),
        ("We went home.", "we went home", ""),
        ("We want", "we went home early", " home early"),
        ("We went out and", "we went nd then home", " home"),
        ("We have", "we went ho", " ho"),
        ("It was pass", "it was passionate of her", "ionate of her"),
        ("Nothing of it", "", ""),
        ("Où êtes vous", "ou etes vous alle", " alle"),
        ("Où étai", "ou etaient les autres", "ent les autres"),
        ("", "one two three four five six seven eight", " one two three four five six"),
    ],
)
def test_what_follows_is_behind_the_words_that_both_have(written, heard, following):
    assert continued(written, heard) == following
    assert len(following.split()) <= GUESSED_WORDS + 1


def test_tokens_stay_and_others_follow():
    tokenizer = make_tokenizer()
    tokens = tokenizer.encode(" one two")
    guess = with_ctc(tokens, "one two three", tokenizer)
    assert guess[: len(tokens)] == tokens
    assert tokenizer.decode(guess) == " one two three"
    assert with_ctc(tokens, "one two", tokenizer) == tokens
    assert with_ctc(tokens, "one two three", tokenizer, "de") == guess
    assert with_ctc(tokens, "one two three", tokenizer, "ru") == tokens
