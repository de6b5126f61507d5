"""What the gate hears: nothing of the mains, all of a voice."""

import numpy as np
import pytest

from rtstream.vad.high_pass import HighPass
from rtstream.vad.webrtc import WebRtcGate
from tests.vad.recordings import DATA, pause, read_clip, segment

FRAME = 320
SENTENCES = np.concatenate(
    (pause(2), read_clip(DATA / "cv-telephone.wav"), pause(3), read_clip(DATA / "lj-high-wall.flac"), pause(3))
)


def filtered(source: np.ndarray, size: int = FRAME) -> np.ndarray:
    high_pass = HighPass(size)
    return np.concatenate([high_pass.push(frame) for frame in source[: len(source) // size * size].reshape(-1, size)])


def tone(hertz: float, level_db: float, length: int) -> np.ndarray:
    amplitude = np.sqrt(2) * 10 ** (level_db / 20)
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(length) / 16_000 + 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("hertz", "least_db", "most_db"),
    [(0.1, -200, -100), (50, -25, -23), (60, -19, -17), (100, -4, -2), (200, -0.1, 0.1), (4_000, -0.1, 0.1)],
)
def test_tones_are_let_through_from_100_hz_on(hertz, least_db, most_db):
    source = tone(hertz, -20, 32_000)
    gain_db = 10 * np.log10((filtered(source)[16_000:] ** 2).mean() / 0.01)
    assert least_db < gain_db < most_db


@pytest.mark.parametrize("size", [160, 480, 512])
def test_output_is_the_recursive_filters_own_whatever_the_frame(size):
    source = np.random.default_rng(0).standard_normal(15_360).astype(np.float32)
    assert np.abs(filtered(source, size) - filtered(source, 320)).max() < 1e-5


def test_a_filter_that_was_reset_is_as_new():
    high_pass = HighPass(FRAME)
    frame = tone(50, -20, FRAME)
    first = high_pass.push(frame)
    assert not np.array_equal(high_pass.push(frame), first)
    high_pass.reset()
    assert np.array_equal(high_pass.push(frame), first)


@pytest.mark.parametrize("hertz", [50, 60])
@pytest.mark.parametrize("level_db", [-40, -20])
@pytest.mark.parametrize("harmonics_db", [None, -25])
def test_sentences_over_the_hum_of_the_mains_are_cut_as_without(hertz, level_db, harmonics_db):
    hum = tone(hertz, level_db, len(SENTENCES))
    for number in () if harmonics_db is None else (2, 3):
        hum += tone(number * hertz, level_db + harmonics_db, len(SENTENCES))
    wanted, spans = (
        [span for span in segment(audio, WebRtcGate()) if span[1] > 24_000]  # but for the first moment
        for audio in (SENTENCES, SENTENCES + hum)
    )
    assert len(spans) == len(wanted) == 2
    for (begin, end), (wanted_begin, wanted_end) in zip(spans, wanted, strict=True):
        assert abs(begin - wanted_begin) <= 8_000
        assert abs(end - wanted_end) <= 4_800


def test_a_constant_offset_opens_nothing_after_the_first_moment():
    assert all(end < 24_000 for _, end in segment(pause(20, -60) + np.float32(0.2), WebRtcGate()))
