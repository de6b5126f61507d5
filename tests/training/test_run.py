"""A run is put together from recipe, data and start, and keeps of the start what it can."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from rtstream.bundle.bundle import save_bundle
from rtstream.errors import TrainingError
from rtstream.training.recipe import Encoder
from rtstream.training.run import load_start, make_trainer, target_encoder
from tests.training.tiny_training import ENCODER, make_model, make_recipe
from tests.training.tiny_whisper import full_tokenizer, make_weights, write_hugging_face

SHARED = replace(ENCODER, layers=4, share=2, rank=2, diagonal=True, layer_scale=True)
SAME = {"share": 2, "rank": 2, "diagonal": True}


def start_run(model, data, directory, encoder, **changes):
    """A trainer that starts from ``model``; no teacher is needed."""
    recipe = make_recipe(encoder=encoder, loss={}, **changes)
    paths = {"directory": directory, "audio": data, "texts": directory, "teacher_directory": directory / "none"}
    return make_trainer(recipe, **paths, start=(model, full_tokenizer()))


def encoded(model):
    mel = torch.randn(1, 31, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.encoder.eval()(mel, chunk=4)


def test_recipe_decides_structure_and_the_start_sizes():
    wanted = target_encoder(ENCODER, Encoder(grow=3, share=3, rank=4, left_context=7))
    expected = replace(ENCODER, layers=6, share=3, rank=4, layer_scale=True, left_context=7)
    assert wanted == expected
    assert target_encoder(SHARED, Encoder(**SAME)) == SHARED


def test_impossible_structure_is_an_error_of_the_recipe():
    with pytest.raises(TrainingError, match=r"encoder: layers \(2\) must be a multiple of share \(3\)"):
        target_encoder(ENCODER, Encoder(share=3))


@pytest.mark.parametrize("left_context", [512, 9])
def test_start_of_the_same_structure_keeps_its_matrices(data, tmp_path, left_context):
    model = make_model(SHARED)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = start_run(model, data, tmp_path, SAME | {"left_context": left_context})
    assert trainer.model.config.encoder == replace(SHARED, left_context=left_context)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


def test_shared_start_can_come_to_share_otherwise(data, tmp_path):
    model = make_model(SHARED)
    before = encoded(model)
    trainer = start_run(model, data, tmp_path, {"share": 4, "rank": 16})
    assert trainer.model.config.encoder.share == 4
    assert_close(encoded(trainer.model), before, rtol=1e-3, atol=1e-4)


def test_what_a_new_structure_leaves_out_fades(data, tmp_path):
    trainer = start_run(make_model(), data, tmp_path, {"share": 2}, fade_steps=5)
    assert all(layer.private("qkv").fading is not None for layer in trainer.model.encoder.layers)


def test_teacher_is_read_only_where_it_is_needed(data, tmp_path):
    assert start_run(make_model(), data, tmp_path, {}).teacher is None
    with pytest.raises(TrainingError, match="none: no Whisper checkpoint"):
        make_trainer(
            make_recipe(),
            directory=tmp_path / "other",
            audio=data,
            texts=tmp_path,
            teacher_directory=tmp_path / "none",
            start=(make_model(), full_tokenizer()),
        )


def test_new_run_from_the_teacher_has_its_encoder_and_a_cut_vocabulary(data, tmp_path):
    write_hugging_face(tmp_path / "teacher", make_weights())
    (tmp_path / "words.txt").write_text("the end\n")
    recipe = make_recipe(vocabulary={"texts": ("words.txt",)})
    paths = {"audio": data, "texts": tmp_path, "teacher_directory": tmp_path / "teacher"}
    trainer = make_trainer(recipe, directory=tmp_path / "run", **paths)
    assert trainer.teacher is not None
    assert_close(trainer.model.encoder.state_dict(), trainer.teacher.encoder.state_dict())
    assert trainer.model.config.decoder.vocabulary == len(trainer.batches.tokenizer) < len(full_tokenizer())


@pytest.mark.parametrize("int8", [True, False])
def test_bundle_as_a_start_can_be_trained(tmp_path, int8):
    model = make_model(SHARED)
    save_bundle(tmp_path / "bundle", "small", model, full_tokenizer(), "card", int8=int8)
    loaded, tokenizer = load_start(tmp_path / "bundle")
    assert tokenizer == full_tokenizer()
    assert all(p.requires_grad for p in loaded.parameters())
    assert_close(encoded(loaded), encoded(model), rtol=0.1, atol=0.2)
