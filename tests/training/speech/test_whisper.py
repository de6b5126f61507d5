"""Whisper checkpoints: both formats give the same teacher, broken ones an error that says what is wrong."""

import json
import shutil

import pytest
import torch
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.training.speech.whisper import load_whisper
from tests.training.tiny_whisper import (
    HEADS,
    LAYERS,
    full_tokenizer,
    make_weights,
    write_ctranslate2,
    write_hugging_face,
)


@pytest.fixture
def hugging_face(tmp_path):
    write_hugging_face(tmp_path / "hf", make_weights())
    return tmp_path / "hf"


@pytest.fixture
def ctranslate2(tmp_path):
    write_ctranslate2(tmp_path / "ct2", make_weights())
    return tmp_path / "ct2"


def without_key_biases(weights):
    """CTranslate2 fuses q, k, v and so has a bias for keys, which is zero."""
    assert not any(w.any() for name, w in weights.items() if name.endswith("k_proj.bias"))
    return {name: w for name, w in weights.items() if not name.endswith("k_proj.bias")}


def test_both_formats_give_the_same_weights(hugging_face, ctranslate2):
    expected = make_weights()
    for directory in (hugging_face, ctranslate2):
        got = without_key_biases(load_whisper(directory).weights)
        assert got.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(got[name], tensor), name


def test_int8_weights_are_scaled_back(tmp_path):
    held = write_ctranslate2(tmp_path, make_weights(), int8=True)
    got = without_key_biases(load_whisper(tmp_path).weights)
    assert_close(got, held)


def test_model_for_english_alone_knows_no_language_and_no_task(hugging_face):
    path = hugging_face / "tokenizer.json"
    data = json.loads(path.read_text())
    first = min(token["id"] for token in data["added_tokens"])
    for token in data["added_tokens"]:
        token["id"] += 50_256 - first
        token["content"] = token["content"].replace("nospeech", "nocaptions")
    assert data["added_tokens"][0]["content"] == "<|endoftext|>"
    path.write_text(json.dumps(data))
    tokenizer = load_whisper(hugging_face).tokenizer
    assert tokenizer.languages == {}
    assert [tokenizer.pieces[token] for token in tokenizer.prompt()] == ["<|startoftranscript|>", "<|notimestamps|>"]
    assert tokenizer.no_speech == next(t["id"] for t in data["added_tokens"] if t["content"] == "<|nocaptions|>")
    assert tokenizer.decode([*tokenizer.prompt(), *tokenizer.encode(" the end")]) == " the end"
    with pytest.raises(KeyError):
        tokenizer.prompt("de")


@pytest.mark.parametrize("name", ["hugging_face", "ctranslate2"])
def test_sizes_tokenizer_and_alignment_heads_come_with_the_weights(name, request):
    teacher = load_whisper(request.getfixturevalue(name))
    assert (teacher.d_model, teacher.heads) == (64, 1)
    assert (teacher.layers("encoder"), teacher.layers("decoder")) == (LAYERS, LAYERS)
    assert teacher.tokenizer == full_tokenizer()
    assert teacher.alignment_heads == HEADS


def test_half_precision_becomes_single(tmp_path):
    write_hugging_face(tmp_path, {name: tensor.half() for name, tensor in make_weights().items()})
    assert {tensor.dtype for tensor in load_whisper(tmp_path).weights.values()} == {torch.float32}


def test_checkpoint_without_alignment_heads_has_none(hugging_face):
    (hugging_face / "generation_config.json").unlink()
    assert load_whisper(hugging_face).alignment_heads == ()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "model.safetensors").unlink(), r"hf: no Whisper checkpoint: it needs model\.safetensors or"),
        (shutil.rmtree, "no Whisper checkpoint"),
        (lambda d: (d / "tokenizer.json").unlink(), r"cannot be read \(FileNotFoundError\): .*tokenizer\.json"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "cannot be read"),
        (lambda d: (d / "tokenizer.json").write_text("[]"), "cannot be read"),
        (lambda d: (d / "config.json").write_text('{"alignment_heads": 3}'), "cannot be read"),
        (lambda d: (d / "model.safetensors").write_bytes(b"garbage, not a header"), "cannot be read"),
    ],
)
def test_broken_hugging_face_checkpoint_is_one_error(hugging_face, spoil, message):
    spoil(hugging_face)
    with pytest.raises(TrainingError, match=message) as caught:
        load_whisper(hugging_face)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-1000], "cannot be read"),
        (lambda data: data[:3], "cannot be read"),
        (lambda data: data.replace(b"WhisperSpec", b"MarianXSpec"), "CTranslate2 MarianXSpec is not a Whisper"),
        (lambda data: data.replace(b"encoder/conv1/weight", b"encoder/conv1/wright"), "encoder/conv1/weight"),
    ],
)
def test_broken_ctranslate2_checkpoint_is_one_error(ctranslate2, spoil, message):
    path = ctranslate2 / "model.bin"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(TrainingError, match=message) as caught:
        load_whisper(ctranslate2)
    assert "\n" not in str(caught.value)


def test_missing_weight_is_named_when_it_is_needed(tmp_path):
    weights = make_weights()
    del weights["encoder.layers.1.fc1.weight"]
    write_hugging_face(tmp_path, weights)
    with pytest.raises(TrainingError, match=r"lacks the weight encoder\.layers\.1\.fc1\.weight"):
        _ = load_whisper(tmp_path).weights["encoder.layers.1.fc1.weight"]
