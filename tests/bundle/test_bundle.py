import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rtstream.bundle import default, files
from rtstream.bundle.bundle import TOKENIZER
from rtstream.bundle.default import model_path
from rtstream.bundle.deflate import inflate, step_of
from rtstream.bundle.files import CARD, MANIFEST, WEIGHTS, read_tensors, sha256, tensor_bytes
from rtstream.engine.open import load_bundle, load_text_bundle
from rtstream.errors import BundleError
from rtstream.export.bundles import save_bundle
from rtstream.export.rounding import Rounding
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.model.shapes import SCALE
from rtstream.nn.model import SpeechModel
from rtstream.nn.quantized import dequantize, quantize, quantize_state
from rtstream.recognizer.guard import GuardConfig, guard_of
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from tests.translation.tiny_random import save_random_model


def make_model(vocabulary: int) -> SpeechModel:
    torch.manual_seed(0)
    encoder = EncoderConfig(d_model=32, heads=2, ffn=64, layers=2, share=2, rank=2, diagonal=True)
    return SpeechModel(ModelConfig(encoder, DecoderConfig(vocabulary, 32, 2, 64, 1, alignment_heads=((0, 1),))))


@pytest.fixture(scope="module")
def original(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "small"
    save_bundle(path, "small", make_model(len(tokenizer)), tokenizer, "# card\n")
    return path


@pytest.fixture
def copy(original, tmp_path):
    for file in original.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def edit_manifest(path, change):
    data = json.loads((path / MANIFEST).read_text())
    change(data)
    (path / MANIFEST).write_text(json.dumps(data))


@pytest.mark.parametrize("engine", ["auto", "torch", "float"])
def test_a_saved_bundle_is_read_back_with_its_sizes_and_tokens(original, tokenizer, engine):
    bundle = load_bundle(original, engine)
    assert bundle.name == "small"
    assert bundle.config == make_model(len(tokenizer)).config
    assert bundle.tokenizer == tokenizer
    assert (original / CARD).read_text() == "# card\n"


@pytest.mark.parametrize("bits", [4, 8])
def test_convolutions_are_kept_in_all_of_int8(tokenizer, tmp_path, bits):
    model = make_model(len(tokenizer)).requires_grad_(requires_grad=False)
    save_bundle(tmp_path, "some", model, tokenizer, "", rounding=Rounding(bits))
    for engine in ("float", "torch"):
        encoder = load_bundle(tmp_path, engine).engine.model.encoder
        for name in ("conv1", "conv2"):
            weight, kept = getattr(model.encoder.front, name).weight, getattr(encoder.front, name).weight
            assert kept.dtype == torch.float32
            steps = weight.abs().amax(dim=(1, 2), keepdim=True) / 127
            assert bool(((kept - weight).abs() <= 0.51 * steps + 1e-7).all())


def steps_of(loaded, original):
    """The coarsest step of a matrix's channels, as shares of the greatest weight of each."""
    errors = (loaded - original).abs().flatten(end_dim=-2).amax(dim=-1)
    return float((errors / original.abs().flatten(end_dim=-2).amax(dim=-1).clamp(min=1e-8)).max())


@pytest.mark.parametrize(
    ("bits", "encoder_bits", "table_bits", "private_bits"),
    [
        (4, None, None, None),
        (4, 8, None, None),
        (4, None, 8, None),
        (8, 4, None, None),
        (8, None, 4, None),
        (8, None, None, 4),
    ],
)
def test_encoder_and_table_have_bits_of_their_own_and_the_small_private_matrices_have_all_unless_told(
    tokenizer, tmp_path, *, bits, encoder_bits, table_bits, private_bits
):
    torch.manual_seed(3)
    model = make_model(len(tokenizer)).requires_grad_(requires_grad=False)
    for name, tensor in model.named_parameters():
        if name.endswith(".b"):  # which start at nothing
            tensor.normal_()
    save_bundle(tmp_path, "some", model, tokenizer, "", rounding=Rounding(bits, encoder_bits, table_bits, private_bits))
    loaded = load_bundle(tmp_path, "float").engine.model.state_dict()
    fine = 0.51 / 127
    for name, tensor in model.state_dict().items():
        if name.endswith((".a", ".b")):
            assert (steps_of(loaded[name], tensor) <= fine) is (private_bits is None)
        elif name == "decoder.embedding.weight":
            assert (steps_of(loaded[name], tensor) <= fine) is ((table_bits or bits) == 8)
        elif name.startswith("encoder.groups."):
            assert (steps_of(loaded[name], tensor) <= fine) is ((encoder_bits or bits) == 8)
        elif name == "decoder.layers.0.ff1.weight":
            assert (steps_of(loaded[name], tensor) <= fine) is (bits == 8)


@pytest.mark.parametrize(("bits", "dtype"), [(4, torch.float16), (8, torch.float32)])
def test_scales_of_few_bits_are_stored_in_half_precision_and_lose_nothing(tokenizer, tmp_path, bits, dtype):
    model = make_model(len(tokenizer)).requires_grad_(requires_grad=False)
    save_bundle(tmp_path, "some", model, tokenizer, "", rounding=Rounding(bits))
    assert load_file(tmp_path / WEIGHTS)[f"decoder.layers.0.ff1.weight{SCALE}"].dtype == dtype
    step = 0.0 if bits == 8 else step_of(bits)
    weight, scale = quantize(model.decoder.layers[0].ff1.weight, step)
    loaded = load_bundle(tmp_path, "float").engine.model.decoder.layers[0].ff1.weight
    assert torch.equal(loaded, dequantize(weight, scale))


def test_bundles_of_the_third_version_have_all_scales_in_float32(copy):
    state = load_file(copy / WEIGHTS)
    before = load_bundle(copy, "float").engine.model.state_dict()
    save_file({name: t.float() if name.endswith(SCALE) else t for name, t in state.items()}, copy / WEIGHTS)
    edit_manifest(copy, lambda data: data.update(version=3))
    edit_manifest(copy, lambda data: data["sha256"].update({WEIGHTS: sha256(copy / WEIGHTS)}))
    assert all(torch.equal(t, before[name]) for name, t in load_bundle(copy, "float").engine.model.state_dict().items())


def test_bundles_of_the_second_version_have_them_in_half_precision(copy):
    state = load_file(copy / WEIGHTS)
    before = load_bundle(copy, "float").engine.model.encoder.state_dict()
    for name in ("conv1", "conv2"):
        del state[f"encoder.front.{name}.weight{SCALE}"]
        state[f"encoder.front.{name}.weight"] = before[f"front.{name}.weight"].half()
    save_file(state, copy / WEIGHTS)
    edit_manifest(copy, lambda data: data.update(version=2))
    edit_manifest(copy, lambda data: data.pop("guard"))
    edit_manifest(copy, lambda data: data["sha256"].update({WEIGHTS: sha256(copy / WEIGHTS)}))
    after = load_bundle(copy, "float").engine.model.encoder.state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-3, atol=1e-6)


