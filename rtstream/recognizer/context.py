"""How much a whole segment is padded before it is encoded with full context.

Whisper's encoder has only ever seen recordings padded to 30 s, and its decoder leans on the silence behind the speech
to end: on the same clips its texts repeat themselves without it, and are as good as ever with a third of it.
"""

from __future__ import annotations

from rtstream.nn.encoder import FRAMES_PER_SECOND
from rtstream.recognizer.words import SAMPLES_A_FRAME

LEAST_SECONDS = 10
"""A segment and its padding together are at least so long."""
AFTER_SECONDS = 2
"""Padding is at least so long."""
SEEN_FRAMES = FRAMES_PER_SECOND
"""States (20 ms) of the padding that the decoder sees, from the end of the segment on."""


def context_frames(frames: int, most: int) -> int:
    """Encoder frames of a segment of ``frames`` with its padding, at most ``most``."""
    wanted = max(LEAST_SECONDS * FRAMES_PER_SECOND, frames + AFTER_SECONDS * FRAMES_PER_SECOND)
    return max(frames, min(wanted, most))


def context_samples(samples: int, most: int) -> int:
    """Samples of a segment of ``samples`` with its padding, whole frames, of which there are at most ``most``."""
    return context_frames(-(-samples // SAMPLES_A_FRAME), most) * SAMPLES_A_FRAME
