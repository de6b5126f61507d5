"""What makes encoder frames of features, chunk by chunk, as ``nn.front_end`` has it; a whole segment is one chunk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from rtstream.engine.ort.tensors import EPSILON, LEAST, dense

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rtstream.bundle.files import State
    from rtstream.engine.base import F32
    from rtstream.engine.ort.graph import Graph
    from rtstream.engine.ort.sessions import Parts, Session
    from rtstream.model.config import EncoderConfig

WIDTHS, STRIDES = (127, 7, 3), (64, 3, 2)
"""Of the convolutions over the wave."""
BLOCK = 512
"""Rows that are computed at a time."""


def windows(x: F32, width: int, stride: int) -> F32:
    """(n, channels) to (windows, channels, width)."""
    view: F32 = np.lib.stride_tricks.sliding_window_view(x, width, axis=0)[::stride]
    return view


@dataclass(frozen=True, slots=True)
class MelState:
    """``mel``: frames (n, n_mels) that the first convolution still needs; ``hidden``: (1, d) its last output."""

    mel: F32
    hidden: F32


class MelFrontEnd:
    """Log-mel frames to encoder frames by two convolutions of width 3."""

    def __init__(self, config: EncoderConfig, load: Callable[[], State], parts: Parts) -> None:
        self._d, self._mels = config.d_model, config.n_mels
        self._first, self._second = (
            parts.session(name, partial(_convolution, load, f"encoder.front.{name}", "gelu"))
            for name in ("conv1", "conv2")
        )

    def initial_state(self) -> MelState:
        """The state at the start of a segment."""
        return MelState(np.zeros((1, self._mels), np.float32), np.zeros((1, self._d), np.float32))

    def step(self, mel: F32, state: MelState, chunk: int) -> tuple[list[F32], MelState]:
        """Frames (n, d_model) of each chunk that further mel frames complete, and the next state."""
        state = MelState(np.concatenate([state.mel, mel]), state.hidden)
        chunks = []
        while len(state.mel) >= 2 * chunk + 2:
            hidden = self._convolved(state.mel[: 2 * chunk + 2], self._first)
            chunks.append(self._convolved(np.concatenate([state.hidden, hidden]), self._second, 2))
            state = MelState(state.mel[2 * chunk :], hidden[-1:])
        return chunks, state

    def finish(self, state: MelState) -> F32:
        """The frames of the rest, less than a chunk's."""
        if len(state.mel) < 2:
            return np.zeros((0, self._d), np.float32)
        hidden = self._convolved(np.pad(state.mel, ((0, 1), (0, 0))), self._first)
        padded = np.pad(np.concatenate([state.hidden, hidden]), ((0, len(hidden) % 2), (0, 0)))
        return self._convolved(padded, self._second, 2)

    def full(self, mel: F32) -> F32:
        """The frames (n, d_model) of a whole segment."""
        state = self.initial_state()
        return self.finish(MelState(np.concatenate([state.mel, mel]), state.hidden))

    @staticmethod
    def _convolved(x: F32, convolution: Session, stride: int = 1) -> F32:
        seen = windows(x, 3, stride)
        return convolution.run({"x": seen.reshape(len(seen), -1)})["y"]


@dataclass(frozen=True, slots=True)
class WaveState:
    """What the convolutions over the wave still need; ``moments``: numbers so far, their sum, and that of squares."""

    audio: F32
    normed: F32
    hidden: F32
    moments: NDArray[np.float64]