def test_thresholds_of_the_guard_are_the_bundles_or_the_usual_ones(tokenizer, tmp_path):
    for guard in ({}, {"max_no_speech": 0.9, "min_letters": 3}):
        save_bundle(tmp_path, "some", make_model(len(tokenizer)), tokenizer, "", guard=guard)
        recognizer = Recognizer(load_bundle(tmp_path, "float"), RecognizerConfig())
        assert recognizer.searches["en"].guard == GuardConfig(**guard)
        given = GuardConfig(min_alone=0.1)
        assert Recognizer(load_bundle(tmp_path, "float"), RecognizerConfig(guard=given)).searches["en"].guard == given


def test_thresholds_of_a_language_count_for_it_alone(tmp_path):
    given = {"max_no_speech": 0.9, "languages": {"de": {"max_no_speech": 0.8, "min_letters": 3}}}
    assert guard_of(given, tmp_path, "de") == GuardConfig(max_no_speech=0.8, min_letters=3)
    assert guard_of(given, tmp_path, "es") == guard_of(given, tmp_path) == GuardConfig(max_no_speech=0.9)


def test_bundle_is_for_english_where_it_does_not_say_otherwise(copy, tokenizer, tmp_path):
    edit_manifest(copy, lambda data: data.pop("languages"))
    assert load_bundle(copy, "float").languages == ("en",)
    spoken = tokenizer.with_special(["<|de|>", "<|es|>"])
    save_bundle(tmp_path, "some", make_model(len(spoken)), spoken, "", languages=["es", "de"])
    assert load_bundle(tmp_path, "float").languages == ("es", "de")


@pytest.mark.parametrize("languages", [[], "en", [3], ["xx"]])
def test_languages_that_it_cannot_have_are_one_error(copy, languages):
    edit_manifest(copy, lambda data: data.update(languages=languages))
    with pytest.raises(BundleError, match=r"languages: "):
        load_bundle(copy, "float")


BAD_BY_LANGUAGE = ({"languages": ["de"]}, {"languages": {"de": 3}}, {"languages": {"de": {"max_noise": 1}}})


