"""Counting by formula agrees with the modules themselves, for any sizes."""

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.model.accounting import (
    BIAS,
    CONVOLUTIONS,
    CTC,
    DECODER,
    DIAGONAL,
    EMBEDDINGS,
    FULL_RANK,
    LOW_RANK,
    encoder_bytes_int8,
    encoder_parameters,
    group_parameters,
    model_bytes_int8,
    model_parameters,
    packed_buffers,
    part_of,
    unshared,
)
from rtstream.model.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    StackConfig,
    TextModelConfig,
)
from rtstream.nn.model import SpeechModel
from rtstream.nn.quantized import PackedEmbedding, PackedLinear, choose_engine, packed_model, quantize_state
from rtstream.nn.quantized import packed_buffers as packed_in
from rtstream.nn.text_model import TextModel

ENGINE = choose_engine()
WHISPER_BASE = EncoderConfig()
PAPER = EncoderConfig(layers=18, share=3, rank=32, diagonal=True)


@st.composite
def model_configs(draw):
    heads, share = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    d = 2 * heads * draw(st.integers(2, 4))
    ffn = draw(st.integers(1, 20))
    rank = draw(st.integers(0, min(d, ffn)))
    full_rank = draw(st.booleans()) if rank else True
    whole = full_rank and draw(st.booleans())
    encoder = EncoderConfig(
        n_mels=draw(st.integers(1, 6)),
        d_model=d,
        heads=heads,
        ffn=ffn,
        layers=share * draw(st.integers(1, 3)),
        share=share,
        rank=rank,
        full_rank=full_rank,
        whole=whole,
        whole_rank=draw(st.integers(0, min(d, ffn))) if whole else 0,
        diagonal=draw(st.booleans()),
        layer_scale=draw(st.booleans()),
        max_frames=10,
    )
    decoder = DecoderConfig(
        draw(st.integers(1, 9)), d_model=d, heads=heads, ffn=ffn, layers=draw(st.integers(1, 2)), max_tokens=5
    )
    return ModelConfig(encoder, decoder)


@st.composite
def text_configs(draw):
    speech = draw(model_configs())
    sizes = {field.name: getattr(speech.encoder, field.name) for field in fields(StackConfig)}
    return TextModelConfig(StackConfig(**sizes), speech.decoder)


def build(config):
    return (TextModel if isinstance(config, TextModelConfig) else SpeechModel)(config)


def summed(config, sizes):
    """The sum of the (name, size) pairs of each part."""
    parts = dict.fromkeys((FULL_RANK, LOW_RANK, DIAGONAL, BIAS, DECODER, EMBEDDINGS), 0)
    if isinstance(config, ModelConfig):
        parts |= {CONVOLUTIONS: 0, CTC: 0}
    for name, size in sizes:
        parts[part_of(name)] += size
    return parts


def held(model):
    """(name, bytes) of what an int8 model holds; packed matrices are named as before they were."""
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear):
            bias = 0 if module.bias is None else module.bias.nbytes
            yield name.replace(".down", ".b").replace("decoder.output", "decoder.embedding"), module.bytes + bias
        elif isinstance(module, PackedEmbedding):
            yield name, module.rows.nbytes + module.scale.nbytes
    for name, parameter in model.named_parameters():
        yield name, parameter.nbytes


@settings(max_examples=60)
@given(config=model_configs() | text_configs())
def test_parameters_are_those_of_the_modules(config):
    state = build(config).state_dict()
    assert model_parameters(config) == summed(config, ((name, tensor.numel()) for name, tensor in state.items()))
    assert encoder_parameters(config.encoder).items() <= model_parameters(config).items()


@settings(max_examples=20)
@given(config=model_configs() | text_configs())
def test_int8_bytes_are_those_that_the_int8_model_holds(config):
    model = packed_model(config, quantize_state(build(config).state_dict(), config), ENGINE)
    assert model_bytes_int8(config) == summed(config, held(model))
    assert encoder_bytes_int8(config.encoder).items() <= model_bytes_int8(config).items()


@pytest.mark.parametrize("config", [WHISPER_BASE, PAPER, replace(PAPER, full_rank=False), replace(PAPER, rank=0)])
def test_groups_add_up_to_the_encoder(config):
    group, whole = group_parameters(config), encoder_parameters(config)
    for part in (FULL_RANK, LOW_RANK, DIAGONAL):
        assert config.groups * group[part] == whole[part]
    assert config.groups * group[BIAS] + 2 * config.d_model == whole[BIAS]


def test_whisper_base_has_as_many_parameters_as_is_known():
    assert sum(encoder_parameters(WHISPER_BASE).values()) == 19_822_592 + 6 * 512  # ours has a bias for keys


def test_shared_matrices_follow_the_papers_formula():
    n, k, r, d, f = 18, 3, 32, 512, 2048
    got = encoder_parameters(PAPER)
    assert got[FULL_RANK] == n // k * (4 * d * d + 2 * d * f)
    assert got[LOW_RANK] == n * r * (4 * (d + d) + 2 * (d + f))
    assert got[DIAGONAL] == n * 6 * d
    plain = encoder_parameters(unshared(PAPER))
    assert (plain[FULL_RANK], plain[LOW_RANK], plain[DIAGONAL]) == (k * got[FULL_RANK], 0, 0)


@pytest.mark.parametrize(
    "changes", [{}, {"share": 2, "rank": 4}, {"share": 4, "diagonal": True}, {"full_rank": False, "rank": 4}]
)
def test_packed_buffers_are_those_of_the_int8_encoder(changes):
    encoder = EncoderConfig(d_model=16, heads=2, ffn=32, layers=4, max_frames=10, **changes)
    config = ModelConfig(encoder, DecoderConfig(8, d_model=16, heads=2, ffn=16, layers=1, max_tokens=5))
    model = packed_model(config, quantize_state(SpeechModel(config).state_dict(), config), ENGINE)
    buffers = packed_in(model.encoder)
    shared = [name for name in buffers if name.startswith("groups.")]
    assert packed_buffers(encoder) == {FULL_RANK: len(shared), LOW_RANK: len(buffers) - len(shared)}
