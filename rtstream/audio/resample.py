"""Any rate and channel count to 16 kHz mono, as the audio arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_RATE = 1_000
"""Lowest source rate in Hz: below it there is no speech, only a damaged header."""
MAX_RATE = 768_000
"""Highest source rate in Hz: the fastest converters sold run at it."""


class Resampler:
    """Averages the channels and resamples to 16 kHz.

    The output does not depend on how the input is cut, bit for bit. It lags the input by the filter's length (some
    20 ms); :meth:`finish` delivers the rest. ``rate`` is in Hz, within ``MIN_RATE`` and ``MAX_RATE``, else ValueError.
    """

    def __init__(self, rate: int) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"rate must be {MIN_RATE} to {MAX_RATE} Hz, got {rate}"
            raise ValueError(msg)
        self.rate = rate
        # At 16 kHz the samples pass untouched: a filter would only cost time and change them.
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take ``frames`` of shape (n, channels) or (n,), give the samples of shape (m,) that are ready; m may be 0."""
        mono = np.ascontiguousarray(frames if frames.ndim == 1 else _average(frames), dtype=np.float32)
        if self._stream is None:
            return mono
        return np.asarray(self._stream.resample_chunk(mono), np.float32)

    def finish(self) -> NDArray[np.float32]:
        """Give the last samples of the stream, shape (m,). In total n input frames make n * 16000 / rate, rounded."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        return np.asarray(self._stream.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


def _average(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels. Added one after the other: numpy's own order of summation could depend on the shape."""
    total = frames[:, 0].copy()
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    total /= np.float32(frames.shape[1])
    return total