@pytest.mark.parametrize(
    "guard", [{"max_noise": 1}, {"max_no_speech": "much"}, {"max_no_speech": True}, [0.9], *BAD_BY_LANGUAGE]
)
def test_thresholds_that_are_none_are_one_error(copy, guard):
    edit_manifest(copy, lambda data: data.update(guard=guard))
    with pytest.raises(BundleError, match="guard: ") as caught:
        Recognizer(load_bundle(copy, "float"), RecognizerConfig())
    assert "\n" not in str(caught.value)


def test_float16_bundles_keep_the_weights_to_half_precision(tokenizer, tmp_path):
    model = make_model(len(tokenizer))
    save_bundle(tmp_path, "half", model, tokenizer, "", rounding=Rounding(None))
    loaded = load_bundle(tmp_path, "float").engine.model.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3, atol=1e-6)


def test_float16_bundles_also_run_in_int8(tokenizer, tmp_path):
    save_bundle(tmp_path, "half", make_model(len(tokenizer)), tokenizer, "", rounding=Rounding(None))
    assert load_bundle(tmp_path, "torch").engine.name != "float"


@pytest.fixture
def first_version(copy, tokenizer):
    """A bundle as version 1 had them: plain int8."""
    model = make_model(len(tokenizer))
    state = quantize_state(model.state_dict(), model.config)
    kept = {k: t if t.dtype == torch.int8 or k.endswith(SCALE) else t.half() for k, t in state.items()}
    save_file(kept, copy / WEIGHTS)
    edit_manifest(copy, lambda data: data.update(version=1, weights="int8"))
    edit_manifest(copy, lambda data: data["sha256"].update({WEIGHTS: sha256(copy / WEIGHTS)}))
    return copy


@pytest.mark.parametrize("engine", ["auto", "torch", "float"])
def test_bundles_of_the_first_version_are_read(first_version, tokenizer, engine):
    assert load_bundle(first_version, engine).config == make_model(len(tokenizer)).config


def test_a_bundle_of_the_first_version_is_saved_in_eight_bits_without_loss(first_version, tokenizer, tmp_path):
    model = load_bundle(first_version, "float").engine.model
    save_bundle(tmp_path / "again", "again", model, tokenizer, "", rounding=Rounding(8))
    again = load_bundle(tmp_path / "again", "float").engine.model.state_dict()
    for name, tensor in model.state_dict().items():
        if not name.startswith("encoder.front.conv"):  # which were float16
            torch.testing.assert_close(again[name], tensor, rtol=1e-6, atol=1e-9)


def test_fewer_bits_make_the_file_smaller_and_the_error_larger(tokenizer, tmp_path):
    model = make_model(len(tokenizer)).requires_grad_(requires_grad=False)
    sizes, errors = [], []
    for bits in (4, 6, 8):
        save_bundle(tmp_path, "some", model, tokenizer, "", rounding=Rounding(bits))
        loaded = load_bundle(tmp_path, "float").engine.model.state_dict()
        sizes.append((tmp_path / WEIGHTS).stat().st_size)
        errors.append(float((loaded["decoder.embedding.weight"] - model.decoder.embedding.weight).norm()))
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)


def test_a_stream_that_does_not_inflate_is_named_though_its_checksum_is_right(copy):
    state = load_file(copy / WEIGHTS)
    state["ctc.hidden.weight"] = state["ctc.hidden.weight"][:-9].clone()
    save_file(state, copy / WEIGHTS)
    edit_manifest(copy, lambda data: data["sha256"].update({WEIGHTS: sha256(copy / WEIGHTS)}))
    with pytest.raises(BundleError, match=r"tensor ctc\.hidden\.weight, of shape \(256, 32\), does not inflate"):
        load_bundle(copy)


def test_reading_one_tensor_inflates_no_other(original, monkeypatch):
    inflated = []
    monkeypatch.setattr(files, "inflate", lambda stream, size: inflated.append(size) or inflate(stream, size))
    tensors = read_tensors(original / WEIGHTS, load_bundle(original, "float").config, "int8-deflate")
    inflated.clear()
    assert "decoder.embedding.weight" in tensors
    assert tensors["ctc.hidden.weight"].shape == (256, 32)
    assert inflated == [256 * 32]


