"""Bringing the layers that are to share a matrix as near to each other as can be had for nothing.

A Transformer layer computes the same function when the neurons of its feed-forward are put in another order, when its
heads are, and when a head's queries and keys, or values and output, are rotated together. Layers trained apart differ
by such changes too; undone, less is left for the private parts to hold. The idea is Git Re-Basin's (arXiv 2209.04836),
there between models. Where positions turn queries and keys (RoPE) only what commutes with that is left: each pair of
channels is rotated by an angle of its own, the channels that are not turned as before.

How near two matrices are is how near what they give is, on what the layers are given: with the moments of the inputs
rows are compared in their metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from rtstream.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from rtstream.nn.encoder import Encoder
    from rtstream.training.speech.surgery import Moments


@torch.no_grad()
def align_layers(
    encoder: Encoder,
    share: int,
    moments: Mapping[tuple[int, str], Moments] | None = None,
    *,
    also: Sequence[Encoder] = (),
) -> None:
    """Align, in place, each layer of every ``share`` adjacent ones to the first. The encoder must be unshared.

    The function that it computes stays the same to float noise. ``moments`` of what each matrix multiplies, by layer
    and position; none: all inputs count alike. Those of later layers' feed-forward hold no longer afterwards. ``also``:
    unshared encoders of the same sizes that are changed in the same way, so that what tells them apart stays small.
    """
    for first in range(0, encoder.config.layers, share):
        for other in range(first + 1, first + share):
            order = _feed_forward_order(encoder, first, other, moments)
            heads = _head_turns(encoder, first, other, moments)
            for each in (encoder, *also):
                _reorder_feed_forward(each, other, order)
                _turn_heads(each, other, heads)


def _root(moments: Mapping[tuple[int, str], Moments] | None, first: int, other: int, name: str) -> Tensor | float:
    """What both layers' rows are multiplied by, to be compared as what they give is: a root of the covariance."""
    if moments is None:
        return 1.0
    both = (moments[first, name].covariance + moments[other, name].covariance) / 2
    root: Tensor = torch.linalg.cholesky(both).float()
    return root


def _times(weight: Tensor, root: Tensor | float) -> Tensor:
    return weight * root if isinstance(root, float) else weight @ root.to(weight.dtype)


def _feed_forward_order(
    encoder: Encoder, first: int, other: int, moments: Mapping[tuple[int, str], Moments] | None
) -> Tensor:
    """Which neuron of the other layer comes into each place."""
    root = _root(moments, first, other, "ff1")
    rows = [_times(_weight(encoder, index, "ff1"), root) for index in (first, other)]
    columns = [_weight(encoder, index, "ff2").T for index in (first, other)]
    if moments is not None:  # by how much a neuron matters; and of both matrices only the direction
        sizes = [moments[index, "ff2"].covariance.diagonal().sqrt() for index in (first, other)]
        columns = [each * size[:, None].to(each.dtype) for each, size in zip(columns, sizes, strict=True)]
        rows, columns = ([F.normalize(each, dim=1) for each in pair] for pair in (rows, columns))
    gain = rows[0] @ rows[1].T + columns[0] @ columns[1].T
    return torch.from_numpy(linear_sum_assignment(gain.numpy(), maximize=True)[1])


def _reorder_feed_forward(encoder: Encoder, other: int, order: Tensor) -> None:
    up, down = _weight(encoder, other, "ff1"), _weight(encoder, other, "ff2")
    bias = encoder.layers[other].ff1.bias
    up.copy_(up[order])
    bias.copy_(bias[order])
    down.copy_(down[:, order])


def _head_turns(
    encoder: Encoder, first: int, other: int, moments: Mapping[tuple[int, str], Moments] | None
) -> list[tuple[int, Tensor, Tensor]]:
    """For each place the other layer's head that comes there, what turns its queries and keys, and what its values."""
    one, two = _heads(encoder, first), _heads(encoder, other)
    root = _root(moments, first, other, "qkv")
    seen_one, seen_two = ({part: _times(of[part], root) for part in "qkv"} for of in (one, two))
    # cross[a][b]: what rotating head b of the other layer onto head a of the first can gain, by an SVD (Procrustes).
    cross_qk = torch.einsum("axi,byi->abxy", seen_one["q"], seen_two["q"]) + torch.einsum(
        "axi,byi->abxy", seen_one["k"], seen_two["k"]
    )
    cross_vo = torch.einsum("axi,byi->abxy", seen_one["v"], seen_two["v"]) + torch.einsum(
        "aix,biy->abxy", one["o"], two["o"]
    )
    rotary = encoder.config.rotary
    gain = _turn_gain(cross_qk, rotary) + torch.linalg.matrix_norm(cross_vo, "nuc")
    order = linear_sum_assignment(gain.numpy(), maximize=True)[1]
    return [(int(b), _turn(cross_qk[a, b], rotary), _rotation(cross_vo[a, b])) for a, b in enumerate(order)]


def _turn_heads(encoder: Encoder, other: int, heads: Sequence[tuple[int, Tensor, Tensor]]) -> None:
    two = _heads(encoder, other)
    rotated: dict[str, list[Tensor]] = {name: [] for name in ("q", "k", "v", "o", "q_bias", "k_bias", "v_bias")}
    for b, turn_qk, turn_vo in heads:
        for part, turn in (("q", turn_qk), ("k", turn_qk), ("v", turn_vo)):
            rotated[part].append(turn @ two[part][b])
            rotated[f"{part}_bias"].append(turn @ two[f"{part}_bias"][b])
        rotated["o"].append(two["o"][b] @ turn_vo.T)
    bias, out = encoder.layers[other].qkv.bias, _weight(encoder, other, "out")
    _weight(encoder, other, "qkv").copy_(torch.cat([torch.cat(rotated[part]) for part in "qkv"]))
    bias.copy_(torch.cat([torch.cat(rotated[f"{part}_bias"]) for part in "qkv"]))
    out.copy_(torch.stack(rotated["o"], dim=1).reshape(out.shape))


def _pairs(cross: Tensor, rotary: int) -> tuple[Tensor, Tensor]:
    """Of (..., d_head, d_head): what turning a pair of channels by an angle gains times its cosine, and its sine."""
    half = rotary // 2
    a, b = torch.arange(half), torch.arange(half) + half
    return cross[..., a, a] + cross[..., b, b], cross[..., b, a] - cross[..., a, b]


def _turn_gain(cross: Tensor, rotary: int) -> Tensor:
    """The most that :func:`_turn` can gain, of (..., d_head, d_head)."""
    gained: Tensor = torch.hypot(*_pairs(cross, rotary)).sum(dim=-1)
    if rotary < cross.shape[-1]:
        gained = gained + torch.linalg.matrix_norm(cross[..., rotary:, rotary:], "nuc")
    return gained


def _turn(cross: Tensor, rotary: int) -> Tensor:
    """The rotation (d_head, d_head) that gains most of those that commute with the turns of positions."""
    half = rotary // 2
    along, across = _pairs(cross, rotary)
    angle = torch.atan2(across, along)
    turn = torch.zeros_like(cross)
    a, b = torch.arange(half), torch.arange(half) + half
    turn[a, a] = turn[b, b] = angle.cos()
    turn[b, a], turn[a, b] = angle.sin(), -angle.sin()
    turn[rotary:, rotary:] = _rotation(cross[rotary:, rotary:])
    return turn


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
