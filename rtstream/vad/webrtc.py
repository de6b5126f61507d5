"""The gate of WebRTC: a Gaussian mixture over six bands, a few microseconds a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.events import SAMPLE_RATE
from rtstream.vad.gate import GateMissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_MS = (10, 20, 30)
AGGRESSIVENESS = (0, 1, 2, 3)


class WebRtcGate:
    """webrtcvad as a :class:`~rtstream.vad.gate.Gate`; make one for each stream.

    ``aggressiveness``: from 0, which lets most through, to 3, which rejects most. ``frame_ms``: 10, 20 or 30.
    Raises ValueError for other values, GateMissingError where webrtcvad is not installed or does not load.
    """

    def __init__(self, aggressiveness: int = 1, frame_ms: int = 20) -> None:
        if aggressiveness not in AGGRESSIVENESS:
            msg = f"aggressiveness must be one of {AGGRESSIVENESS}, got {aggressiveness}"
            raise ValueError(msg)
        if frame_ms not in FRAME_MS:
            msg = f"frame_ms must be one of {FRAME_MS}, got {frame_ms}"
            raise ValueError(msg)
        self.frame_samples = SAMPLE_RATE * frame_ms // 1000
        self._aggressiveness = aggressiveness
        self._vad = _new_vad(aggressiveness)

    def is_speech(self, frame: NDArray[np.float32]) -> bool:
        """Judge the next frame, float32 of shape (frame_samples,); what exceeds [-1, 1] is clipped."""
        pcm = np.clip(frame * np.float32(32768), -32768, 32767).astype(np.int16)
        return bool(self._vad.is_speech(pcm.tobytes(), SAMPLE_RATE))

    def reset(self) -> None:
        """Forget all frames so far."""
        self._vad = _new_vad(self._aggressiveness)  # the library has no reset


def _new_vad(aggressiveness: int) -> Any:  # noqa: ANN401 - the library has no types
    # Imported here, so that the error comes where a gate is wanted and says what to do. The original package imports
    # pkg_resources, which new setuptools lack: it fails with an ImportError too.
    try:
        import webrtcvad  # noqa: PLC0415
    except ImportError as error:
        raise GateMissingError(
            f"the voice activity detector cannot be loaded ({error}); install it: pip install webrtcvad-wheels"
        ) from error
    return webrtcvad.Vad(aggressiveness)
