"""What an opened file or pipe gives before resampling: frames of every channel, and what was wrong at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class FrameReader(Protocol):
    """Decoded audio at its own rate and channel count, front to back.

    ``rate`` is in Hz. ``frames`` is how many frames will come as far as known in advance, else None. ``floats`` tells
    samples whose scale is the writer's choice. ``fault`` is set once the frames have ended and are not all that was
    promised: what is wrong and what to do, without the file's name.
    """

    rate: int
    channels: int
    frames: int | None
    floats: bool
    fault: str | None

    def read(self, count: int) -> NDArray[np.float32]:
        """Give the next frames as float32 of shape (n, channels), n <= ``count``; n is 0 only at the end."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def hms(seconds: float) -> str:
    """Write a length of audio for a reader: ``4.25 s``, or ``37.3 h`` where seconds say nothing."""
    return f"{seconds:.2f} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def cut_short(frames: int, promised: int, rate: int) -> str:
    """Word the fault of a file with fewer frames than its header promises."""
    return (
        f"it is truncated: its header promises {hms(promised / rate)} of audio and it holds {hms(frames / rate)}, "
        "all of which was read; get a complete copy"
    )


def reading_failed(seconds: float, error: OSError) -> str:
    """Word the fault of a file that could be read until ``seconds``."""
    return f"reading failed after {hms(seconds)}: {error.strerror}; check the disk or device"
