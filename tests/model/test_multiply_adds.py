"""What a call takes is what its matrices and its attention have, whatever computes it."""

from dataclasses import replace
from pathlib import Path

import pytest

from rtstream.bundle.bundle import read_manifest
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.model.multiply_adds import MultiplyAdds

BASE = Path(__file__).parents[2] / "models" / "base"
ENCODER = EncoderConfig(d_model=32, heads=2, ffn=64, layers=4, share=2, rank=2, diagonal=True, whole=True)
CONFIG = ModelConfig(ENCODER, DecoderConfig(100, 32, 2, 64, 3))


def test_a_layer_takes_its_shared_matrices_and_what_is_private_to_the_pass():
    cost = MultiplyAdds(CONFIG)
    matrices = 4 * 32 * 32 + 2 * 32 * 64
    private = (3 * 2 * 32 + 3 * 32 * 2) + (2 * 32 + 32 * 2) + 2 * (2 * 32 + 64 * 2) + 3 * 32 + 32 + 32 + 32
    attention = 2 * 32 * (10 + 5)
    assert cost.chunk(10, 5) == 10 * 4 * (matrices + private + attention)
    assert cost.full(10) == 10 * 4 * (matrices + 2 * 32 * 10)


def test_full_context_of_its_own_rank_is_under_the_chunks_too():
    more = MultiplyAdds(replace(CONFIG, encoder=replace(ENCODER, whole_rank=3)))
    plain = MultiplyAdds(CONFIG)
    assert more.chunk(1, 0) - plain.chunk(1, 0) == more.full(1) - plain.full(1) > 0


def test_a_token_takes_the_decoder_and_a_scored_one_the_table_besides():
    cost = MultiplyAdds(CONFIG)
    layer = (3 + 1 + 1 + 1) * 32 * 32 + 2 * 32 * 64  # qkv, out, the query and what is made of the answer, two more
    assert cost.decode(1, 0, 0, 0) == 3 * (layer + 2 * 32)
    assert cost.decode(5, 7, 11, 2) == 3 * 5 * (layer + 2 * 32 * (5 + 7 + 11)) + 2 * 100 * 32
    assert cost.decode(5, 7, 11, 2, rows=4) == 4 * cost.decode(5, 7, 11, 2)
    assert cost.cross_keys(6) == 6 * 3 * 2 * 32 * 32


def test_the_shipped_models_second_of_speech_is_what_its_shapes_say():
    config = read_manifest(BASE).config
    cost, d = MultiplyAdds(config), 416
    assert cost.front(1) == 6 * 127 * d + 2 * 7 * d * 2 * d + 6 * d * d
    assert cost.full(1) == pytest.approx(8 * (4 * d * d + 2 * d * 1664), rel=0.01)
    assert cost.decode(1, 0, 0, 1) == pytest.approx(8 * (6 * d * d + 3 * d * 1664) + 21_155 * d, rel=0.01)
