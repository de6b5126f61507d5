import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from rtstream.nn.quantized import (
    Engine,
    PackedLinear,
    choose_engine,
    dequantize,
    dequantize_state,
    float_model,
    packed_buffers,
    packed_model,
    quantize,
    quantize_state,
    quantized_names,
)

ENGINE = choose_engine()
STRUCTURES = {
    "unshared": {},
    "shared": {"share": 2},
    "shared with rank and diagonal": {"share": 2, "rank": 8, "diagonal": True},
    "grown": {"share": 2, "rank": 8, "diagonal": True, "layer_scale": True},
    "two passes": {"rank": 8, "diagonal": True, "whole": True},
    "two passes of shared layers": {"share": 2, "rank": 8, "diagonal": True, "whole": True, "whole_rank": 4},
}


def make_model(**encoder) -> SpeechModel:
    torch.manual_seed(0)
    sizes = {"d_model": 64, "heads": 4, "ffn": 128, "layers": 4, "left_context": 64} | encoder
    model = SpeechModel(ModelConfig(EncoderConfig(**sizes), DecoderConfig(40, 64, 4, 128, 2)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith((".b", ".d")):
                parameter.normal_(std=0.05)
    return model.eval()


def test_quantization_errs_by_at_most_half_a_step_of_each_output_channel():
    weight = torch.randn(30, 70) * torch.logspace(-3, 2, 30)[:, None]
    whole, scale = quantize(weight)
    assert ((dequantize(whole, scale) - weight).abs() <= scale[:, None] * 0.5001).all()


def test_a_channel_of_zeros_stays_zero():
    assert not dequantize(*quantize(torch.zeros(3, 5))).any()


@pytest.mark.parametrize("name", torch.backends.quantized.supported_engines)
def test_every_engine_that_is_chosen_agrees_with_the_float_product(name):
    try:
        engine = choose_engine(name)
    except ValueError:
        pytest.skip(f"{name} does not work on this machine")
    weight, x = torch.randn(96, 64), torch.randn(7, 64)
    y = PackedLinear(*quantize(weight), None, engine)(x)
    assert (y - x @ weight.T).norm() / (x @ weight.T).norm() < 0.03


@pytest.mark.parametrize(("known", "wanted"), [({"sse4_1", "avx2"}, "x86"), ({"fp", "asimd"}, "qnnpack")])
def test_the_engine_is_chosen_by_what_the_processor_can_do(monkeypatch, known, wanted):
    monkeypatch.setattr("rtstream.nn.quantized.features", lambda: frozenset(known))
    present = torch.backends.quantized.supported_engines
    if wanted not in present:
        pytest.skip(f"torch has no {wanted} here")
    assert {choose_engine().name for _ in range(3)} == {wanted}


def test_an_unknown_engine_is_refused_by_name():
    with pytest.raises(ValueError, match="'abacus' does not work"):
        choose_engine("abacus")


@pytest.mark.parametrize("structure", STRUCTURES)
def test_int8_stays_near_the_dequantized_model_in_every_structure(structure):
    model = make_model(**STRUCTURES[structure])
    state = quantize_state(model.state_dict(), model.config)
    exact, packed = float_model(model.config, state), packed_model(model.config, state, ENGINE)
    mel, tokens = torch.randn(1, 128, 80), torch.randint(0, 40, (6,))
    with torch.inference_mode():
        want = exact.encoder(mel, chunk=16)[0]
        encoded, _ = packed.encoder.step(mel[0], packed.encoder.initial_state(), 16, last=True)
        assert (encoded.settled - want).norm() / want.norm() < 0.1
        scores, _, _ = packed.decoder.step(tokens, packed.decoder.extend(want, packed.decoder.initial_state()))
        exact_scores = exact.decoder(tokens[None], want[None])[0]
        assert (scores - exact_scores).norm() / exact_scores.norm() < 0.1


@pytest.mark.parametrize("share", [1, 2, 4])
def test_each_shared_matrix_is_packed_once_per_group_and_used_by_its_layers(share):
    model = make_model(share=share)
    packed = packed_model(model.config, quantize_state(model.state_dict(), model.config), ENGINE)
    buffers = packed_buffers(packed.encoder)
    assert len(buffers) == 4 * 4 // share
    assert (
        sum(buffers.values()) == sum(n * (m + 4) for n, m in [(192, 64), (64, 64), (128, 64), (64, 128)]) * 4 // share
    )
    for index in range(4):
        assert packed.encoder.group_of(index) is packed.encoder.group_of(index // share * share)


def test_the_private_low_rank_parts_are_packed_for_each_layer():
    model = make_model(share=2, rank=8)
    packed = packed_model(model.config, quantize_state(model.state_dict(), model.config), ENGINE)
    assert sum(name.endswith(".down") for name in packed_buffers(packed.encoder)) == 4 * 4


def test_no_float_matrix_is_left_in_an_int8_model_but_the_small_low_rank_factors():
    model = make_model(share=2, rank=8, diagonal=True)
    packed = packed_model(model.config, quantize_state(model.state_dict(), model.config), ENGINE)
    left = {name for name, p in packed.named_parameters() if p.dim() > 1}
    named = {n for n in quantized_names(model) if n.endswith(".a")}
    assert left - named == {"encoder.front.conv1.weight", "encoder.front.conv2.weight", "decoder.positions"} | {
        n for n, p in packed.named_parameters() if n.endswith(".d")
    }


def test_dequantizing_gives_every_tensor_its_name_and_shape_back():
    model = make_model(share=2, rank=8, diagonal=True)
    state = model.state_dict()
    back = dequantize_state(quantize_state(state, model.config))
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in state.items()}


def test_the_two_passes_use_the_same_packed_matrices():
    models = [make_model(rank=8, diagonal=True, whole=whole) for whole in (False, True)]
    packed = [packed_model(model.config, quantize_state(model.state_dict(), model.config), ENGINE) for model in models]
    assert packed_buffers(packed[0].encoder) == packed_buffers(packed[1].encoder)


def test_loud_rows_take_nothing_from_the_precision_of_quiet_ones():
    torch.manual_seed(0)
    weight, x = torch.randn(64, 96), torch.randn(20, 96) * 0.1
    packed = PackedLinear(*quantize(weight), None, ENGINE)
    loud = x.clone()
    loud[7] *= 5000
    quiet = [row for row in range(20) if row != 7]
    for input_rows in (x, loud):
        error = (packed(input_rows) - input_rows @ weight.T)[quiet].norm() / (input_rows @ weight.T)[quiet].norm()
        assert error < 0.03


@pytest.mark.parametrize("rows", [1, 5])
def test_rows_that_were_scaled_before_give_the_same_and_a_bias_can_come_with_the_call(rows):
    weight, x, own, other = torch.randn(64, 96), torch.randn(rows, 96), torch.randn(64), torch.randn(64)
    packed = PackedLinear(*quantize(weight), own, ENGINE)
    assert torch.equal(packed(packed.rows(x), other), packed(x, other))
    for bias, y in ((own, packed(x)), (other, packed(x, other))):
        assert (y - x @ weight.T - bias).norm() / (x @ weight.T).norm() < 0.03


@pytest.mark.parametrize("saturates", [False, True])
def test_the_largest_weights_and_activations_are_not_cut_off(saturates):
    engine = Engine(ENGINE.name, saturates=saturates or ENGINE.saturates)
    weight = torch.ones(8, 256) * torch.tensor([1.0, -1.0, 0.5, 1e-4] * 2)[:, None]
    x = torch.ones(3, 256)
    y = PackedLinear(*quantize(weight), None, engine)(x)
    assert (y - x @ weight.T).norm() / (x @ weight.T).norm() < 0.02


def test_a_model_without_storage_needs_no_compiler():
    program = """
import sys
from rtstream.model.config import DecoderConfig
from rtstream.model.config import EncoderConfig, StackConfig
from rtstream.model.config import ModelConfig
from rtstream.nn.quantized import skeleton
from rtstream.model.config import TextModelConfig

skeleton(ModelConfig(EncoderConfig(rank=8, whole=True), DecoderConfig(9)))
skeleton(TextModelConfig(StackConfig(), DecoderConfig(9)))
sys.exit(", ".join({"sympy", "torch._dynamo", "torch._inductor"} & sys.modules.keys()) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@given(st.integers(0, 2**16), st.integers(2, 300), st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=20, deadline=None)
def test_rounding_that_knows_its_rows_has_less_error_on_them(seed, inputs, step):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(8, inputs, generator=generator)
    rows = torch.randn(3 * inputs, inputs, generator=generator) @ torch.randn(inputs, inputs, generator=generator)
    plain, scale = quantize(weight, step)
    known, same = quantize(weight, step, (rows.T @ rows).double())
    assert torch.equal(scale, same)
    assert known.dtype == torch.int8
    off = [float((rows @ (dequantize(numbers, scale) - weight).T).norm()) for numbers in (plain, known)]
    assert off[1] <= 1.02 * off[0]


def test_rows_that_have_nothing_in_common_change_no_rounding():
    weight = torch.randn(8, 200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(quantize(weight, 0.3)[0], quantize(weight, 0.3, torch.eye(200, dtype=torch.float64))[0])
    assert torch.equal(quantize(weight, 0.3)[0], quantize(weight, 0.3, torch.zeros(200, 200, dtype=torch.float64))[0])
