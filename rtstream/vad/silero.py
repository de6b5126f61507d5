"""The gate of Silero: a recurrent network over frames of 32 ms, some 0.2 ms a frame.

The model is that of https://github.com/snakers4/silero-vad (version 5 or later, MIT licence), which does not ship with
rtstream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.events import SAMPLE_RATE
from rtstream.vad.gate import GateMissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME = 512
"""Samples of a frame."""
CONTEXT = 64
"""Samples before a frame that the model sees with it."""
RECURRENT = (2, 1, 128)
"""Shape of what the model hands from frame to frame."""
PACKAGE, FILE = "silero_vad", "data/silero_vad.onnx"
HYSTERESIS, LOWEST_END = 0.15, 0.01
"""Speech ends so far below the threshold that begins it, and not below that: silero-vad's own ``neg_threshold``."""


@dataclass(frozen=True, slots=True)
class SileroState:
    """What the model knows of one stream: its recurrent state, of shape (2, 1, 128), and the newest samples, (64,)."""

    recurrent: NDArray[np.float32] = field(default_factory=lambda: np.zeros(RECURRENT, np.float32))
    context: NDArray[np.float32] = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))


class SileroModel:
    """The network, which holds nothing of a stream: all streams of a process share one, from any thread.

    ``path`` is its .onnx file, by default that of the package silero-vad, which is not imported: it would bring torch.
    Raises GateMissingError where onnxruntime or the file is missing, or the file is another model.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _installed()
        self._session = _open(self.path)
        inputs = {entry.name for entry in self._session.get_inputs()}
        self._constant = {"sr": np.array(SAMPLE_RATE, np.int64)} if "sr" in inputs else {}
        try:
            self.step(np.zeros(FRAME, np.float32), SileroState())
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise GateMissingError(f"{self.path}: another model than silero-vad's of version 5 or later") from error

    def step(self, frame: NDArray[np.float32], state: SileroState) -> tuple[float, SileroState]:
        """The probability of speech in the next frame, shape (512,), and the state behind it."""
        samples = np.concatenate((state.context, frame))
        given = {"input": samples[None], "state": state.recurrent} | self._constant
        ((probability,),), recurrent = self._session.run(None, given)
        return float(probability), SileroState(recurrent, samples[-CONTEXT:])


class SileroGate:
    """silero-vad as a :class:`~rtstream.vad.gate.Gate`; make one for each stream, over one model.

    Speech begins at a probability of ``threshold`` and goes on while it is at most 0.15 lower, as in silero-vad's own
    VADIterator. Raises ValueError for a threshold that is not between 0 and 1.
    """

    def __init__(self, model: SileroModel, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            msg = f"threshold must be between 0 and 1, got {threshold}"
            raise ValueError(msg)
        self.frame_samples = FRAME
        self._model = model
        self._begin, self._end = threshold, max(threshold - HYSTERESIS, LOWEST_END)
        self._state = SileroState()
        self._speech = False

    def is_speech(self, frame: NDArray[np.float32]) -> bool:
        """Judge the next frame, float32 of shape (512,); what exceeds [-1, 1] is clipped."""
        probability, self._state = self._model.step(np.clip(frame, -1, 1), self._state)
        self._speech = probability >= (self._end if self._speech else self._begin)
        return self._speech

    def reset(self) -> None:
        """Forget all frames so far."""
        self._state = SileroState()
        self._speech = False


def _installed() -> Path:
    """The file in the package silero-vad."""
    spec = find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise GateMissingError(
        "silero-vad's model is not installed: pip install --no-deps silero-vad, or name its silero_vad.onnx (vad.model)"
    )


def _open(path: Path) -> Any:  # noqa: ANN401 - not typed
    try:
        from rtstream.onnx_runtime import onnxruntime  # noqa: PLC0415 - the error comes where a gate is wanted
    except ImportError as error:
        raise GateMissingError(
            f"the voice activity detector cannot be loaded ({error}); install it: pip install onnxruntime"
        ) from error
    if not path.is_file():
        raise GateMissingError(f"{path}: no such file; give silero-vad's silero_vad.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the caller's: none is started
    options.log_severity_level = 3  # errors, which are raised as well
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise GateMissingError(f"{path}: cannot be read as a model ({error}); give silero-vad's") from error
