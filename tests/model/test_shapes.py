"""The table of tensors is what torch's modules have."""

import pytest

from rtstream.model.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    StackConfig,
    TextModelConfig,
)
from rtstream.model.shapes import Kind, encoder_specs, tensor_specs
from rtstream.nn.quantized import convolutions, low_rank_names, quantized_names, skeleton

SIZES = {"d_model": 32, "heads": 4, "ffn": 64, "layers": 4}
ENCODERS = {
    "plain": EncoderConfig(**SIZES),
    "shared": EncoderConfig(**SIZES, share=2, rank=3, diagonal=True, layer_scale=True),
    "private": EncoderConfig(**SIZES, full_rank=False, rank=5),
    "full context": EncoderConfig(**SIZES, share=4, rank=3, whole=True, whole_rank=2),
    "wave": EncoderConfig(**SIZES, front_end="wave", positions="rope", rotary=4, whole=True, diagonal=True),
}
DECODER = DecoderConfig(50, **SIZES)
MODELS = {name: ModelConfig(encoder, DECODER, voice=name == "wave") for name, encoder in ENCODERS.items()}
MODELS["rotary"] = ModelConfig(ENCODERS["plain"], DecoderConfig(50, **SIZES, rotary=4, mlp="swiglu"))
STACK = StackConfig(**SIZES, share=2, rank=3)
TEXT_MODELS = {"text": TextModelConfig(STACK, DECODER)}
CONFIGS = MODELS | TEXT_MODELS


@pytest.mark.parametrize("name", CONFIGS)
def test_has_the_names_and_shapes_of_the_network(name):
    specs = tensor_specs(CONFIGS[name])
    tensors = skeleton(CONFIGS[name]).state_dict()

    assert {key: spec.shape for key, spec in specs.items()} == {key: tuple(t.shape) for key, t in tensors.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_knows_what_is_held_as_int8(name):
    specs, model = tensor_specs(CONFIGS[name]), skeleton(CONFIGS[name])

    assert {key for key, spec in specs.items() if spec.quantized} == quantized_names(model)
    assert {key for key, spec in specs.items() if spec.kind is Kind.LOW_RANK} == low_rank_names(model)
    assert {key for key, spec in specs.items() if spec.kind is Kind.CONVOLUTION} == convolutions(model)


def test_an_encoders_table_is_that_of_its_model():
    model = tensor_specs(MODELS["wave"])

    assert encoder_specs(ENCODERS["wave"]) == {key: spec for key, spec in model.items() if key.startswith("encoder.")}
