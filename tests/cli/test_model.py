"""``rtstream model``: the numbers of bundles, runs and recipes, and a bundle made from a run."""

import json

import pytest
import torch

from rtstream.bundle.bundle import load_bundle, save_bundle
from rtstream.cli.main import main
from rtstream.nn.encoder import EncoderConfig
from tests.training.tiny_training import make_model, make_recipe, make_trainer, write_data
from tests.training.tiny_whisper import full_tokenizer


@pytest.fixture
def bundle(tmp_path):
    encoder = EncoderConfig(
        n_mels=80, d_model=16, heads=2, ffn=24, layers=4, share=2, rank=2, layer_scale=True, max_frames=400
    )
    save_bundle(tmp_path / "small", "small", make_model(encoder), full_tokenizer(), "card")
    return tmp_path / "small"


@pytest.fixture
def run(tmp_path):
    write_data(tmp_path / "audio")
    trainer = make_trainer(make_recipe(), tmp_path / "audio", tmp_path / "run")
    trainer.train_step(next(iter(trainer.batches)))
    trainer.save()
    full_tokenizer().save(tmp_path / "run/tokenizer.json")
    return tmp_path / "run"


def info(target, capsys):
    assert main(["model", "info", "--json", str(target)]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_counts_the_parameters_of_the_bundle(bundle, capsys):
    data = info(bundle, capsys)
    model = load_bundle(bundle, "float").model
    assert data["name"] == "small"
    assert data["total"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert data["encoder"]["total"]["parameters"] == sum(p.numel() for p in model.encoder.parameters())
    assert data["encoder"]["packed_buffers"] == {"full-rank": 8, "low-rank": 16}
    assert [group["layers"] for group in data["encoder"]["groups"]] == [[0, 1], [2, 3]]


def test_json_counts_the_bytes_of_the_weights_file(bundle, capsys):
    data = info(bundle, capsys)
    header = data["weights_file_bytes"] - data["total"]["shared_int8"]
    assert 0 < header < 20_000  # safetensors' names and shapes


def test_ratio_is_to_the_unshared_encoder_of_the_same_depth(bundle, capsys):
    encoder = info(bundle, capsys)["encoder"]
    total = encoder["total"]
    assert encoder["ratio_to_unshared_fp32"]["shared_int8"] == total["shared_int8"] / total["unshared_fp32"]
    assert encoder["parts"]["full-rank"]["unshared_fp32"] == 2 * encoder["parts"]["full-rank"]["shared_fp32"]


def test_recipe_is_reported_as_of_whisper_base(capsys):
    encoder = info("base", capsys)["encoder"]
    assert (encoder["config"]["layers"], encoder["config"]["d_model"]) == (6, 512)
    assert encoder["parts"]["full-rank"]["parameters"] == 6 * (4 * 512 * 512 + 2 * 512 * 2048)


@pytest.mark.parametrize("part", ["", "checkpoint.pt"])
def test_run_is_reported_with_its_step(run, capsys, part):
    data = info(run / part, capsys)
    assert (data["name"], data["step"]) == ("tiny", 1)


def test_tables_show_every_part(bundle, capsys):
    assert main(["model", "info", str(bundle)]) == 0
    shown = capsys.readouterr().out
    for part in ("full-rank", "low-rank", "diagonal", "bias and norm", "convolutions", "CTC", "decoder", "embeddings"):
        assert part in shown
    assert "8 shared, 16 low-rank" in shown
    assert "unshared fp32" in shown


def test_export_writes_the_averaged_weights(run, tmp_path):
    (tmp_path / "CARD.md").write_text("# A card\n")
    target = tmp_path / "made"
    assert main(["model", "export", str(run), str(target), "--card", str(tmp_path / "CARD.md"), "--float16"]) == 0
    loaded = load_bundle(target, "float")
    assert loaded.name == "made"
    assert (target / "CARD.md").read_text() == "# A card\n"
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    for name, parameter in loaded.model.named_parameters():
        torch.testing.assert_close(parameter.data, state["average"][name].half().float())


@pytest.mark.parametrize("target", ["nothing-here", "."])
def test_what_is_no_model_is_one_line(target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["model", "info", target]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("rtstream: error: ")
    assert shown.count("\n") == 1
