"""What a model's matrices multiply where it recognises speech: knowing it, fewer bits store them for less error."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rtstream.engine.torch_int8 import speech_model
from rtstream.evaluation.evaluate import recognize
from rtstream.nn.residual_linear import SharedLinear
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtstream.engine.open import Bundle
    from rtstream.training.corpus.data import Clip

BLOCK = 2048
"""Rows that are multiplied at a time."""


def input_grams(bundle: Bundle, clips: Iterable[Clip]) -> dict[str, Tensor]:
    """The Gram matrix (inputs, inputs), float64, of the rows that each matrix multiplies while clips are recognised.

    By the name of its weights; none of a matrix that multiplies nothing. Partials and finals count, in chunks and in
    full context, whose matrices are the same. ``bundle`` must compute in float.
    """
    recognizer = Recognizer(bundle, RecognizerConfig())
    sums: dict[str, _Gram] = {}
    with ExitStack() as hooks:
        for name, module in speech_model(bundle.engine).named_modules():
            if isinstance(module, (SharedLinear, nn.Linear)):
                sums[f"{name}.weight"] = gram = _Gram()
                hooks.callback(module.register_forward_pre_hook(gram.add).remove)
        for clip in clips:
            recognize(recognizer, clip.read())
    return {name: gram.total() for name, gram in sums.items() if gram.heard}


class _Gram:
    """The products of a module's rows with themselves, added up."""

    def __init__(self) -> None:
        self.heard = 0
        self._rows: list[Tensor] = []  # not yet in the sum: a step of the decoder has but one
        self._waiting = 0
        self._sum: Tensor | None = None

    def add(self, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Take the rows that a module is called with: a hook."""
        rows = given[0].reshape(-1, given[0].shape[-1])
        self._rows.append(rows.clone())
        self._waiting += len(rows)
        self.heard += len(rows)
        if self._waiting >= BLOCK:
            self.total()

    def total(self) -> Tensor:
        """Their sum so far, float64."""
        if self._rows:
            rows = torch.cat(self._rows)
            product = (rows.T @ rows).to(torch.float64)
            self._sum = product if self._sum is None else self._sum + product
            self._rows, self._waiting = [], 0
        assert self._sum is not None
        return self._sum
