"""Any rate and channel count to 16 kHz mono, as the audio arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from rtstream.audio.downmix import Downmix
from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_RATE = 1_000
"""Lowest source rate in Hz: below it there is no speech, only a damaged header."""
MAX_RATE = 768_000
"""Highest source rate in Hz: the fastest converters sold run at it."""


class Resampler:
    """Mixes the channels down, see :class:`~rtstream.audio.downmix.Downmix`, and resamples to 16 kHz.

    The output does not depend on how the input is cut, bit for bit. It lags the input by the filter's length (some
    20 ms), and with several channels by up to 10 ms; :meth:`finish` delivers the rest. ``rate`` is in Hz, within
    ``MIN_RATE`` and ``MAX_RATE``, else ValueError.
    """

    def __init__(self, rate: int) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"rate must be {MIN_RATE} to {MAX_RATE} Hz, got {rate}"
            raise ValueError(msg)
        self.rate = rate
        # At 16 kHz the samples pass untouched: a filter would only cost time and change them.
        self._stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
        self._downmix: Downmix | None = None

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take ``frames`` of shape (n, channels) or (n,), give the samples of shape (m,) that are ready; m may be 0."""
        if frames.ndim > 1 and frames.shape[1] > 1:
            if self._downmix is None:
                self._downmix = Downmix(self.rate, frames.shape[1])
            mono = self._downmix.push(frames)
        else:
            mono = np.ascontiguousarray(frames.reshape(-1), dtype=np.float32)
        return mono if self._stream is None else np.asarray(self._stream.resample_chunk(mono), np.float32)

    def finish(self) -> NDArray[np.float32]:
        """Give the last samples of the stream, shape (m,). In total n input frames make n * 16000 / rate, rounded."""
        rest = np.zeros(0, np.float32) if self._downmix is None else self._downmix.finish()
        return rest if self._stream is None else np.asarray(self._stream.resample_chunk(rest, last=True), np.float32)
