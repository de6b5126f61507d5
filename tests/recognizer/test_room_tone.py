"""A word in digital silence is heard as in a room."""

import numpy as np
import pytest

from rtstream.recognizer.level import FRAME
from rtstream.recognizer.room_tone import with_room_tone
from tests.recognizer.tiny_bundle import DATA
from tests.vad.recordings import read_clip


@pytest.fixture(scope="module")
def speech():
    return read_clip(DATA / "libri-669-gloves.flac")[: 4 * 16_000]


def levels(audio):
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    return np.sqrt(np.square(frames).mean(axis=1))


def test_silence_is_as_loud_as_the_quietest_sound_and_sound_stays_as_it_is(speech):
    silence = np.zeros(50 * FRAME, np.float32)
    toned = with_room_tone(np.concatenate([speech, silence]), lead=10 * FRAME)
    assert np.array_equal(toned[10 * FRAME : -50 * FRAME], speech)
    tone = np.quantile(levels(speech), 0.05)
    assert levels(toned[: 10 * FRAME]) == pytest.approx(tone, rel=0.2)
    assert levels(toned[-49 * FRAME :]) == pytest.approx(tone, rel=0.2)


@pytest.mark.parametrize("gain", [0.001, 0.1, 3.0])
def test_tone_goes_with_the_level_and_is_the_same_each_time(speech, gain):
    audio = np.concatenate([speech, np.zeros(20 * FRAME, np.float32)])
    usual, other = with_room_tone(audio), with_room_tone(audio * np.float32(gain))
    assert np.allclose(other, usual * gain, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("audio", [np.zeros(16_000, np.float32), np.zeros(0, np.float32), np.ones(4000, np.float32)])
def test_what_has_no_silence_or_nothing_else_has_no_tone(audio):
    assert with_room_tone(audio) is None


def test_tone_is_never_as_loud_as_the_word(speech):
    word = speech[8_000:12_000]
    toned = with_room_tone(word, lead=3200)
    assert levels(toned[:3200]).max() < 0.5 * np.quantile(levels(word), 0.9)
