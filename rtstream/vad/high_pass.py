"""What lies below speech, mains hum above all, taken out of a stream, frame by frame."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUTOFF_HZ = 100.0
ORDER = 4
"""24 dB off the hum of 50 Hz, 18 dB off that of 60 Hz; nearly nothing off any voice, of which a gate needs no more than
a telephone lets through."""


class HighPass:
    """A Butterworth high-pass for frames of ``size`` samples at 16 kHz that follow one another.

    A recursive filter one frame at a time: what the frame's own samples give, and what those before it have left in the
    filter's state. So it needs no loop over samples, and is exact.
    """

    def __init__(self, size: int, cutoff_hz: float = CUTOFF_HZ, order: int = ORDER) -> None:
        self._own, self._left, self._next, self._gained = _responses(size, cutoff_hz, order)
        self._state = np.zeros(len(self._next))

    def push(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter the next frame, shape (size,)."""
        filtered = self._own @ frame + (self._left @ self._state).astype(np.float32)
        self._state = self._next @ self._state + self._gained @ frame
        return filtered

    def reset(self) -> None:
        """Forget all frames so far."""
        self._state = np.zeros(len(self._next))


@lru_cache(maxsize=8)
def _responses(
    size: int, cutoff_hz: float, order: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Make the matrices of a frame.

    What its samples give, (size, size), and the state before it, (size, states); what that state becomes behind it,
    (states, states), and what its samples add to it, (states, size).
    """
    sections = [_section(cutoff_hz, 1 / (2 * math.cos(math.pi * (2 * n + 1) / (2 * order)))) for n in range(order // 2)]
    states = 2 * len(sections)
    # The impulse and all states of 1 at once, each a column.
    columns = np.zeros((len(sections), 2, states + 1))
    for state in range(states):
        columns[state // 2, state % 2, 1 + state] = 1
    answers = np.zeros((size, states + 1))
    after = np.zeros((size, states))
    for place in range(size):
        signal = np.zeros(states + 1)
        signal[0] = place == 0
        for section, ((b0, b1, b2), (a1, a2)) in zip(columns, sections, strict=True):
            out = b0 * signal + section[0]
            section[0], section[1] = b1 * signal - a1 * out + section[1], b2 * signal - a2 * out
            signal = out
        answers[place] = signal
        after[place] = columns[:, :, 0].reshape(-1)
    ages = np.subtract.outer(np.arange(size), np.arange(size))
    own = np.where(ages >= 0, answers[ages, 0], 0).astype(np.float32)
    return own, answers[:, 1:].copy(), columns[:, :, 1:].reshape(states, states).copy(), after[::-1].T.copy()


def _section(cutoff_hz: float, quality: float) -> tuple[tuple[float, float, float], tuple[float, float]]:
    """Give the coefficients of a high-pass of second order (R. Bristow-Johnson's cookbook)."""
    angle = 2 * math.pi * cutoff_hz / SAMPLE_RATE
    alpha, cosine = math.sin(angle) / (2 * quality), math.cos(angle)
    b0, a0 = (1 + cosine) / 2, 1 + alpha
    return (b0 / a0, -2 * b0 / a0, b0 / a0), (-2 * cosine / a0, (1 - alpha) / a0)
