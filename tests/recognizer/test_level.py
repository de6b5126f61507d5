"""Finals do not depend on how loud their audio came."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.engine.open import load_bundle
from rtstream.events import SegmentAudio
from rtstream.recognizer.level import LEVEL, MOST, levelled
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.session import RecognizerSession
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import read_clip


@pytest.fixture(scope="module")
def speech():
    return read_clip(DATA / "cv-utica.flac")


@pytest.mark.parametrize("decibels", [-25, -6, 0, 20])
def test_audio_of_any_level_comes_to_the_same(speech, decibels):
    usual, other = (levelled(speech * np.float32(gain)) for gain in (1.0, 10 ** (decibels / 20)))
    assert np.allclose(usual, other, atol=1e-5)
    assert 0.01 < float(np.sqrt(np.square(usual).mean())) < LEVEL


def test_silence_stays_silence_and_no_more_than_the_greatest_gain_is_given():
    assert not levelled(np.zeros(16_000, np.float32)).any()
    faint = np.full(16_000, 1e-5, np.float32)
    assert np.allclose(levelled(faint), MOST * faint)


@given(st.integers(0, 1000))
def test_audio_of_any_length_keeps_it(count):
    assert levelled(np.ones(count, np.float32)).shape == (count,)


def test_a_final_is_the_same_at_any_level(tmp_path, speech):
    bundle = load_bundle(save_tiny_bundle(tmp_path), "float")
    found = set()
    for decibels in (-30, -12, 0, 12):
        session = RecognizerSession(Recognizer(bundle, RecognizerConfig(partials="ctc", words=True)))
        audio = (speech * 10 ** (decibels / 20)).astype(np.float32)
        (final,) = session.accept(SegmentAudio(0, 0, audio, last=True))
        found.add((final.text, tuple((word.text, word.start, word.end) for word in final.words)))
    assert len(found) == 1
