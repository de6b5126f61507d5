"""Learning with matrices of few bits: they are seen rounded, and learn as if they were not.

A bundle of few bits a weight gives each channel its step and so a lattice of the numbers that its weights may be. The
run holds float weights behind them: a step computes with the nearest numbers of the lattice, and what it learns goes to
the float weights (straight-through estimation, arXiv 1308.3432), which change a number when they have come half of a
step. What is exported is what was computed with: nothing is lost to rounding at the end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from rtstream.errors import TrainingError
from rtstream.model.shapes import SCALE
from rtstream.nn.quantized import dequantize, nearest, rounded_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from rtstream.nn.model import SpeechModel
    from rtstream.nn.quantized import State

INSIDE = 0.49
"""Of a step: how far from its number a weight begins at most."""


class Lattice:
    """The numbers that a rounded bundle's matrices may be. ``rounded``: its tensors, int8 with their scales."""

    def __init__(self, rounded: State) -> None:
        self._numbers = {name: tensor for name, tensor in rounded.items() if tensor.dtype == torch.int8}
        self._scales = {name: rounded[name + SCALE] for name in self._numbers}

    def _parameters(self, model: SpeechModel) -> dict[str, tuple[Tensor, Tensor]]:
        """Of each matrix that is rounded the weights, and the steps of its channels, (outputs,)."""
        weights = dict(model.named_parameters())
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for name in rounded_names(model):
            if name not in self._numbers or self._numbers[name].shape != weights[name].shape:
                msg = f"--lattice: its {name} is not one of the model's: name a bundle that was made of this start"
                raise TrainingError(msg)
            found[name] = weights[name], self._scales[name].to(weights[name].device)
        return found

    @torch.no_grad()
    def begin(self, model: SpeechModel) -> None:
        """Bring a model's matrices to where the bundle's numbers are the nearest; those that do not learn, onto them.

        Raises TrainingError where the bundle is of another structure.
        """
        for name, (weight, step) in self._parameters(model).items():
            own = dequantize(self._numbers[name].to(weight.device), step)
            room = step[:, None] * (INSIDE if weight.requires_grad else 0.0)
            weight.copy_(own + (weight - own).clamp(-room, room))

    @contextmanager
    def seen(self, model: SpeechModel) -> Iterator[None]:
        """Within, the model's matrices are the nearest of the lattice; gradients are those of the weights behind."""
        behind: list[tuple[Tensor, Tensor]] = []
        try:
            for weight, step in self._parameters(model).values():
                behind.append((weight, weight.data))
                weight.data = dequantize(nearest(weight.data, step), step)
            yield
        finally:
            for weight, data in behind:
                weight.data = data
