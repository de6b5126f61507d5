"""ResidualLinear, the building block of the ResidualTransformer (arXiv 2310.02489, section 3).

The weight of matrix position m in layer l is ``U_g + A_l B_l + diag(d_l)``: a full-rank matrix shared by the K
adjacent layers of group g, and a private low-rank matrix and diagonal. The shared part is a module of its own that
the encoder owns once per group and hands to each layer's call, so that it is stored, packed and counted once.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PackedMatrix(Protocol):
    """What this module knows of an int8 matrix."""

    def rows(self, x: Tensor) -> Any:  # noqa: ANN401 - of its own
        """What it and other packed matrices can be called with in the place of ``x``."""
        ...

    def __call__(self, x: Any) -> Tensor:  # noqa: ANN401 - as above
        """(..., inputs) to (..., outputs)."""
        ...


class SharedLinear(nn.Module):
    """The full-rank matrix ``U`` of one group and matrix position; weight of shape (outputs, inputs), no bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(..., inputs) to (..., outputs); ``bias`` (outputs,) is that of the layer that calls."""
        return F.linear(x, self.weight, bias)


class ResidualLinear(nn.Module):
    """The private part of one layer's matrix: ``y = U x + A (B x) + d * x + b``.

    ``parts`` matrices that read the same input (q, k, v) are fused: B is (parts * rank, inputs), A (parts, outputs,
    rank), d (parts, min(inputs, outputs)) on each part's leading square, and the output is their concatenation. Rank 0
    and ``diagonal=False`` switch those parts off; the shared part is off where the caller passes None. Where two passes
    share what tells a layer from its neighbours, the one's private part lies ``under`` the other's.
    """

    def __init__(self, inputs: int, outputs: int, *, parts: int = 1, rank: int = 0, diagonal: bool = False) -> None:
        super().__init__()
        self.inputs, self.outputs, self.parts, self.rank = inputs, outputs, parts, rank
        self.bias = nn.Parameter(torch.zeros(parts * outputs))
        self.a = nn.Parameter(torch.empty(parts, outputs, rank)) if rank else None
        self.b = nn.Parameter(torch.zeros(parts * rank, inputs)) if rank else None
        self.down: PackedMatrix | None = None  # B packed, in int8 inference; then b is None
        self.d = nn.Parameter(torch.zeros(parts, min(inputs, outputs))) if diagonal else None
        # Training only: what sharing leaves out, faded to nothing while the rest learns to do without it.
        self.fading: Tensor | None = None
        self.fade = 0.0
        if self.a is not None:
            nn.init.normal_(self.a, std=rank**-0.5)

    def private(self) -> Tensor:
        """The private part as a matrix, (parts * outputs, inputs)."""
        weight = self.bias.new_zeros(self.parts, self.outputs, self.inputs)
        if self.a is not None and self.b is not None:
            weight = torch.bmm(self.a, self.b.view(self.parts, self.rank, self.inputs))
        if self.d is not None:
            width = self.d.shape[1]
            weight = weight + F.pad(torch.diag_embed(self.d), (0, self.inputs - width, 0, self.outputs - width))
        return weight.reshape(self.parts * self.outputs, self.inputs)

    def weight(self, shared: SharedLinear | None, under: ResidualLinear | None = None) -> Tensor:
        """The whole matrix, (parts * outputs, inputs): quicker where a step has many frames, that is in training."""
        weight = self.private()
        for part in (None if shared is None else shared.weight, None if under is None else under.private()):
            weight = weight if part is None else weight + part
        if self.fading is not None and self.fade > 0.0:
            weight = weight + self.fade * self.fading
        return weight

    def _beside(self, x: Tensor) -> Tensor | float:
        """What the private part adds to (..., inputs), in training."""
        y: Tensor | float = 0.0
        if self.a is not None and self.b is not None:
            low = F.linear(x, self.b).unflatten(-1, (self.parts, self.rank))
            y = torch.cat([F.linear(part, a) for part, a in zip(low.unbind(-2), self.a, strict=True)], dim=-1)
        if self.d is not None:
            width = self.d.shape[1]
            y = y + torch.cat([F.pad(x[..., :width] * d, (0, self.outputs - width)) for d in self.d], dim=-1)
        return y

    def _add(self, y: Tensor, x: Tensor, given: Any) -> None:  # noqa: ANN401 - what packed matrices are called with
        """Add the private part of (..., inputs) to (..., parts * outputs) in place."""
        rows, parts = x.reshape(-1, 1, self.inputs), y.view(-1, self.parts, self.outputs)
        if self.a is not None:
            low: Tensor = F.linear(x, self.b) if self.down is None else self.down(given)  # type: ignore[arg-type]
            low = low.view(-1, self.parts, self.rank).transpose(0, 1)
            parts.transpose(0, 1).baddbmm_(low, self.a.transpose(1, 2))
        if self.d is not None:
            width = self.d.shape[1]
            parts[..., :width].addcmul_(rows[..., :width], self.d)

    def forward(self, x: Tensor, shared: SharedLinear | None, under: ResidualLinear | None = None) -> Tensor:
        """(..., inputs) to (..., parts * outputs). Never builds the matrix but in training.

        ``under``: another private part, but for its bias, that this one adds to.
        """
        both = [self] if under is None else [self, under]
        if self.training:
            # A shared matrix that does not learn needs no gradient: beside parts that do the whole is not built either.
            learns = self.bias.requires_grad
            if shared is not None and learns and not shared.weight.requires_grad and self.fading is None:
                y: Tensor = shared(x, self.bias)
                for part in both:
                    y = y + part._beside(x)  # noqa: SLF001 - of this class
                return y
            return F.linear(x, self.weight(shared, under), self.bias)
        down = next((part.down for part in both if part.down is not None), None)
        given = x if down is None else down.rows(x)
        y = self.bias.repeat(*x.shape[:-1], 1) if shared is None else shared(given, self.bias)
        for part in both:
            part._add(y, x, given)  # noqa: SLF001 - as above
        return y
