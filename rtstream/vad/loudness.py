"""How loud a stream is, so that a gate hears the same whatever the microphone's level."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOUD = 0.2
"""Root mean square to which the loudest frame is brought: speech that fills the scale of 16 bits nearly has it."""
MOST = 1_000.0
"""The greatest gain, 60 dB: speech whose peaks are 40 dB below full scale needs 40."""
RELEASE_DB = 1.0
"""By how much a second what was loud counts for less."""
ABOVE_NOISE_DB = 25.0
"""How far above the noise floor speech is expected before anybody has spoken: a gate that has learnt the noise at the
level of speech is deaf to speech at that level."""
RISE_DB = 5.0
"""How far speech stands out when it begins; frames of steady noise differ by less from the quietest of them."""
FAINT_DB = 50.0
"""How far below what is loud nothing is speech, whatever was there before it."""
FLOOR_SECONDS = 3.0
"""Time in which people make a pause, however short."""
UNKNOWN_SECONDS, UNKNOWN_DB = 0.3, 10.0
"""Time after which the noise is known; before that it is taken to be so far below the quietest frame: a stream may
begin in the middle of a word."""
STEP = 1e-5
"""Less than what 16 bits resolve."""


class Loudness:
    """The level of the frames of one stream, each of ``size`` samples at 16 kHz."""

    def __init__(self, size: int) -> None:
        seconds = size / SAMPLE_RATE
        self._release = 10 ** (-RELEASE_DB * seconds / 20)
        self._recent: deque[float] = deque(maxlen=max(1, round(FLOOR_SECONDS / seconds)))
        self._unknown = round(UNKNOWN_SECONDS / seconds)
        self._loudest = 0.0

    def push(self, frame: NDArray[np.float32]) -> tuple[np.float32, bool]:
        """The gain that the next frame, shape (size,), needs, and whether it stands out from the noise."""
        level = float(np.sqrt(np.dot(frame, frame) / len(frame)))
        self._recent.append(level)
        floor = max(min(self._recent), STEP)
        if len(self._recent) < self._unknown:
            floor *= 10 ** (-UNKNOWN_DB / 20)
        expected = floor * 10 ** (ABOVE_NOISE_DB / 20)
        self._loudest = max(level, self._loudest * self._release, expected, LOUD / MOST)
        least = max(floor * 10 ** (RISE_DB / 20), self._loudest * 10 ** (-FAINT_DB / 20))
        return np.float32(LOUD / self._loudest), level >= least

    def reset(self) -> None:
        """Forget all frames so far."""
        self._recent.clear()
        self._loudest = 0.0
