"""Augmentation keeps what a label needs, is finite, and is decided by its random generator alone."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtstream.events import SAMPLE_RATE
from rtstream.training.corpus.augment import (
    Augment,
    Augmenter,
    convolve,
    low_pass,
    room_response,
    room_tone,
    spec_augment,
)

EVERYTHING = Augment(speed=1.0, noise=1.0, room=1.0, band=1.0)
NOTHING = Augment(speed=0.0, noise=0.0, room=0.0, band=0.0, gain_db=(0.0, 0.0), lead=(0.0, 0.0), tail=(0.0, 0.0))


@dataclass
class Recording:
    samples: NDArray[np.float32]

    def read(self) -> NDArray[np.float32]:
        return self.samples


def tone(count, hz=440.0, level=0.3):
    return (level * np.sin(2 * np.pi * hz / SAMPLE_RATE * np.arange(count))).astype(np.float32)


def noise(count, level=0.05, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def augmented(config, audio, seed=0, noises=None):
    noises = [Recording(noise(5000))] if noises is None else noises
    augmenter = Augmenter(config, noises, np.random.default_rng(seed))
    clean = augmenter.clean(audio)
    return clean, augmenter.dirty(clean)


@settings(max_examples=40)
@given(
    count=st.integers(400, 20_000),
    seed=st.integers(0, 2**32),
    level=st.sampled_from([0.0, 1e-6, 0.3, 1.0, 30.0]),
    config=st.sampled_from([Augment(), EVERYTHING, NOTHING]),
)
def test_both_versions_are_finite_of_one_length_and_in_range(count, seed, level, config):
    audio = tone(count, level=level)
    clean, dirty = augmented(config, audio, seed)
    assert clean.dtype == dirty.dtype == np.float32
    assert len(clean) == len(dirty)
    assert np.isfinite(clean).all()
    assert np.isfinite(dirty).all()
    assert np.abs(dirty).max() <= 0.9901
    slowest, fastest = 1 / config.speed_range[0], 1 / config.speed_range[1]
    seconds, extra = count / SAMPLE_RATE, (config.lead[1] + config.tail[1])
    assert fastest * seconds - 0.01 <= len(clean) / SAMPLE_RATE <= slowest * seconds + extra + 0.01


def test_same_generator_gives_the_same_audio():
    audio = tone(8000)
    for first, second in zip(augmented(EVERYTHING, audio, 5), augmented(EVERYTHING, audio, 5), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(augmented(EVERYTHING, audio, 5)[1], augmented(EVERYTHING, audio, 6)[1])


def test_nothing_asked_changes_nothing():
    audio = tone(4000)
    clean, dirty = augmented(NOTHING, audio)
    assert np.array_equal(clean, audio)
    assert np.array_equal(dirty, audio)


def test_input_is_left_as_it_was():
    audio = tone(4000)
    augmented(EVERYTHING, audio)
    assert np.array_equal(audio, tone(4000))


@pytest.mark.parametrize("name", ["gain_db", "noise", "snr_db", "room", "room_seconds", "band", "band_hz"])
def test_what_is_heard_clean_is_described_by_what_changes_it(name):
    """What a teacher made of clips is kept by this description."""
    audio, changed = tone(4000), {"noise": 0.9, "room": 0.9, "band": 0.9}.get(name, (0.3, 0.4))
    other = replace(Augment(), **{name: changed})
    assert other.heard() == Augment().heard()
    assert np.array_equal(augmented(other, audio)[0], augmented(Augment(), audio)[0])


@pytest.mark.parametrize(
    "changes", [{"speed": 1.0}, {"speed_range": (1.1, 1.1)}, {"lead": (0.1, 0.1)}, {"tail": (2, 2)}]
)
def test_what_changes_what_is_heard_clean_is_in_its_description(changes):
    assert replace(Augment(), **changes).heard() != Augment().heard()


def test_clip_lies_between_lead_and_tail():
    audio = tone(4000)
    clean, _ = augmented(replace(NOTHING, lead=(0.1, 0.1), tail=(0.5, 0.5)), audio)
    assert len(clean) == 1600 + 4000 + 8000
    assert np.array_equal(clean[1600:5600], audio)


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_noise_has_the_level_that_was_asked(snr):
    audio = tone(16_000)
    _, dirty = augmented(replace(NOTHING, noise=1.0, snr_db=(snr, snr), gain_db=(-6.0, -6.0)), audio)
    gain = 10 ** (-6 / 20)
    power = np.mean((dirty - gain * audio) ** 2)
    assert 10 * np.log10(np.mean((gain * audio) ** 2) / power) == pytest.approx(snr, abs=0.01)


def test_noise_never_comes_without_recordings_of_it():
    clean, dirty = augmented(replace(NOTHING, noise=1.0), tone(4000), noises=())
    assert np.array_equal(clean, dirty)


def test_gain_never_clips():
    _, dirty = augmented(replace(NOTHING, gain_db=(40.0, 40.0)), tone(4000))
    assert np.abs(dirty).max() == pytest.approx(0.99)


def test_narrow_band_has_nothing_above():
    spectrum = np.abs(np.fft.rfft(low_pass(noise(16_000), 3000.0)))
    assert spectrum[3001:].max() < 1e-3 * spectrum[:3000].max()


def test_room_keeps_the_direct_sound_and_dies_away():
    response = room_response(np.random.default_rng(0), 0.4)
    assert response[0] == 1.0
    assert not response[1:32].any()
    assert np.abs(response[-160:]).max() < 1e-3


@given(first=st.integers(1, 300), second=st.integers(1, 300))
def test_convolution_is_linear_not_circular(first, second):
    audio, response = noise(first), noise(second, seed=1)
    assert np.allclose(convolve(audio, response), np.convolve(audio, response)[:first], atol=1e-6)


def test_room_tone_is_as_loud_as_the_quietest_frames():
    audio = np.concatenate([noise(3200, 0.001), noise(12_800, 0.3)])
    made = room_tone(audio, 16_000, np.random.default_rng(0))
    assert np.sqrt(np.mean(made**2)) == pytest.approx(0.001, rel=0.2)
    assert len(room_tone(noise(100), 50, np.random.default_rng(0))) == 50


@settings(max_examples=30)
@given(batch=st.integers(1, 3), frames=st.integers(1, 120), seed=st.integers(0, 1000))
def test_spec_augment_only_puts_values_at_the_floor(batch, frames, seed):
    mel = torch.randn(batch, frames, 80, generator=torch.Generator().manual_seed(1))
    before = mel.clone()
    out = spec_augment(mel, torch.Generator().manual_seed(seed))
    assert torch.equal(mel, before)
    assert bool(((out == mel) | (out == mel.amin())).all())
    assert torch.equal(out, spec_augment(mel, torch.Generator().manual_seed(seed)))


def test_spec_augment_leaves_most_of_a_clip():
    mel = torch.zeros(1, 400, 80)
    mel[0, 0, 0] = -1.0
    out = spec_augment(mel, torch.Generator().manual_seed(0), bands=2, width=16, gaps=2, length=30)
    assert float((out == 0).float().mean()) > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 1.5}, r"noise: must be a probability"),
        ({"room": -0.1}, r"room: must be a probability"),
        ({"speed_range": (1.2, 0.8)}, r"speed_range: must be \[least, most\]"),
        ({"speed_range": (0.0, 1.0)}, r"speed_range: must be \[least, most\], at least 0\.01"),
        ({"tail": (-1.0, 1.0)}, r"tail: must be \[least, most\], at least 0"),
        ({"snr_db": (3.0, float("inf"))}, r"snr_db"),
        ({"snr_db": (float("nan"), 3.0)}, r"snr_db"),
    ],
)
def test_impossible_ranges_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Augment(**changes)
