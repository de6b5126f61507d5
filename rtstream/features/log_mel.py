"""Streaming log-mel features with Whisper's filter bank and a fixed floor.

Whisper clamps each utterance at its own maximum minus 8, which looks ahead; here the floor is a constant, so a frame
depends on nothing but its own 25 ms of audio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.events import SAMPLE_RATE

Count = TypeVar("Count", int, Tensor)

N_FFT = 400
HOP = SAMPLE_RATE // 100  # 10 ms
FLOOR = -6.5  # log10 of the least mel energy; speech peaks near +1.5, where Whisper's own clamp lies at -6.5 too


def mel_filters(n_mels: int = 80, n_fft: int = N_FFT, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Triangular filters on Slaney's mel scale, normalised to equal area, as Whisper and librosa use them.

    Returns float32 of shape (n_fft // 2 + 1, n_mels). Source: M. Slaney, Auditory Toolbox, 1998: linear below
    1 kHz (200/3 Hz a mel), logarithmic above (27 steps from 1 to 6.4 kHz).
    """
    hz_per_mel = 200.0 / 3.0
    log_step = torch.log(torch.tensor(6.4, dtype=torch.float64)) / 27.0
    break_mel = 1000.0 / hz_per_mel

    nyquist = torch.tensor(sample_rate / 2.0, dtype=torch.float64)
    top_mel = break_mel + torch.log(nyquist / 1000.0) / log_step
    mels = torch.linspace(0.0, float(top_mel), n_mels + 2, dtype=torch.float64)
    hz = torch.where(mels < break_mel, mels * hz_per_mel, 1000.0 * torch.exp(log_step * (mels - break_mel)))

    bins = torch.linspace(0.0, float(nyquist), n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins[:, None] - hz[None, :-2]) / (hz[1:-1] - hz[:-2])
    falling = (hz[None, 2:] - bins[:, None]) / (hz[2:] - hz[1:-1])
    filters = torch.clamp(torch.minimum(rising, falling), min=0.0)
    return (filters * (2.0 / (hz[2:] - hz[:-2]))).float()


@dataclass(frozen=True, slots=True)
class LogMelState:
    """The audio of one stream that later frames still need: float32 of shape (n,)."""

    audio: Tensor


class LogMel(nn.Module):
    """Log-mel spectrogram, 100 frames a second, frame t centred at sample 160 t.

    The audio is taken to be zero before its start and after its end. The module holds no stream state.
    """

    def __init__(self, n_mels: int = 80, floor: float = FLOOR) -> None:
        super().__init__()
        self.n_mels = n_mels
        self.floor = floor
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters", mel_filters(n_mels), persistent=False)

    def energies(self, padded: Tensor) -> Tensor:
        """Log10 mel energies, not floored, of each whole window: (..., n) samples to (..., frames, n_mels)."""
        frames = padded.unfold(-1, N_FFT, HOP) * self.window
        power = torch.fft.rfft(frames).abs().square()
        return torch.clamp(power @ self.filters, min=1e-10).log10()

    def scale(self, log_energies: Tensor) -> Tensor:
        """Floor and scale to about [-1, 1.5], as Whisper does after its own clamp."""
        return (torch.clamp(log_energies, min=self.floor) + 4.0) / 4.0

    @property
    def silence(self) -> float:
        """The feature of digital silence."""
        return (self.floor + 4.0) / 4.0

    @staticmethod
    def rows(samples: Count) -> Count:
        """How many rows so many samples make."""
        return -(-samples // HOP)

    def padded(self, rows: Tensor, frames: int) -> Tensor:
        """(n, n_mels) and silence behind it, as much as makes so many encoder frames."""
        return F.pad(rows, (0, 0, 0, 2 * frames - len(rows)), value=self.silence)

    def forward(self, audio: Tensor) -> Tensor:
        """Features of whole recordings: (..., samples) to (..., ceil(samples / 160), n_mels)."""
        frames = -(-audio.shape[-1] // HOP)
        if frames == 0:
            return audio.new_zeros(*audio.shape[:-1], 0, self.n_mels)
        right = (frames - 1) * HOP + N_FFT // 2 - audio.shape[-1]
        return self.scale(self.energies(F.pad(audio, (N_FFT // 2, right))))

    def initial_state(self) -> LogMelState:
        """The state before the first sample."""
        return LogMelState(torch.zeros(N_FFT // 2, device=self.window.device))

    def step(self, audio: Tensor, state: LogMelState) -> tuple[Tensor, LogMelState]:
        """The frames that (n,) further samples complete, shape (frames, n_mels), and the state after them."""
        audio = torch.cat([state.audio, audio])
        if audio.shape[0] < N_FFT:
            return audio.new_zeros(0, self.n_mels), replace(state, audio=audio)
        features = self.scale(self.energies(audio))
        return features, LogMelState(audio[features.shape[0] * HOP :])

    def finish(self, state: LogMelState) -> Tensor:
        """The frames still owed after the last sample, shape (frames, n_mels)."""
        # A frame is owed for each hop that begins inside the audio: its centre lies N_FFT / 2 into the kept samples.
        owed = max(0, -(-(state.audio.shape[0] - N_FFT // 2) // HOP))
        if owed == 0:
            return state.audio.new_zeros(0, self.n_mels)
        short = (owed - 1) * HOP + N_FFT - state.audio.shape[0]
        return self.scale(self.energies(F.pad(state.audio, (0, max(short, 0)))))[:owed]
