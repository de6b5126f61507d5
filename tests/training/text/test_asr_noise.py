"""What a recogniser makes of English: no case, no punctuation, and errors that are alike each time."""

import jiwer
import numpy as np
import pytest

from rtstream.training.text.asr_noise import AsrNoise, sound_key, spoken

TEXTS = ["they took their two books there", "she sees the sea", "we wait for the weight", "write it right"] * 5


def test_spoken_text_has_no_case_no_punctuation_and_no_digits():
    assert spoken("Tom's 2 dogs, Rex and Zoë, ran — fast!") == "tom's two dogs rex and zoe ran fast"
    assert spoken("Я said Hi") == "said hi"
    assert spoken("") == ""


@pytest.mark.parametrize(
    ("one", "other"), [("sea", "see"), ("right", "write"), ("night", "knight"), ("weight", "wait")]
)
def test_words_that_sound_alike_have_one_key(one, other):
    assert sound_key(one) == sound_key(other)


def test_a_word_is_taken_for_one_that_sounds_like_it():
    similar = AsrNoise.of(TEXTS).similar
    assert "there" in similar["their"]
    assert "write" in similar["right"]
    assert all(word not in others for word, others in similar.items())


def test_errors_are_as_many_as_asked_for_and_the_same_each_time():
    mishearing = AsrNoise.of(TEXTS)
    texts = TEXTS * 100
    first, again = (
        [mishearing(text, 0.2, rng) for text in texts] for rng in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert first == again
    assert 0.12 < jiwer.wer(texts, first) < 0.3
    assert all(first)


def test_without_errors_nothing_changes():
    mishearing = AsrNoise.of(TEXTS)
    assert [mishearing(text, 0.0, np.random.default_rng(0)) for text in TEXTS] == TEXTS
    assert mishearing("", 0.9, np.random.default_rng(0)) == ""
