"""Who speaks: the model's language, another one, or nobody. For models whose decoder cannot say it.

Whisper's decoder says so in the place of the first token (arXiv 2212.04356, section 2.3); Moonshine's does not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VoiceHead(nn.Module):
    """Encoder states (..., frames, d_model) to (..., frames, 4): how much a frame counts, and its three judgements."""

    def __init__(self, d_model: int, hidden: int = 128) -> None:
        super().__init__()
        self.hidden = nn.Linear(d_model, hidden)
        self.output = nn.Linear(hidden, 4)

    def forward(self, states: Tensor) -> Tensor:
        """What each frame says; :func:`pooled` makes one judgement of it."""
        said: Tensor = self.output(F.gelu(self.hidden(states)))
        return said


def pooled(said: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scores (..., 3) of the judgements over all frames of (..., frames, 4), or those where ``mask`` is true."""
    weights = said[..., 0].float()
    if mask is not None:
        weights = weights.masked_fill(~mask, -torch.inf)
    return torch.einsum("...n,...nk->...k", weights.softmax(dim=-1), said[..., 1:].float())
