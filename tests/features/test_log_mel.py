"""Log-mel features: what they are by definition, and the same from a stream as from a whole recording."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rtstream.features.log_mel import FLOOR, HOP, N_FFT, LogMel, mel_filters
from rtstream.nn.features import LogMel as TrainingLogMel

SAMPLES = st.integers(0, 2500)


def noise(count, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def stream(features, audio, cuts):
    """Feed ``audio`` in blocks that end at ``cuts``; all frames."""
    state = features.initial_state()
    frames = []
    for start, end in pairwise([0, *sorted(cuts), len(audio)]):
        out, state = features.step(audio[start:end], state)
        frames.append(out)
    return np.concatenate([*frames, features.finish(state)])


def hz_to_mel(hz):
    """Slaney's scale, written out."""
    return hz / (200 / 3) if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def mel_to_hz(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * np.exp(np.log(6.4) / 27 * (mel - 15))


def by_definition(audio, frame, n_mels):
    """One frame in double precision: windowed, transformed term by term, filtered, floored, scaled."""
    padded = np.concatenate([np.zeros(N_FFT), audio.astype(np.float64), np.zeros(2 * N_FFT)])
    start = N_FFT + frame * HOP - N_FFT // 2
    n = np.arange(N_FFT)
    windowed = padded[start : start + N_FFT] * (0.5 - 0.5 * np.cos(2 * np.pi * n / N_FFT))
    power = np.array([abs(np.sum(windowed * np.exp(-2j * np.pi * k * n / N_FFT))) ** 2 for k in range(N_FFT // 2 + 1)])
    corners = [mel_to_hz(m) for m in np.linspace(0, hz_to_mel(8000), n_mels + 2)]
    out = []
    for low, top, high in zip(corners, corners[1:], corners[2:], strict=False):
        triangle = np.interp(40.0 * np.arange(N_FFT // 2 + 1), [low, top, high], [0, 1, 0])
        energy = np.sum(triangle * 2 / (high - low) * power)
        out.append((max(np.log10(max(energy, 1e-10)), FLOOR) + 4) / 4)
    return np.array(out, np.float32)


@settings(max_examples=60)
@given(count=SAMPLES, data=st.data())
def test_streamed_equals_whole_for_any_block_cuts(count, data):
    features, audio = LogMel(), noise(count)
    cuts = data.draw(st.lists(st.integers(0, count), max_size=12))
    assert np.array_equal(stream(features, audio, cuts), features(audio))


@pytest.mark.parametrize("block", [1, 7, 159, 160, 161, 399, 400, 401])
def test_streamed_equals_whole_for_blocks_of_one_size(block):
    features, audio = LogMel(), noise(1234)
    assert np.array_equal(stream(features, audio, range(block, 1234, block)), features(audio))


@pytest.mark.parametrize(("count", "frames"), [(0, 0), (1, 1), (160, 1), (161, 2), (16_000, 100)])
def test_a_frame_is_given_for_every_10_ms_that_begin(count, frames):
    features = LogMel()
    assert features(noise(count)).shape == (frames, 80)
    assert stream(features, noise(count), []).shape == (frames, 80)


@pytest.mark.parametrize("n_mels", [80, 40])
def test_frames_are_those_of_the_definition(n_mels):
    audio = noise(1000)
    got = LogMel(n_mels)(audio)
    for frame in range(7):
        assert_allclose(got[frame], by_definition(audio, frame, n_mels), rtol=0, atol=2e-5)


def test_filters_are_triangles_of_equal_area_on_the_whole_band():
    filters = mel_filters().astype(np.float64)
    assert filters.shape == (201, 80)
    assert (filters >= 0).all()
    assert filters[1:-1].any(axis=1).all()
    rises = np.diff((filters > 0).astype(int), axis=0)
    assert ((rises == 1).sum(axis=0) <= 1).all()
    # The wide ones are sampled often enough to see their area: 1 / 40 Hz a bin.
    assert_allclose(filters[:, 50:].sum(axis=0), 0.025, rtol=0.03)


def test_a_frame_depends_on_its_own_25_ms_only():
    features, audio = LogMel(), noise(3200)
    other = audio.copy()
    other[1000:] = 0.0
    unseen = (1000 - N_FFT // 2) // HOP + 1
    before, after = features(audio), features(other)
    assert np.array_equal(before[:unseen], after[:unseen])
    assert not np.allclose(before[unseen], after[unseen])


def test_loud_speech_does_not_change_quiet_frames_of_the_same_recording():
    features, quiet = LogMel(), 0.001 * noise(1600)
    loud = np.concatenate([quiet, 300.0 * noise(1600)])
    assert np.array_equal(features(quiet)[:8], features(loud)[:8])


def test_silence_is_the_floor():
    assert_allclose(LogMel()(np.zeros(800, np.float32)), np.full((5, 80), (FLOOR + 4) / 4))


@pytest.mark.parametrize("floor", [FLOOR, -3.0])
def test_silence_is_named(floor):
    features = LogMel(floor=floor)
    assert_allclose(features(np.zeros(800, np.float32)), np.full((5, 80), features.silence))


@pytest.mark.parametrize("count", [0, 1, 399, 16_000])
def test_training_has_the_same_features(count):
    audio = noise(count)
    assert_allclose(LogMel()(audio), TrainingLogMel()(torch.from_numpy(audio)).numpy(), rtol=0, atol=1e-5)


def test_state_is_a_value_that_can_be_continued_twice():
    features = LogMel()
    _, state = features.step(noise(500), features.initial_state())
    one, _ = features.step(noise(500, 1), state)
    features.step(noise(500, 2), state)
    assert np.array_equal(features.step(noise(500, 1), state)[0], one)


def test_state_stays_small():
    features = LogMel()
    state = features.initial_state()
    for seed in range(20):
        _, state = features.step(noise(333, seed), state)
        assert state.audio.shape[0] < N_FFT
