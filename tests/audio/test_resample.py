import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.audio.resample import MAX_RATE, MIN_RATE, Resampler


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def resample(frames: np.ndarray, rate: int, cuts: list[int]) -> np.ndarray:
    resampler = Resampler(rate)
    pieces = np.split(frames, sorted(c % (len(frames) + 1) for c in cuts))
    return np.concatenate([*map(resampler.push, pieces), resampler.finish()])


@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 16_001]),
    channels=st.integers(1, 9),
    length=st.integers(0, 5_000),
    cuts=st.lists(st.integers(0, 5_000), max_size=12),
)
def test_output_does_not_depend_on_how_the_input_is_cut(rate, channels, length, cuts):
    frames = noise(length, channels)
    whole = resample(frames, rate, [])
    assert np.array_equal(resample(frames, rate, cuts), whole)
    assert whole.dtype == np.float32


@given(rate=st.integers(4_000, 100_000), length=st.integers(0, 3_000))
def test_every_input_frame_has_its_share_of_the_output(rate, length):
    assert abs(len(resample(noise(length), rate, [])) - length * 16_000 / rate) <= 0.5 + 1e-6


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_tone_keeps_its_frequency_phase_and_level(rate):
    source = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    error = resample(source[:, None], rate, [777]) - expected
    assert np.abs(error[500:-500]).max() < 1e-3  # the filter rings at both ends


def test_frequencies_that_16_khz_cannot_hold_are_removed():
    source = np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(resample(source[:, None], 48_000, [])[500:-500]).max() < 1e-3


def test_channels_are_averaged():
    left, right = noise(2_000, seed=1), noise(2_000, seed=2)
    assert np.array_equal(resample(np.hstack((left, right)), 16_000, []), ((left + right) / 2)[:, 0])


def test_16_khz_mono_passes_unchanged():
    frames = noise(1_000)
    assert np.array_equal(resample(frames, 16_000, [10, 500]), frames[:, 0])


@pytest.mark.parametrize("rate", [0, -8_000, MIN_RATE - 1, MAX_RATE + 1])
def test_a_rate_that_no_audio_has_is_refused(rate):
    with pytest.raises(ValueError, match=str(rate)):
        Resampler(rate)


@pytest.mark.parametrize("rate", [MIN_RATE, MAX_RATE])
def test_the_extreme_rates_work(rate):
    assert len(resample(noise(rate), rate, [])) == 16_000
