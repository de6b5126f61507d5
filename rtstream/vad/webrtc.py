"""The gate of WebRTC: a Gaussian mixture over six bands, a few microseconds a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.events import SAMPLE_RATE
from rtstream.vad.gate import GateMissingError
from rtstream.vad.loudness import Loudness

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_MS = (10, 20, 30)
AGGRESSIVENESS = (0, 1, 2, 3)


class WebRtcGate:
    """webrtcvad as a :class:`~rtstream.vad.gate.Gate`; make one for each stream.

    What it hears depends on the level: of the same sentence, 20 dB softer, it cut every fifth into other segments.
    Therefore it gets each stream at the same level. Steady noise, too, is loud then before anybody has spoken:
    speech begins only where it rises from what was there, and goes on until webrtcvad finds its end.

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
        self._loudness = Loudness(self.frame_samples)
        self._speech = False

    def is_speech(self, frame: NDArray[np.float32]) -> bool:
        """Judge the next frame, float32 of shape (frame_samples,), of any level."""
        gain, rises = self._loudness.push(frame)
        pcm = np.clip(frame * (gain * np.float32(32768)), -32768, 32767).astype(np.int16)
        voiced = bool(self._vad.is_speech(pcm.tobytes(), SAMPLE_RATE))
        self._speech = voiced and (rises or self._speech)
        return self._speech

    def reset(self) -> None:
        """Forget all frames so far."""
        self._vad = _new_vad(self._aggressiveness)  # the library has no reset
        self._loudness.reset()
        self._speech = False


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
