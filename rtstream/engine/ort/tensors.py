"""Tensors of a bundle as graphs take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rtstream.model.shapes import SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rtstream.bundle.files import State

EPSILON = 1e-5
"""Of norms."""
LEAST = 1e-8
"""The least size that rows of activations are brought from to 1."""
PAIR = 128
"""The most that two weights may come to if 16 bits are to hold their products with activations of up to 255."""


def dense(state: State, name: str) -> NDArray[np.float32]:
    """A tensor of the model in float32, of its own shape."""
    tensor, scale = state[name], state.get(name + SCALE)
    out: NDArray[np.float32] = tensor.astype(np.float32)
    if scale is not None:
        out = (out.reshape(len(scale), -1) * scale[:, None]).reshape(tensor.shape)
    return out


def quantized(state: State, names: Sequence[str], *, saturates: bool = False) -> State:
    """The tensors with the named matrices in int8, and their scales, where they were float.

    ``saturates``: the kernels add products up by twos in 16 bits.
    """
    out: State = dict(state)
    for name in names:
        if name + SCALE not in out:
            weight = out[name].astype(np.float32)
            flat = weight.reshape(-1, weight.shape[-1])
            scale = (np.maximum(np.abs(flat).max(axis=1), 1e-8) / 127.0).astype(np.float32)
            rounded = np.clip(np.rint(flat / scale[:, None]), -127, 127).astype(np.int8)
            out[name], out[name + SCALE] = rounded.reshape(weight.shape), scale
        if saturates:
            out[name], out[name + SCALE] = unsaturated(out[name], out[name + SCALE])
    return out


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
