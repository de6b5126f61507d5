"""How much a whole segment is padded before it is encoded with full context: Moonshine's not at all.

Whisper's encoder has only ever seen recordings padded to 30 s, and its decoder leans on the silence behind the speech
to end: on the same clips its texts repeat themselves without it, and are as good as ever with a third of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE
from rtstream.model.config import MEL_FRAME

if TYPE_CHECKING:
    from rtstream.model.config import EncoderConfig

FRAMES_PER_SECOND = SAMPLE_RATE // MEL_FRAME

LEAST_SECONDS = 10
"""A segment and its padding together are at least so long."""
AFTER_SECONDS = 2
"""Padding is at least so long."""
SEEN_FRAMES = FRAMES_PER_SECOND
"""States (20 ms) of the padding that the decoder sees, from the end of the segment on."""


def seen_frames(config: EncoderConfig) -> int:
    """States of the padding that the decoder sees."""
    return SEEN_FRAMES if config.front_end == "mel" else 0


def context_frames(frames: int, config: EncoderConfig) -> int:
    """Encoder frames of a segment of ``frames`` with its padding, at most as many as there are positions."""
    if config.front_end != "mel":
        return frames
    most = config.max_frames
    wanted = max(LEAST_SECONDS * FRAMES_PER_SECOND, frames + AFTER_SECONDS * FRAMES_PER_SECOND)
    return max(frames, min(wanted, most))


def context_samples(samples: int, config: EncoderConfig) -> int:
    """Samples of a segment of ``samples`` with its padding, whole frames where it is padded."""
    if config.front_end != "mel":
        return samples
    return context_frames(-(-samples // MEL_FRAME), config) * MEL_FRAME
