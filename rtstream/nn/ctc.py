"""The CTC head: letter posteriors for partial texts, word times, confidence and the guard of the decoder's text."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CTCHead(nn.Module):
    """Encoder states (..., d_model) to log-probabilities (..., 1 + letters); index 0 is the blank.

    A hidden layer separates what CTC needs from what the decoder needs of the same states.
    """

    def __init__(self, d_model: int, symbols: int, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = nn.Linear(d_model, hidden)
        self.output = nn.Linear(hidden, symbols)

    def forward(self, states: Tensor) -> Tensor:
        """Log-probabilities of blank and symbols for each frame."""
        return F.log_softmax(self.output(F.gelu(self.hidden(states))).float(), dim=-1)
