"""The fixed tables by which a layer is told where a frame or a token stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sinusoids(length: int, channels: int) -> NDArray[np.float32]:
    """Whisper's fixed position encodings, (length, channels): sines, then cosines, of geometric wavelengths."""
    step = np.log(10_000) / (channels // 2 - 1)
    angles = np.arange(length)[:, None] * np.exp(-step * np.arange(channels // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def rotations(length: int, rotary: int) -> NDArray[np.float32]:
    """Cosines and sines of rotary position embedding (RoPE, arXiv 2104.09864), (2, length, rotary / 2)."""
    half = rotary // 2
    angles = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    return np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
