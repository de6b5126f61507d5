"""Augmentation of training audio, and SpecAugment on its features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

Samples = NDArray[np.float32]


class Readable(Protocol):
    """Anything that gives samples."""

    def read(self) -> Samples:
        """Samples, float32 mono at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Augment:
    """Probabilities of each change, and its ranges.

    ``lead`` and ``tail``: seconds of room tone put before and after a clip, (least, most): what the segmenter's
    pre-roll and hang-over bring, from which the decoder learns to stop.
    """

    speed: float = 0.5
    speed_range: tuple[float, float] = (0.9, 1.12)
    gain_db: tuple[float, float] = (-18.0, 6.0)
    noise: float = 0.4
    snr_db: tuple[float, float] = (3.0, 30.0)
    room: float = 0.25
    room_seconds: tuple[float, float] = (0.1, 0.6)
    band: float = 0.1
    band_hz: tuple[float, float] = (3000.0, 7000.0)
    lead: tuple[float, float] = (0.0, 0.4)
    tail: tuple[float, float] = (0.2, 1.0)

    def heard(self) -> str:
        """What of this changes a clip before noise, rooms and gain."""
        return f"{self.speed} {self.speed_range} {self.lead} {self.tail}"

    def __post_init__(self) -> None:
        for name in ("speed", "noise", "room", "band"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                msg = f"{name}: must be a probability from 0 to 1 (got {getattr(self, name)})"
                raise ValueError(msg)
        positive = {"speed_range", "room_seconds", "band_hz"}
        for name in ("speed_range", "gain_db", "snr_db", "room_seconds", "band_hz", "lead", "tail"):
            least, most = getattr(self, name)
            bound = 0.01 if name in positive else 0.0 if name in {"lead", "tail"} else -100.0
            if not bound <= least <= most < math.inf:
                msg = f"{name}: must be [least, most], at least {bound:g} (got {[least, most]})"
                raise ValueError(msg)


def room_response(rng: np.random.Generator, seconds: float) -> Samples:
    """A simulated room: a direct path, then noise decaying by 60 dB in ``seconds``."""
    length = int(seconds * SAMPLE_RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    response = rng.standard_normal(length) * decay * rng.uniform(0.02, 0.12)
    response[: int(0.002 * SAMPLE_RATE)] = 0.0
    response[0] = 1.0
    return response.astype(np.float32)


def convolve(audio: Samples, response: Samples) -> Samples:
    """Linear convolution cut to the length of ``audio``."""
    size = 1 << (len(audio) + len(response) - 1).bit_length()
    out = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(response, size), size)
    return out[: len(audio)].astype(np.float32)


def low_pass(audio: Samples, hz: float) -> Samples:
    """Nothing above ``hz``, as through a narrow-band codec."""
    spectrum = np.fft.rfft(audio)
    spectrum[int(hz / SAMPLE_RATE * len(audio)) :] = 0.0
    return np.fft.irfft(spectrum, len(audio)).astype(np.float32)


def room_tone(audio: Samples, count: int, rng: np.random.Generator) -> Samples:
    """Noise as loud as the quietest 5 % of the recording's 20 ms frames."""
    frames = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    level = np.quantile(np.sqrt((frames**2).mean(axis=1)), 0.05) if len(frames) else 0.0
    return (rng.standard_normal(count) * min(level, 0.02)).astype(np.float32)


class Augmenter:
    """Applies ``Augment`` with the choices of one random generator."""

    def __init__(self, config: Augment, noise: Sequence[Readable], rng: np.random.Generator) -> None:
        self.config = config
        self.noise = noise
        self.rng = rng

    def clean(self, audio: Samples) -> Samples:
        """The clip with its lead, tail and speed."""
        c, rng = self.config, self.rng
        if rng.random() < c.speed:
            audio = soxr.resample(audio, SAMPLE_RATE * rng.uniform(*c.speed_range), SAMPLE_RATE, quality="LQ")
        lead, tail = (int(rng.uniform(*span) * SAMPLE_RATE) for span in (c.lead, c.tail))
        return np.concatenate([room_tone(audio, lead, rng), audio, room_tone(audio, tail, rng)])

    def dirty(self, clean: Samples) -> Samples:
        """A clean clip with noise, room, band and gain."""
        c, rng = self.config, self.rng
        dirty = clean
        if rng.random() < c.room:
            dirty = convolve(dirty, room_response(rng, rng.uniform(*c.room_seconds)))
        if len(self.noise) and rng.random() < c.noise:
            dirty = self._add_noise(dirty)
        if rng.random() < c.band:
            dirty = low_pass(dirty, rng.uniform(*c.band_hz))
        peak = float(np.abs(dirty).max(initial=1e-4))
        gain = min(10 ** (rng.uniform(*c.gain_db) / 20.0), 0.99 / peak)
        return (dirty * np.float32(gain)).astype(np.float32)

    def _add_noise(self, audio: Samples) -> Samples:
        noise = self.noise[int(self.rng.integers(len(self.noise)))].read()
        start = int(self.rng.integers(len(noise)))
        noise = np.resize(np.roll(noise, -start), len(audio))
        power, noise_power = float((audio**2).mean()), float((noise**2).mean())
        if noise_power < 1e-10 or power < 1e-10:
            return audio
        scale = np.sqrt(power / noise_power / 10 ** (self.rng.uniform(*self.config.snr_db) / 10.0))
        return audio + np.float32(scale) * noise


def spec_augment(
    mel: Tensor, generator: torch.Generator, *, bands: int = 2, width: int = 16, gaps: int = 2, length: int = 30
) -> Tensor:
    """SpecAugment (arXiv 1904.08779) on (batch, frames, mels): the same bands, gaps of its own for each clip."""
    mel = mel.clone()
    batch, frames, mels = mel.shape
    floor = mel.amin()
    for _ in range(bands):
        size = int(torch.randint(0, width + 1, (1,), generator=generator))
        start = int(torch.randint(0, mels - size + 1, (1,), generator=generator))
        mel[:, :, start : start + size] = floor
    for row in range(batch):
        for _ in range(gaps):
            size = int(torch.randint(0, min(length, max(1, frames // 20)) + 1, (1,), generator=generator))
            start = int(torch.randint(0, frames - size + 1, (1,), generator=generator))
            mel[row, start : start + size] = floor
    return mel
