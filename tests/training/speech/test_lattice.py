"""Learning with matrices of few bits."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from rtstream.bundle.files import WEIGHTS
from rtstream.cli.model_export import export
from rtstream.errors import BundleError, TrainingError
from rtstream.export.bundles import save_bundle
from rtstream.export.rounding import Rounding, rounded_tensors
from rtstream.model.shapes import SCALE
from rtstream.nn.quantized import rounded_names
from rtstream.training.speech.lattice import Lattice
from rtstream.training.speech.run import load_start, make_trainer
from tests.training.tiny_training import TWO_PASSES, make_model, make_recipe
from tests.training.tiny_whisper import full_tokenizer

HALF = {"rtol": 0.01, "atol": 0.01}


@pytest.fixture
def few(tmp_path):
    """A bundle of few bits."""
    save_bundle(tmp_path / "few", "some", make_model(TWO_PASSES), full_tokenizer(), "card", rounding=Rounding(2))
    return tmp_path / "few"


def run(few, data, directory, **changes):
    optimizer = {"steps": 3, "seconds": 1.0, "warmup": 0, "shared_lr": 1e-2, "encoder_lr": 1e-2, "decoder_lr": 1e-2}
    recipe = make_recipe(
        encoder={"rank": 2, "diagonal": True, "whole": True},
        loss={},
        lattice=True,
        chunks=(0, 2),
        optimizer=optimizer | changes,
    )
    paths = {"directory": directory, "audio": (data,), "texts": directory, "teacher_directory": directory / "none"}
    start, lattice = (make_model(TWO_PASSES), full_tokenizer()), Lattice(rounded_tensors(few))
    return make_trainer(recipe, **paths, taught=directory / "taught", start=start, lattice=lattice)


def test_a_run_begins_with_the_bundles_numbers_and_weights_as_near_to_the_starts_as_they_leave(few, data, tmp_path):
    start, rounded = make_model(TWO_PASSES).state_dict(), rounded_tensors(few)
    trainer = run(few, data, tmp_path / "run")
    for name in rounded_names(trainer.model):
        weight = trainer.model.state_dict()[name]
        scale = rounded[name + SCALE][:, None]
        assert torch.equal((weight / scale).round().to(torch.int8), rounded[name])
        same = (start[name] / scale).round() == rounded[name]
        if name != "decoder.embedding.weight":  # which does not learn
            near = same & ((start[name] / scale - rounded[name]).abs() < 0.48)
            assert_close(weight[near], start[name][near])


def test_a_step_computes_with_the_rounded_and_learns_what_is_behind(few, data, tmp_path):
    trainer = run(few, data, tmp_path / "run")
    behind = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    rounded = load_start(few)[0].state_dict()
    with trainer.computing():
        for name in rounded_names(trainer.model):
            assert_close(trainer.model.state_dict()[name], rounded[name])
    assert all(torch.equal(p, behind[name]) for name, p in trainer.model.named_parameters())
    trainer.run(lambda _: None, workers=0)
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, behind[name])}
    assert moved >= rounded_names(trainer.model) - {"decoder.embedding.weight"}


def test_what_is_exported_is_what_was_computed_with(few, data, tmp_path):
    trainer = run(few, data, tmp_path / "run")
    trainer.run(lambda _: None, workers=0)
    export(tmp_path / "run", tmp_path / "made", "some", few / "CARD.md", rounding=Rounding(8), lattice=few)
    trainer.model.load_state_dict(trainer.averaged())
    made = load_start(tmp_path / "made")[0].state_dict()
    with trainer.computing():
        for name, tensor in trainer.model.state_dict().items():
            assert_close(made[name], tensor, **HALF)
    first, second = (load_file(path / WEIGHTS) for path in (few, tmp_path / "made"))
    assert any(not torch.equal(first[name], second[name]) for name in rounded_names(trainer.model))


def test_what_does_not_fit_is_said(few, data, tmp_path):
    recipe = make_recipe(encoder={"rank": 2, "diagonal": True, "whole": True}, loss={}, lattice=True)
    paths = {"audio": (data,), "texts": tmp_path, "teacher_directory": tmp_path, "taught": tmp_path}
    start = (make_model(TWO_PASSES), full_tokenizer())
    with pytest.raises(TrainingError, match="--lattice: a recipe with lattice = true needs a bundle of few bits"):
        make_trainer(recipe, directory=tmp_path / "run", **paths, start=start)
    with pytest.raises(TrainingError, match="--from: a recipe with lattice needs"):
        make_trainer(recipe, directory=tmp_path / "run", **paths, lattice=Lattice(rounded_tensors(few)))
    save_bundle(tmp_path / "other", "some", make_model(replace(TWO_PASSES, share=2)), full_tokenizer(), "card")
    with pytest.raises(TrainingError, match=r"--lattice: its .* is not one of the model's"):
        run(tmp_path / "other", data, tmp_path / "run")
    run(few, data, tmp_path / "run").save()
    with pytest.raises(BundleError, match=r"--lattice: its .* is not one of the model's"):
        export(
            tmp_path / "run",
            tmp_path / "made",
            "some",
            few / "CARD.md",
            rounding=Rounding(8),
            lattice=tmp_path / "other",
        )
