"""The CTC head gives probabilities."""

import torch
from torch.testing import assert_close

from rtstream.nn.ctc import CTCHead


def test_every_frame_has_log_probabilities_that_sum_to_one():
    log_probs = CTCHead(8, 29)(torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)))
    assert log_probs.shape == (2, 5, 29)
    assert_close(log_probs.exp().sum(dim=-1), torch.ones(2, 5))
