"""ResidualLinear, the building block of the ResidualTransformer (arXiv 2310.02489, section 3).

The weight of matrix position m in layer l is ``U_g + A_l B_l + diag(d_l)``: a full-rank matrix shared by the K
adjacent layers of group g, and a private low-rank matrix and diagonal. The shared part is a module of its own that
the encoder owns once per group and hands to each layer's call, so that it is stored, packed and counted once.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SharedLinear(nn.Module):
    """The full-rank matrix ``U`` of one group and matrix position; weight of shape (outputs, inputs), no bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return F.linear(x, self.weight)


class ResidualLinear(nn.Module):
    """The private part of one layer's matrix: ``y = U x + A (B x) + d * x + b``.

    ``parts`` matrices that read the same input (q, k, v) are fused: B is (parts * rank, inputs), A (parts, outputs,
    rank), d (parts, min(inputs, outputs)) on each part's leading square, and the output is their concatenation. Rank 0
    and ``diagonal=False`` switch those parts off; the shared part is off where the caller passes None.
    """

    def __init__(self, inputs: int, outputs: int, *, parts: int = 1, rank: int = 0, diagonal: bool = False) -> None:
        super().__init__()
        self.inputs, self.outputs, self.parts, self.rank = inputs, outputs, parts, rank
        self.bias = nn.Parameter(torch.zeros(parts * outputs))
        self.a = nn.Parameter(torch.randn(parts, outputs, rank) / math.sqrt(max(rank, 1))) if rank else None
        self.b = nn.Parameter(torch.zeros(parts * rank, inputs)) if rank else None
        self.down: nn.Module | None = None  # B packed, in int8 inference; then b is None
        self.d = nn.Parameter(torch.zeros(parts, min(inputs, outputs))) if diagonal else None
        # Training only: what sharing leaves out, faded to nothing while the rest learns to do without it.
        self.fading: Tensor | None = None
        self.fade = 0.0

    def weight(self, shared: SharedLinear | None) -> Tensor:
        """The whole matrix, (parts * outputs, inputs): quicker where a step has many frames, that is in training."""
        weight = self.bias.new_zeros(self.parts * self.outputs, self.inputs) if shared is None else shared.weight
        if self.a is not None and self.b is not None:
            low = torch.bmm(self.a, self.b.view(self.parts, self.rank, self.inputs))
            weight = weight + low.reshape(self.parts * self.outputs, self.inputs)
        if self.d is not None:
            width = self.d.shape[1]
            square = F.pad(torch.diag_embed(self.d), (0, self.inputs - width, 0, self.outputs - width))
            weight = weight + square.reshape(self.parts * self.outputs, self.inputs)
        if self.fading is not None and self.fade > 0.0:
            weight = weight + self.fade * self.fading
        return weight

    def residual(self, x: Tensor) -> Tensor | None:
        """The low-rank and diagonal terms, (..., parts * outputs), or None when both are off. Never builds a matrix."""
        y: Tensor | None = None
        if self.a is not None:
            low: Tensor = F.linear(x, self.b) if self.down is None else self.down(x)  # type: ignore[arg-type]
            y = torch.einsum("...pr,por->...po", low.unflatten(-1, (self.parts, self.rank)), self.a)
        if self.d is not None:
            width = self.d.shape[1]
            scaled = x[..., None, :width] * self.d
            if width < self.outputs:
                scaled = F.pad(scaled, (0, self.outputs - width))
            y = scaled if y is None else y + scaled
        return None if y is None else y.flatten(-2)

    def forward(self, x: Tensor, shared: SharedLinear | None) -> Tensor:
        """(..., inputs) to (..., parts * outputs)."""
        if self.training:
            return F.linear(x, self.weight(shared), self.bias)
        y = self.bias if shared is None else shared(x) + self.bias
        residual = self.residual(x)
        return y.expand(*x.shape[:-1], -1) if residual is None else y + residual