class WaveFrontEnd:
    """Samples to encoder frames of 384 by three convolutions, with a group norm of what has come so far."""

    def __init__(self, config: EncoderConfig, load: Callable[[], State], parts: Parts) -> None:
        self._d = config.d_model
        name = "encoder.front."
        self._first = parts.session("conv1", partial(_convolution, load, f"{name}conv1", "tanh"))
        self._others = [parts.session(each, partial(_matrix, load, name + each)) for each in ("conv2", "conv3")]
        self._weight, self._bias = (
            parts.array(f"norm {each}", partial(_dense, load, f"{name}norm.{each}")) for each in ("weight", "bias")
        )

    def initial_state(self) -> WaveState:
        """The state at the start of a segment."""
        empty = np.zeros((0, self._d), np.float32)
        return WaveState(np.zeros(0, np.float32), empty, np.zeros((0, 2 * self._d), np.float32), np.zeros(3))

    def step(self, audio: F32, state: WaveState, chunk: int) -> tuple[list[F32], WaveState]:
        """Frames (n, d_model) of each chunk that further samples complete, and the next state."""
        state = WaveState(np.concatenate([state.audio, audio]), state.normed, state.hidden, state.moments)
        chunks = []
        while self._outputs(state) >= (wanted := 6 * chunk + (0 if state.moments[0] else 7)):
            frames, state = self._convolve(state, wanted)
            chunks.append(frames)
        return chunks, state

    def finish(self, state: WaveState) -> F32:
        """The frames of the rest, less than a chunk's."""
        outputs = self._outputs(state)
        return self._convolve(state, outputs)[0] if outputs > 0 else np.zeros((0, self._d), np.float32)

    def full(self, audio: F32) -> F32:
        """The frames (n, d_model) of a whole segment."""
        state = self.initial_state()
        return self.finish(WaveState(audio, state.normed, state.hidden, state.moments))

    @staticmethod
    def _outputs(state: WaveState) -> int:
        return (len(state.audio) - WIDTHS[0]) // STRIDES[0] + 1

    def _convolve(self, state: WaveState, outputs: int) -> tuple[F32, WaveState]:
        used = state.audio[: WIDTHS[0] + (outputs - 1) * STRIDES[0]]
        x = self._first.run({"x": windows(used, WIDTHS[0], STRIDES[0])})["y"]
        squares = [np.square(x[at : at + BLOCK]).sum(axis=1) for at in range(0, len(x), BLOCK)]
        sums = [x.size, x.sum(axis=1).sum(dtype=np.float64), np.concatenate(squares).sum(dtype=np.float64)]
        moments = state.moments + np.array(sums)
        mean = moments[1] / moments[0]
        deviation = np.sqrt(max(moments[2] / moments[0] - mean**2, 0.0) + EPSILON)
        x -= np.float32(mean)
        x *= self._weight / np.float32(deviation)
        x += self._bias
        kept = [np.concatenate([state.normed, x]) if len(state.normed) else x, state.hidden]
        for index, convolution in enumerate(self._others):
            width, stride, given = WIDTHS[index + 1], STRIDES[index + 1], kept[index]
            if len(given) < width:
                frames = np.zeros((0, (2 - index) * self._d), np.float32)
            else:
                frames = _in_blocks(convolution, given, width, stride)
                kept[index] = given[len(frames) * stride :]
            if index == 0:
                kept[1] = np.concatenate([kept[1], frames])
        return frames, WaveState(state.audio[outputs * STRIDES[0] :], kept[0], kept[1], moments)


def _in_blocks(convolution: Session, x: F32, width: int, stride: int) -> F32:
    """A convolution of frames (n, channels) by an int8 matrix, so many windows at a time that they take little memory.

    Kernels quantize by the range of what they are given: each block gets that of all, in a row of its own.
    """
    seen = windows(x, width, stride).transpose(0, 2, 1)
    if len(seen) <= BLOCK:
        return convolution.run({"x": seen.reshape(len(seen), -1)})["y"]
    low, high = (windows(each[:, None], width, stride)[:, 0] for each in (x.min(axis=1), x.max(axis=1)))
    low, high = low.min(axis=1), high.max(axis=1)
    size = np.maximum(np.maximum(-low, high), np.float32(LEAST))
    ends = np.zeros((1, seen[0].size), np.float32)
    ends[0, :2] = (low / size).min(), (high / size).max()
    blocks = (seen[at : at + BLOCK] for at in range(0, len(seen), BLOCK))
    return np.concatenate(
        [convolution.run({"x": np.concatenate([each.reshape(len(each), -1), ends])})["y"][:-1] for each in blocks]
    )


def _convolution(load: Callable[[], State], name: str, activation: Literal["gelu", "tanh"]) -> Graph:
    from rtstream.engine.ort.networks import convolution_graph  # noqa: PLC0415 - onnx, where nothing was kept

    return convolution_graph(load(), name, activation)


def _matrix(load: Callable[[], State], name: str) -> Graph:
    from rtstream.engine.ort.networks import matrix_graph  # noqa: PLC0415 - as above

    return matrix_graph(load(), name)


def _dense(load: Callable[[], State], name: str) -> F32:
    return dense(load(), name)
