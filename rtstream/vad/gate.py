"""What the segmenter asks of a voice activity detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from rtstream.errors import RtstreamError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


GateName = Literal["webrtc", "silero"]


class GateMissingError(RtstreamError):
    """The library or the model of the voice activity detector cannot be loaded."""


class Gate(Protocol):
    """Tells speech from the rest, frame by frame, for one stream.

    ``frame_samples`` is the length of a frame at 16 kHz. A gate may carry state from frame to frame, therefore each
    stream has its own.
    """

    @property
    def frame_samples(self) -> int:
        """The length of the frames that :meth:`is_speech` takes, in samples."""
        ...

    def is_speech(self, frame: NDArray[np.float32]) -> bool:
        """Judge the next frame, float32 of shape (frame_samples,), nominally in [-1, 1]."""
        ...

    def reset(self) -> None:
        """Forget all frames so far: what comes next does not follow them."""
        ...
