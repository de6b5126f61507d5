"""Streaming log-mel features with Whisper's filter bank and a fixed floor.

Whisper clamps each utterance at its own maximum minus 8, which looks ahead; here the floor is a constant, so a frame
depends on nothing but its own 25 ms of audio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import fft  # here: as np.fft it is imported where it is first used, for which there may be no file left
from numpy.typing import NDArray

from rtstream.events import SAMPLE_RATE

F32 = NDArray[np.float32]

N_FFT = 400
HOP = SAMPLE_RATE // 100  # 10 ms
FLOOR = -6.5  # log10 of the least mel energy; speech peaks near +1.5, where Whisper's own clamp lies at -6.5 too


def hann_window() -> F32:
    """The periodic Hann window of a frame, (N_FFT,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


def mel_filters(n_mels: int = 80, n_fft: int = N_FFT, sample_rate: int = SAMPLE_RATE) -> F32:
    """Triangular filters on Slaney's mel scale, normalised to equal area, as Whisper and librosa use them.

    Returns float32 of shape (n_fft // 2 + 1, n_mels). Source: M. Slaney, Auditory Toolbox, 1998: linear below
    1 kHz (200/3 Hz a mel), logarithmic above (27 steps from 1 to 6.4 kHz).
    """
    hz_per_mel = 200.0 / 3.0
    log_step = np.log(6.4) / 27.0
    break_mel = 1000.0 / hz_per_mel

    nyquist = sample_rate / 2.0
    mels = np.linspace(0.0, break_mel + np.log(nyquist / 1000.0) / log_step, n_mels + 2)
    hz = np.where(mels < break_mel, mels * hz_per_mel, 1000.0 * np.exp(log_step * (mels - break_mel)))

    bins = np.linspace(0.0, nyquist, n_fft // 2 + 1)
    rising = (bins[:, None] - hz[None, :-2]) / (hz[1:-1] - hz[:-2])
    falling = (hz[None, 2:] - bins[:, None]) / (hz[2:] - hz[1:-1])
    filters = np.maximum(np.minimum(rising, falling), 0.0)
    area: F32 = (filters * (2.0 / (hz[2:] - hz[:-2]))).astype(np.float32)
    return area


@dataclass(frozen=True, slots=True)
class LogMelState:
    """The audio of one stream that later frames still need: float32 of shape (n,)."""

    audio: F32


class LogMel:
    """Log-mel spectrogram, 100 frames a second, frame t centred at sample 160 t.

    The audio is taken to be zero before its start and after its end. No stream state is held here. ``nn.features`` has
    the same for training.
    """

    def __init__(self, n_mels: int = 80, floor: float = FLOOR) -> None:
        self.n_mels = n_mels
        self.floor = floor
        self._window = hann_window()
        self._filters = mel_filters(n_mels)

    def _frames(self, padded: F32) -> F32:
        """Features (frames, n_mels) of each whole window of (n,) samples."""
        if len(padded) < N_FFT:
            return np.zeros((0, self.n_mels), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP] * self._window
        spectrum = fft.rfft(windows)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        # Frame by frame: of several at once BLAS makes other sums than of one, and then blocks would decide.
        summed = np.matmul(power[:, None, :], self._filters)[:, 0]
        energies = np.log10(np.maximum(summed, np.float32(1e-10)))
        # Floored and scaled to about [-1, 1.5], as Whisper does after its own clamp.
        features: F32 = (np.maximum(energies, np.float32(self.floor)) + np.float32(4.0)) / np.float32(4.0)
        return features

    @property
    def silence(self) -> float:
        """The feature of digital silence."""
        return (self.floor + 4.0) / 4.0

    def padded(self, rows: F32, frames: int) -> F32:
        """(n, n_mels) and silence behind it, as much as makes so many encoder frames."""
        silence = np.full((2 * frames - len(rows), self.n_mels), self.silence, np.float32)
        return np.concatenate([rows, silence])

    def __call__(self, audio: F32) -> F32:
        """Features of a whole recording: (samples,) to (ceil(samples / 160), n_mels)."""
        frames = -(-len(audio) // HOP)
        right = max((frames - 1) * HOP + N_FFT // 2 - len(audio), 0)
        return self._frames(np.pad(audio, (N_FFT // 2, right)))[:frames]

    def initial_state(self) -> LogMelState:
        """The state before the first sample."""
        return LogMelState(np.zeros(N_FFT // 2, np.float32))

    def step(self, audio: F32, state: LogMelState) -> tuple[F32, LogMelState]:
        """The frames that (n,) further samples complete, shape (frames, n_mels), and the state after them."""
        audio = np.concatenate([state.audio, audio])
        features = self._frames(audio)
        return features, LogMelState(audio[len(features) * HOP :])

    def finish(self, state: LogMelState) -> F32:
        """The frames still owed after the last sample, shape (frames, n_mels)."""
        # A frame is owed for each hop that begins inside the audio: its centre lies N_FFT / 2 into the kept samples.
        owed = max(0, -(-(len(state.audio) - N_FFT // 2) // HOP))
        short = (owed - 1) * HOP + N_FFT - len(state.audio)
        return self._frames(np.pad(state.audio, (0, max(short, 0))))[:owed]
