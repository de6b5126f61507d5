"""How a layer is told where a frame or a token stands: by sinusoids that are added, or by turned queries and keys."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed position encodings, (length, channels): sines, then cosines, of geometric wavelengths."""
    step = math.log(10_000) / (channels // 2 - 1)
    place, number = torch.arange(length, device="cpu"), torch.arange(channels // 2, device="cpu")
    angles = place[:, None] * torch.exp(-step * number)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotations(length: int, rotary: int) -> Tensor:
    """Cosines and sines of rotary position embedding (RoPE, arXiv 2104.09864), (2, length, rotary / 2)."""
    number = torch.arange(rotary // 2, device="cpu")
    angles = torch.arange(length, device="cpu")[:, None] * 10_000.0 ** (-number / (rotary // 2))
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Queries or keys (..., n, d_head) turned by ``turns`` (2, n, rotary / 2), those of their places.

    Channel i of the first ``rotary`` makes a pair with channel i + rotary / 2; those behind them are not turned.
    """
    cos, sin = turns.unbind()
    half = cos.shape[-1]
    a, b = x[..., :half], x[..., half : 2 * half]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., 2 * half :]], dim=-1)
