"""A start in the metric of the inputs, and an aligned one, lose less than the matrices' mean does."""

import pytest
import torch

from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from rtstream.research.starts import HEAD, Start, layers_of_unshared, row, shared_by

SIZES = EncoderConfig(
    d_model=16, heads=2, ffn=24, layers=4, front_end="wave", positions="rope", rotary=4, n_mels=1, max_frames=60
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SpeechModel(ModelConfig(SIZES, DecoderConfig(9, 16, 2, 24, 1))).eval()


@pytest.fixture(scope="module")
def recordings():
    return list(0.1 * torch.randn(6, 9000, generator=torch.Generator().manual_seed(1)))


def test_each_way_misses_less_than_the_one_before(model, recordings):
    missed = [sum(shared_by(model, 2, 2, method, recordings)[1].values()) for method in ("mean", "metric", "aligned")]
    assert missed[0] > missed[1] > missed[2] > 0


def test_model_itself_stays_as_it_was(model, recordings):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shared_by(model, 2, 2, "aligned", recordings)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_parameters_are_counted_beside_the_unshared_layers(model):
    assert layers_of_unshared(model, 1, 0) == 1.0
    assert 0.5 < layers_of_unshared(model, 2, 0) < layers_of_unshared(model, 2, 2) < 1.0


def test_rows_have_the_tables_columns():
    line = row(Start(2, 32, "mean", 0.6, {"qkv": 0.1, "out": 0.2, "ff1": 0.3, "ff2": 0.4}, 0.5, 12.34))
    assert line == "| 2 | 32 | mean | 60 % | 0.100 | 0.200 | 0.300 | 0.400 | 0.50 | 12.3 |"
    assert line.count("|") == HEAD.splitlines()[0].count("|") == HEAD.splitlines()[1].count("|")