def test_a_stream_is_not_taken_for_whole_where_others_are_read(copy):
    state = load_file(copy / WEIGHTS)
    config = load_bundle(copy, "float").config
    state["ctc.hidden.weight"] = state["ctc.hidden.weight"][:-9].clone()
    save_file(state, copy / WEIGHTS)
    tensors = read_tensors(copy / WEIGHTS, config, "int8-deflate")
    assert tensors["ctc.output.weight"].shape[1] == 256
    with pytest.raises(BundleError, match=r"tensor ctc\.hidden\.weight, of shape \(256, 32\), does not inflate"):
        tensors["ctc.hidden.weight"]


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
def test_a_truncated_file_is_named(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_changed_byte_of_the_weights_is_found(copy, position):
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[position] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(BundleError, match="checksum"):
        load_bundle(copy)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, TOKENIZER])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(BundleError, match="nowhere: no model bundle here"):
        load_bundle(tmp_path / "nowhere")


def test_a_name_that_no_model_has_is_answered_with_those_that_ship(tmp_path, monkeypatch):
    for name, kind in (("base", "rtstream-bundle"), ("tiny", "rtstream-bundle"), ("en-x", "rtstream-translation")):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text(json.dumps({"format": kind}))
    (tmp_path / "notes").mkdir()
    monkeypatch.setattr(default, "CHECKOUT", tmp_path)
    monkeypatch.setattr(default, "INSTALLED", tmp_path / "none")
    names = r"base, tiny, multi \(pip install rtstream-multi\)"
    with pytest.raises(BundleError, match=rf"nope: no model bundle here.*, or the name of one that ships: {names}$"):
        load_bundle(model_path(Path("nope")))


def test_a_model_that_is_a_package_of_its_own_is_answered_with_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(default, "CHECKOUT", tmp_path / "none")
    monkeypatch.setattr(default, "INSTALLED", tmp_path / "none")
    with pytest.raises(BundleError, match=r"^multi: .* not installed: pip install rtstream-multi$"):
        load_bundle(model_path(Path("multi")))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', "null"])
def test_a_foreign_manifest_is_refused(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(copy)


def test_another_version_says_both_versions(copy):
    edit_manifest(copy, lambda data: data.update(version=99))
    with pytest.raises(BundleError, match="version 99, this rtstream reads 1 to 4"):
        load_bundle(copy)


@pytest.mark.parametrize("kind", ["int8", None, [], {}])
def test_weights_that_are_held_in_another_way_are_refused(copy, kind):
    edit_manifest(copy, lambda data: data.update(weights=kind))
    with pytest.raises(BundleError, match="is uint8, not int8" if kind == "int8" else "keys missing or wrong"):
        load_bundle(copy)


def test_weights_of_other_sizes_name_the_tensor_and_both_shapes(copy):
    edit_manifest(copy, lambda data: data["model"]["encoder"].update(ffn=128))
    with pytest.raises(BundleError, match=r"tensor \S+ has shape \(64,.*not \(128,"):
        load_bundle(copy)


def test_an_unknown_size_is_refused_by_its_key(copy):
    edit_manifest(copy, lambda data: data["model"]["encoder"].update(depth=3))
    with pytest.raises(BundleError, match=r"model\.encoder\.depth: is unknown"):
        load_bundle(copy)


def test_a_tokenizer_of_another_size_is_refused(copy):
    edit_manifest(copy, lambda data: data["model"]["decoder"].update(vocabulary=7))
    with pytest.raises(BundleError, match="tokens"):
        load_bundle(copy)


def test_an_unknown_engine_is_an_error_of_one_line(copy):
    with pytest.raises(BundleError, match="'abacus' does not work on this machine"):
        load_bundle(copy, "abacus")


@pytest.mark.parametrize("engine", ["onnx", "float"])
def test_translation_model_of_before_loads_without_its_part_for_speech(tmp_path, engine):
    path = save_random_model(tmp_path / "text")
    wanted = load_text_bundle(path, engine)
    weights = load_file(path / WEIGHTS)
    save_file(weights | {"speech.norm.weight": torch.ones(16, dtype=torch.float16)}, path / WEIGHTS)

    def change(manifest):
        manifest["model"]["speech"] = {"inputs": 32, "stack": 6}
        manifest["sha256"][WEIGHTS] = sha256(path / WEIGHTS)

    edit_manifest(path, change)
    found = load_text_bundle(path, engine)
    assert tensor_bytes(path / WEIGHTS).keys() == weights.keys()
    assert found.engine.config == wanted.engine.config
    source, tokens = np.array([[5, 6, 2]]), np.array([[5]])
    one, other = (each.engine.decode_batch(tokens, each.engine.encode(source, [3]))[0] for each in (wanted, found))
    assert np.array_equal(one, other)
