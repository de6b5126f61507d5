"""Features for training: a batch at once, and none of them in a model's weights."""

import torch
from torch.testing import assert_close

from rtstream.nn.features import LogMel


def noise(seed):
    return 0.1 * torch.randn(1000, generator=torch.Generator().manual_seed(seed))


def test_a_batch_gives_what_each_recording_gives():
    features = LogMel()
    batch = torch.stack([noise(seed) for seed in range(3)])
    assert_close(features(batch), torch.stack([features(audio) for audio in batch]), rtol=0, atol=2e-5)


def test_weights_of_a_model_hold_no_features():
    assert not LogMel().state_dict()
