"""Tensors of a bundle as graphs take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtstream.model.shapes import SCALE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rtstream.bundle.files import State

EPSILON = 1e-5
"""Of norms."""
LEAST = 1e-8
"""The least size that rows of activations are brought from to 1."""
PAIR = 128
"""The most that two weights may come to if 16 bits are to hold their products with activations of up to 255."""
BLOCK = 1024
"""Rows of a matrix that are rounded at a time."""


def dense(state: State, name: str) -> NDArray[np.float32]:
    """A tensor of the model in float32, of its own shape."""
    tensor, scale = state[name], state.get(name + SCALE)
    out: NDArray[np.float32] = tensor.astype(np.float32)
    if scale is not None:
        out = (out.reshape(len(scale), -1) * scale[:, None]).reshape(tensor.shape)
    return out


class Quantized(Mapping[str, NDArray[Any]]):
    """Tensors with the named matrices in int8, and their scales, where they were float, made as they are asked for."""

    def __init__(self, state: State, names: Collection[str], *, saturates: bool = False) -> None:
        """``saturates``: the kernels add products up by twos in 16 bits."""
        self._state, self._names, self._saturates = state, frozenset(names), saturates
        self._newest: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        matrix = name.removesuffix(SCALE)
        if matrix not in self._names:
            return self._state[name]
        if name not in self._newest:  # a matrix and its scales are made at once, and asked for one after the other
            self._newest = {}
            weight, scale = self._quantized(matrix)
            self._newest = {matrix: weight, matrix + SCALE: scale}
        return self._newest[name]

    def _quantized(self, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        weight, scale = self._state[name], self._state.get(name + SCALE)
        if scale is not None and not self._saturates:
            return weight, scale
        rows = weight.reshape(-1, weight.shape[-1])
        out, scales = np.empty(rows.shape, np.int8), np.empty(len(rows), np.float32)
        for at in range(0, len(rows), BLOCK):  # a large table in one piece would take ten times its size
            block = slice(at, at + BLOCK)
            part, own = _rounded(rows[block]) if scale is None else (rows[block], scale[block])
            out[block], scales[block] = unsaturated(part, own) if self._saturates else (part, own)
        return out.reshape(weight.shape), scales

    def __contains__(self, name: object) -> bool:
        return name in self._state or (isinstance(name, str) and name.removesuffix(SCALE) in self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._state, *(each + SCALE for each in self._names)]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _rounded(rows: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rows (n, inputs) in int8, and their scales."""
    weight = rows.astype(np.float32)
    scale = (np.maximum(np.abs(weight).max(axis=1), 1e-8) / 127.0).astype(np.float32)
    return np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8), scale


def unsaturated(weight: NDArray[np.int8], scale: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The same matrix, coarser in channels with neighbours of one sign above ``PAIR``: AVX2 adds products up by twos.

    That costs less than a bit of all activations, which is how others avoid it.
    """
    flat = weight.reshape(len(scale), -1).astype(np.int16)
    flat = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
    even, odd = flat[:, ::2], flat[:, 1::2]
    above = (np.maximum(even, 0) + np.maximum(odd, 0)).max(axis=1)
    below = -(np.minimum(even, 0) + np.minimum(odd, 0)).min(axis=1)
    excess = np.maximum(np.maximum(above, below) / PAIR, 1.0).astype(np.float32)
    own = weight.reshape(len(scale), -1)
    coarse = np.where(excess[:, None] > 1.0, np.rint(own / excess[:, None]), own).astype(np.int8)
    return coarse.reshape(weight.shape), (scale * excess).astype(np.float32)
