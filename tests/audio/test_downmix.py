"""Several channels to one: nothing of what is said in them is lost, and how they are cut does not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.audio.resample import Resampler
from tests.vad.recordings import DATA, read_clip

VOICE = read_clip(DATA / "cv-telephone.wav")
QUIET = (np.random.default_rng(0).standard_normal((len(VOICE), 6)) * 1e-4).astype(np.float32)


def mix(channels: np.ndarray, cuts=(), rate=16_000) -> np.ndarray:
    resampler = Resampler(rate)
    pieces = np.split(channels, sorted(cut % (len(channels) + 1) for cut in cuts))
    return np.concatenate([*map(resampler.push, pieces), resampler.finish()])


def loss_db(mixed: np.ndarray, voice=VOICE) -> float:
    return float(10 * np.log10((voice**2).sum() / (mixed**2).sum()))


@pytest.mark.parametrize("gains", [(1, -1), (0.5, -0.6), (1, -1, 0.001), (1, -1, 1, -1), (-0.3, 1, -0.7, 0, 0, 0)])
def test_channels_that_cancel_each_other_leave_the_loudest(gains):
    mixed = mix(VOICE[:, None] * np.array(gains, np.float32) + QUIET[:, : len(gains)])
    assert len(mixed) == len(VOICE)
    assert abs(loss_db(mixed, VOICE * max(map(abs, gains)))) < 0.5


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (1, 0.2), (1, 0, 0, 0, 0, 0), (1, 0.8, 0.9)])
def test_channels_that_do_not_are_averaged(gains):
    channels = VOICE[:, None] * np.array(gains, np.float32) + QUIET[:, : len(gains)]
    mixed = mix(channels)
    assert np.abs(mixed - channels.mean(axis=1)).max() < 1e-6


def test_channels_with_different_voices_are_averaged():
    other = np.resize(read_clip(DATA / "lj-high-wall.flac"), len(VOICE))
    channels = np.stack((VOICE, other), axis=1)
    assert np.abs(mix(channels) - channels.mean(axis=1)).max() < 1e-6


def test_a_plug_that_is_turned_on_the_way_is_heard_through_without_a_click():
    half = len(VOICE) // 2
    signs = np.where(np.arange(len(VOICE)) < half, -1, 1)
    mixed = mix(np.stack((VOICE, VOICE * signs), axis=1).astype(np.float32))
    assert abs(loss_db(mixed)) < 1
    assert np.abs(np.diff(mixed)).max() <= 1.01 * np.abs(np.diff(VOICE)).max()


@given(
    rate=st.sampled_from([8_000, 16_000, 44_100]),
    cuts=st.lists(st.integers(0, 30_000), max_size=9),
    gains=st.sampled_from([(1, -1), (1, 1), (1, -0.9, 0.1), (0.2, 1, -1)]),
)
def test_samples_do_not_depend_on_how_the_input_is_cut(rate, cuts, gains):
    signs = np.where(np.arange(30_000) % 20_000 < 8_000, -1, 1)[:, None]
    channels = (VOICE[10_000:40_000, None] * np.array(gains) * signs ** np.arange(len(gains))).astype(np.float32)
    assert np.array_equal(mix(channels, cuts, rate), mix(channels, (), rate))
