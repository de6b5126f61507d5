"""What stands for digital silence: models learn from rooms, and nothing at all around a word is not one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rtstream.recognizer.level import FRAME, LOUD

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUIET = 0.05
"""The share of frames of 20 ms that are no louder than the room."""
SILENT = 1e-3
"""Of the level of speech, 60 dB below: no room is as quiet, but a gate, a codec or padding is."""
MOST = 0.4
"""Of the level of speech, that a room may have."""


def with_room_tone(audio: NDArray[np.float32], lead: int = 0) -> NDArray[np.float32] | None:
    """A segment (n,) with ``lead`` samples before it, and noise as loud as its quietest sound wherever it is silent.

    It is the same noise each time. None where there is no silence to fill, or nothing but silence.
    """
    audio = np.pad(audio, (lead, 0))
    starts = np.arange(0, len(audio), FRAME)
    sizes = np.diff(starts, append=len(audio))
    levels = np.sqrt(np.add.reduceat(np.square(audio), starts) / sizes) if len(audio) else np.zeros(1)
    loud = np.quantile(levels[lead // FRAME :], LOUD)
    silent = levels <= SILENT * loud
    if silent.all() or not silent.any():
        return None
    tone = min(np.quantile(levels[~silent], QUIET), MOST * loud)
    noise = np.random.default_rng(0).standard_normal(len(audio), np.float32)
    return audio + np.repeat(silent, sizes) * np.float32(tone) * noise
