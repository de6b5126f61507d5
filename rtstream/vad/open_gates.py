"""From the name of a voice activity detector to what makes its gates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rtstream.vad.silero import SileroGate, SileroModel
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rtstream.vad.gate import Gate, GateName


def open_gates(
    engine: GateName = "webrtc",
    *,
    aggressiveness: int = 1,
    frame_ms: int = 20,
    threshold: float = 0.5,
    model: Path | None = None,
) -> Callable[[], Gate]:
    """What makes a gate for each stream; those of silero share the model that is loaded here.

    ``aggressiveness`` and ``frame_ms`` are :class:`WebRtcGate`'s, ``threshold`` and ``model`` :class:`SileroGate`'s and
    :class:`SileroModel`'s. Raises ValueError, GateMissingError as they do.
    """
    new_gate: Callable[[], Gate] = (
        partial(SileroGate, SileroModel(model), threshold)
        if engine == "silero"
        else partial(WebRtcGate, aggressiveness, frame_ms)
    )
    new_gate()  # what is missing is told here, not by the first stream
    return new_gate
