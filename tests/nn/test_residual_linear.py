"""ResidualLinear is ``U + A B + diag(d)``, whichever of the three are on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.nn.residual_linear import ResidualLinear, SharedLinear
from tests.nn.tiny_models import noise, randomize

SIZES = st.integers(1, 9)


def by_definition(linear, shared):
    """The matrix, part by part and entry by entry."""
    rows = []
    for part in range(linear.parts):
        matrix = noise(linear.outputs, linear.inputs) * 0
        if shared is not None:
            matrix += shared.weight[part * linear.outputs : (part + 1) * linear.outputs]
        if linear.rank:
            matrix += linear.a[part] @ linear.b[part * linear.rank : (part + 1) * linear.rank]
        if linear.d is not None:
            for i in range(min(linear.inputs, linear.outputs)):
                matrix[i, i] += linear.d[part, i]
        rows.append(matrix)
    return torch.cat(rows)


@given(
    inputs=SIZES,
    outputs=SIZES,
    parts=st.sampled_from([1, 3]),
    rank=st.integers(0, 3),
    diagonal=st.booleans(),
    full_rank=st.booleans(),
    training=st.booleans(),
)
def test_output_is_that_of_the_matrix_of_the_definition(*, inputs, outputs, parts, rank, diagonal, full_rank, training):
    linear = randomize(ResidualLinear(inputs, outputs, parts=parts, rank=rank, diagonal=diagonal)).train(training)
    shared = randomize(SharedLinear(inputs, parts * outputs), seed=1) if full_rank else None
    x = noise(2, 5, inputs)
    with torch.no_grad():
        matrix = by_definition(linear, shared)
        assert_close(linear.weight(shared), matrix)
        assert_close(linear(x, shared), x @ matrix.T + linear.bias)


def test_parts_that_are_off_have_no_parameters():
    names = {name for name, _ in ResidualLinear(4, 4).named_parameters()}
    assert names == {"bias"}
    assert {name for name, _ in ResidualLinear(4, 4, rank=2).named_parameters()} == {"bias", "a", "b"}
    assert {name for name, _ in ResidualLinear(4, 4, diagonal=True).named_parameters()} == {"bias", "d"}


def test_private_part_starts_as_nothing_but_can_learn():
    linear, shared = ResidualLinear(6, 6, rank=2, diagonal=True), SharedLinear(6, 6)
    x = torch.randn(3, 6)
    assert_close(linear.eval()(x, shared), shared(x))
    linear.train()(x, shared).square().sum().backward()
    assert bool(linear.b.grad.any())
    assert bool(linear.d.grad.any())


@pytest.mark.parametrize("fade", [0.0, 0.25, 1.0])
def test_what_sharing_leaves_out_fades_in_training_only(fade):
    linear, shared = randomize(ResidualLinear(6, 5, rank=2)), randomize(SharedLinear(6, 5), seed=1)
    x = noise(3, 6)
    with torch.no_grad():
        without = linear(x, shared)
        linear.fading, linear.fade = noise(5, 6, seed=2), fade
        assert_close(linear(x, shared), without)
        assert_close(linear.train()(x, shared), without + fade * x @ linear.fading.T)


def test_inference_never_builds_the_whole_matrix(monkeypatch):
    linear, shared = randomize(ResidualLinear(6, 5, rank=2, diagonal=True)), randomize(SharedLinear(6, 5))
    monkeypatch.setattr(ResidualLinear, "weight", lambda *_: pytest.fail("the whole matrix was built"))
    linear(noise(3, 6), shared)
