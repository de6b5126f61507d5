"""Bringing the layers that are to share a matrix as near to each other as can be had for nothing.

A Transformer layer computes the same function when the neurons of its feed-forward are put in another order, when its
heads are, and when a head's queries and keys, or values and output, are rotated together. Layers trained apart differ
by such changes too; undone, less is left for the private parts to hold. The idea is Git Re-Basin's (arXiv 2209.04836),
there between models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment

from rtstream.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from rtstream.nn.encoder import Encoder


@torch.no_grad()
def align_layers(encoder: Encoder, share: int) -> None:
    """Align, in place, each layer of every ``share`` adjacent ones to the first. The encoder must be unshared.

    The function that it computes stays the same to float noise.
    """
    for first in range(0, encoder.config.layers, share):
        for other in range(first + 1, first + share):
            _align_feed_forward(encoder, first, other)
            _align_heads(encoder, first, other)


def _align_feed_forward(encoder: Encoder, first: int, other: int) -> None:
    up, down = _weight(encoder, other, "ff1"), _weight(encoder, other, "ff2")
    bias = encoder.layers[other].ff1.bias
    gain = _weight(encoder, first, "ff1") @ up.T + _weight(encoder, first, "ff2").T @ down
    order = torch.from_numpy(linear_sum_assignment(gain.numpy(), maximize=True)[1])
    up.copy_(up[order])
    bias.copy_(bias[order])
    down.copy_(down[:, order])


def _align_heads(encoder: Encoder, first: int, other: int) -> None:
    one, two = _heads(encoder, first), _heads(encoder, other)
    # cross[a][b]: what rotating head b of the other layer onto head a of the first can gain, by an SVD (Procrustes).
    cross_qk = torch.einsum("axi,byi->abxy", one["q"], two["q"]) + torch.einsum("axi,byi->abxy", one["k"], two["k"])
    cross_vo = torch.einsum("axi,byi->abxy", one["v"], two["v"]) + torch.einsum("aix,biy->abxy", one["o"], two["o"])
    gain = torch.linalg.matrix_norm(cross_qk, "nuc") + torch.linalg.matrix_norm(cross_vo, "nuc")
    order = linear_sum_assignment(gain.numpy(), maximize=True)[1]

    rotated: dict[str, list[Tensor]] = {name: [] for name in ("q", "k", "v", "o", "q_bias", "k_bias", "v_bias")}
    for a, b in enumerate(order):
        turn_qk, turn_vo = _rotation(cross_qk[a, b]), _rotation(cross_vo[a, b])
        for part, turn in (("q", turn_qk), ("k", turn_qk), ("v", turn_vo)):
            rotated[part].append(turn @ two[part][b])
            rotated[f"{part}_bias"].append(turn @ two[f"{part}_bias"][b])
        rotated["o"].append(two["o"][b] @ turn_vo.T)
    bias, out = encoder.layers[other].qkv.bias, _weight(encoder, other, "out")
    _weight(encoder, other, "qkv").copy_(torch.cat([torch.cat(rotated[part]) for part in "qkv"]))
    bias.copy_(torch.cat([torch.cat(rotated[f"{part}_bias"]) for part in "qkv"]))
    out.copy_(torch.stack(rotated["o"], dim=1).reshape(out.shape))


def _weight(encoder: Encoder, index: int, position: str) -> Tensor:
    matrix = encoder.group_of(index).matrix(position)
    if matrix is None:
        raise TrainingError("layers without full-rank matrices cannot be aligned: start from an unshared encoder")
    return matrix.weight


def _heads(encoder: Encoder, index: int) -> dict[str, Tensor]:
    """q, k, v (heads, d_head, d), their biases (heads, d_head), and o (heads, d, d_head) of a layer."""
    c = encoder.config
    width = c.d_model // c.heads
    weights = _weight(encoder, index, "qkv").view(3, c.heads, width, c.d_model)
    biases = encoder.layers[index].qkv.bias.view(3, c.heads, width)
    found = dict(zip("qkv", weights.clone(), strict=True))
    found |= {f"{part}_bias": bias for part, bias in zip("qkv", biases.clone(), strict=True)}
    found["o"] = _weight(encoder, index, "out").view(c.d_model, c.heads, width).transpose(0, 1).clone()
    return found


def _rotation(cross: Tensor) -> Tensor:
    """The orthogonal matrix R that makes the trace of R^T ``cross`` greatest."""
    u, _, v = torch.linalg.svd(cross)
    rotation: Tensor = u @ v
    return rotation
