"""The samples themselves, for encoders that read the wave; the same interface as that of log-mel features."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Count = TypeVar("Count", int, Tensor)


class Wave(nn.Module):
    """Features that are the samples: (..., n). There is no state.

    ``frame`` samples make an encoder frame, which needs ``look_ahead`` behind it.
    """

    def __init__(self, frame: int, look_ahead: int) -> None:
        super().__init__()
        self.frame, self.look_ahead = frame, look_ahead

    def forward(self, audio: Tensor) -> Tensor:
        """Features of whole recordings (..., samples)."""
        return audio

    def initial_state(self) -> None:
        """The state before the first sample: there is none."""

    def step(self, audio: Tensor, state: None) -> tuple[Tensor, None]:
        """What (n,) further samples are, and the state after them."""
        return audio, state

    def finish(self, state: None) -> Tensor:
        """What is still owed after the last sample: nothing."""
        del state
        return torch.zeros(0)

    @staticmethod
    def rows(samples: Count) -> Count:
        """How many rows so many samples make."""
        return samples

    def padded(self, rows: Tensor, frames: int) -> Tensor:
        """(n,) samples and silence behind them, as much as makes so many encoder frames."""
        return F.pad(rows, (0, max(frames * self.frame + self.look_ahead - len(rows), 0)))
