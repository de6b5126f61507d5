"""Which features an encoder reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtstream.features.log_mel import LogMel
from rtstream.features.wave import Wave

if TYPE_CHECKING:
    from rtstream.model.config import EncoderConfig

F32 = NDArray[np.float32]
State = Any
"""Of the features' own; what one kind gave is never given to another."""


class Features(Protocol):
    """What an encoder reads of audio, at once or in a stream; holds no stream state."""

    def __call__(self, audio: F32) -> F32:
        """Features of a whole recording (samples,)."""
        ...

    def initial_state(self) -> State:
        """The state before the first sample."""
        ...

    def step(self, audio: F32, state: State) -> tuple[F32, State]:
        """The rows that (n,) further samples complete, and the state after them."""
        ...

    def finish(self, state: State) -> F32:
        """The rows still owed after the last sample."""
        ...

    def padded(self, rows: F32, frames: int) -> F32:
        """Rows of one recording and silence behind them, as much as makes so many encoder frames."""
        ...


def make_features(config: EncoderConfig) -> LogMel | Wave:
    """The features of an encoder of these sizes."""
    return LogMel(config.n_mels) if config.front_end == "mel" else Wave(config.frame_samples, config.look_ahead)
