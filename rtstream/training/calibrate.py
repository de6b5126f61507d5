"""What a model's matrices multiply where it recognises speech: knowing it, fewer bits store them for less error."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rtstream.nn.residual_linear import SharedLinear
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.training.evaluate import recognize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtstream.bundle.bundle import Bundle
    from rtstream.training.data import Clip


def input_grams(bundle: Bundle, clips: Iterable[Clip]) -> dict[str, Tensor]:
    """The Gram matrix (inputs, inputs), float64, of the rows that each matrix multiplies while clips are recognised.

    By the name of its weights; none of a matrix that multiplies nothing. Partials and finals count, in chunks and in
    full context, whose matrices are the same. ``bundle`` must compute in float.
    """
    grams: dict[str, Tensor] = {}
    recognizer = Recognizer(bundle, RecognizerConfig())
    with ExitStack() as hooks:
        for name, module in bundle.model.named_modules():
            if isinstance(module, (SharedLinear, nn.Linear)):
                hooks.callback(module.register_forward_pre_hook(_Adding(grams, f"{name}.weight")).remove)
        for clip in clips:
            recognize(recognizer, clip.read())
    return grams


class _Adding:
    """A hook that adds up the products of a module's rows with themselves."""

    def __init__(self, grams: dict[str, Tensor], name: str) -> None:
        self.grams, self.name = grams, name

    def __call__(self, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = given[0].reshape(-1, given[0].shape[-1])
        product = (rows.T @ rows).to(torch.float64)
        self.grams[self.name] = self.grams[self.name] + product if self.name in self.grams else product
