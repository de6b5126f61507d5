"""Features of whole recordings and batches of them, for training; streams have theirs from ``rtstream.features``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.features.log_mel import FLOOR, HOP, N_FFT, hann_window, mel_filters

if TYPE_CHECKING:
    from rtstream.model.config import EncoderConfig

Count = TypeVar("Count", int, Tensor)


class LogMel(nn.Module):
    """Log-mel spectrogram, 100 frames a second, frame t centred at sample 160 t.

    The audio is taken to be zero before its start and after its end.
    """

    def __init__(self, n_mels: int = 80, floor: float = FLOOR) -> None:
        super().__init__()
        self.n_mels = n_mels
        self.floor = floor
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.from_numpy(hann_window()), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(n_mels)), persistent=False)

    def energies(self, padded: Tensor) -> Tensor:
        """Log10 mel energies, not floored, of each whole window: (..., n) samples to (..., frames, n_mels)."""
        frames = padded.unfold(-1, N_FFT, HOP) * self.window
        power = torch.fft.rfft(frames).abs().square()
        return torch.clamp(power @ self.filters, min=1e-10).log10()

    @property
    def silence(self) -> float:
        """The feature of digital silence."""
        return (self.floor + 4.0) / 4.0

    @staticmethod
    def rows(samples: Count) -> Count:
        """How many rows so many samples make."""
        return -(-samples // HOP)

    def forward(self, audio: Tensor) -> Tensor:
        """Features of whole recordings: (..., samples) to (..., ceil(samples / 160), n_mels)."""
        frames = -(-audio.shape[-1] // HOP)
        if frames == 0:
            return audio.new_zeros(*audio.shape[:-1], 0, self.n_mels)
        right = (frames - 1) * HOP + N_FFT // 2 - audio.shape[-1]
        # Floored and scaled to about [-1, 1.5], as Whisper does after its own clamp.
        return (torch.clamp(self.energies(F.pad(audio, (N_FFT // 2, right))), min=self.floor) + 4.0) / 4.0


class Wave(nn.Module):
    """Features that are the samples: (..., n)."""

    @staticmethod
    def rows(samples: Count) -> Count:
        """How many rows so many samples make."""
        return samples

    def forward(self, audio: Tensor) -> Tensor:
        """Features of whole recordings (..., samples)."""
        return audio


def make_features(config: EncoderConfig) -> LogMel | Wave:
    """The features of an encoder of these sizes."""
    return LogMel(config.n_mels) if config.front_end == "mel" else Wave()
