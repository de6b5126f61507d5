"""The mean of several models' weights (model soups, arXiv 2203.05482)."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.nn.model import SpeechModel


def mean_weights(models: Sequence[SpeechModel]) -> SpeechModel:
    """A model with the mean of the weights of ``models``, which are of one structure.

    A tensor that all of them have is kept to the last bit: what is rounded stays rounded.
    """
    first, *others = (model.state_dict() for model in models)
    mean = deepcopy(models[0])
    mean.load_state_dict(
        {
            # Summed up as differences, which are exactly zero where nothing differs.
            name: tensor + sum((other[name] - tensor for other in others), torch.zeros_like(tensor)) / len(models)
            for name, tensor in first.items()
        }
    )
    return mean
