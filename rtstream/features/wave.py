"""The samples themselves, for encoders that read the wave; the same interface as that of log-mel features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class Wave:
    """Features that are the samples: (n,). There is no state.

    ``frame`` samples make an encoder frame, which needs ``look_ahead`` behind it.
    """

    def __init__(self, frame: int, look_ahead: int) -> None:
        self.frame, self.look_ahead = frame, look_ahead

    def __call__(self, audio: F32) -> F32:
        """Features of a whole recording (samples,)."""
        return audio

    def initial_state(self) -> None:
        """The state before the first sample: there is none."""

    def step(self, audio: F32, state: None) -> tuple[F32, None]:
        """What (n,) further samples are, and the state after them."""
        return audio, state

    def finish(self, state: None) -> F32:
        """What is still owed after the last sample: nothing."""
        del state
        return np.zeros(0, np.float32)

    def padded(self, rows: F32, frames: int) -> F32:
        """(n,) samples and silence behind them, as much as makes so many encoder frames."""
        return np.pad(rows, (0, max(frames * self.frame + self.look_ahead - len(rows), 0)))
