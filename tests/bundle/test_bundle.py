import json

import pytest
import torch

from rtstream.bundle.bundle import TOKENIZER, load_bundle, save_bundle
from rtstream.bundle.files import CARD, MANIFEST, WEIGHTS
from rtstream.errors import BundleError
from rtstream.nn.decoder import DecoderConfig
from rtstream.nn.encoder import EncoderConfig
from rtstream.nn.model import ModelConfig, SpeechModel


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


@pytest.mark.parametrize("engine", ["auto", "float"])
def test_a_saved_bundle_is_read_back_with_its_sizes_and_tokens(original, tokenizer, engine):
    bundle = load_bundle(original, engine)
    assert bundle.name == "small"
    assert bundle.config == make_model(len(tokenizer)).config
    assert bundle.tokenizer == tokenizer
    assert (original / CARD).read_text() == "# card\n"


def test_float16_bundles_keep_the_weights_to_half_precision(tokenizer, tmp_path):
    model = make_model(len(tokenizer))
    save_bundle(tmp_path, "half", model, tokenizer, "", int8=False)
    loaded = load_bundle(tmp_path, "float").model.state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3, atol=1e-6)


def test_float16_bundles_also_run_in_int8(tokenizer, tmp_path):
    save_bundle(tmp_path, "half", make_model(len(tokenizer)), tokenizer, "", int8=False)
    assert load_bundle(tmp_path, "auto").engine != "float"


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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', "null"])
def test_a_foreign_manifest_is_refused(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(copy)


def test_another_version_says_both_versions(copy):
    edit_manifest(copy, lambda data: data.update(version=99))
    with pytest.raises(BundleError, match="version 99, this rtstream reads 1"):
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
