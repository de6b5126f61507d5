"""One level for all segments that are encoded whole, so that a final does not depend on how loud its audio came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.ma  # by np.quantile only when it is first called, for which there may be no file left

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME = SAMPLE_RATE // 50
LOUD = 0.9
"""The share of frames of 20 ms that are no louder than what counts for the level: speech, whatever pauses it has."""
LEVEL = 0.05
"""Root mean square to which that is brought, where the training audio's is."""
MOST = 100.0
"""The greatest gain, 40 dB."""


def levelled(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (n,) of a segment at the usual level; silence, and what is hardly there at all, stays about as it is."""
    if len(audio) < FRAME:
        return audio
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    loud = np.quantile(np.sqrt(np.square(frames).mean(axis=1)), LOUD)
    return audio * np.float32(LEVEL / max(loud, LEVEL / MOST))
