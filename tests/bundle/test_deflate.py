"""Deflated int8 numbers come back as they were or are refused; normal weights take the bits that were asked for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.bundle.deflate import deflate, inflate, step_of
from rtstream.nn.quantized import dequantize, quantize

SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=3)


def some(shape, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, shape, np.int8)


def normal(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * torch.logspace(-4, 3, rows)[:, None]


@given(SHAPES, st.integers(0, 2**30))
def test_any_numbers_of_any_shape_come_back(shape, seed):
    numbers = some(shape, seed)
    stream = deflate(numbers)
    assert (stream.dtype, stream.ndim) == (np.uint8, 1)
    assert np.array_equal(inflate(stream, numbers.size), numbers.flatten())


def test_numbers_that_lie_apart_in_memory_come_back():
    numbers = some([6, 9]).T
    assert np.array_equal(inflate(deflate(numbers), 54), numbers.flatten())


@given(SHAPES, st.data())
def test_a_truncated_stream_is_refused(shape, data):
    stream = deflate(some(shape))
    cut = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(ValueError, match=r"inflate|zlib"):
        inflate(stream[:cut], math.prod(shape))


@given(st.data(), st.integers(1, 255))
def test_a_changed_byte_never_gives_other_numbers(data, change):
    numbers = some([128])
    stream = deflate(numbers).copy()
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= change
    try:
        found = inflate(stream, 128)
    except ValueError:
        return
    assert np.array_equal(found, numbers)  # some bits mean nothing, such as the level of compression


@pytest.mark.parametrize("size", [0, 1, 19, 21, 40])
def test_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"does not inflate to {size} numbers"):
        inflate(deflate(some([4, 5])), size)


def test_a_stream_that_would_fill_the_memory_is_not_inflated():
    zeros = deflate(np.zeros(10_000_000, np.int8))
    with pytest.raises(ValueError, match="does not inflate to 4 numbers"):
        inflate(zeros, 4)


def test_what_follows_a_stream_is_refused():
    with pytest.raises(ValueError, match="does not inflate"):
        inflate(np.concatenate([deflate(some([4])), np.zeros(3, np.uint8)]), 4)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 90), st.floats(3, 8), st.integers(0, 2**30))
def test_no_weight_errs_by_more_than_half_a_step(rows, columns, bits, seed):
    weight = normal(rows, columns, seed)
    numbers, scale = quantize(weight, step_of(bits))
    step = torch.maximum(step_of(bits) * weight.square().mean(1).sqrt(), weight.abs().amax(1) / 127)
    assert ((scale >= step * 0.99999) & (scale <= step * 1.001)).all()  # those of few bits fit float16
    assert ((dequantize(numbers, scale) - weight).abs() <= scale[:, None] * 0.5001).all()


@pytest.mark.parametrize("bits", [4, 5.5, 7])
def test_weights_that_are_quantized_already_keep_their_numbers(bits):
    numbers, scale = quantize(normal(50, 512), step_of(bits))
    again, scales = quantize(dequantize(numbers, scale), step_of(bits))
    assert torch.equal(again, numbers)
    torch.testing.assert_close(scales, scale, rtol=0.02, atol=0)


@pytest.mark.parametrize("bits", [3, 4, 5.5, 6.5])
def test_normal_weights_take_the_bits_that_were_asked_for(bits):
    numbers, _ = quantize(normal(256, 512), step_of(bits))
    assert 8 * len(deflate(numbers.numpy())) / numbers.numel() == pytest.approx(bits, abs=0.1)


def test_a_weight_that_is_far_from_the_others_takes_no_precision_from_them():
    weight = normal(1, 4096)
    weight[0, 7] = 4 * weight.abs().max()
    numbers, scale = quantize(weight, step_of(4))
    error = (dequantize(numbers, scale) - weight).abs().max()
    assert error <= 0.5001 * step_of(4) * weight.square().mean().sqrt()


def test_a_channel_of_zeros_stays_zero():
    numbers, scale = quantize(torch.zeros(2, 8), step_of(5))
    assert not inflate(deflate(numbers.numpy()), 16).any()
    assert scale.isfinite().all()
