"""A translation model is trained by the same loop: resumable to the last bit, and able to learn."""

import shutil

import pytest
import torch
import torch.nn.functional as F

from rtstream.bundle.text_bundle import PIECES
from rtstream.engine.open import load_text_bundle
from rtstream.errors import TrainingError
from rtstream.export.bundles import save_text_bundle
from rtstream.export.rounding import Rounding
from rtstream.nn.text_model import TextModel
from rtstream.training.corpus.data import IGNORED
from rtstream.training.text.translation import (
    load_translation_checkpoint,
    load_translation_start,
    make_translation_trainer,
)
from tests.training.tiny_pairs import make_recipe, write_pairs

EXACT = {"as_written": 1.0, "join": 0.0, "copy_names": 0.0}


@pytest.fixture
def texts(tmp_path):
    write_pairs(tmp_path / "texts")
    return tmp_path / "texts"


def make(recipe, texts, directory, start=None):
    return make_translation_trainer(recipe, directory=directory, texts=[texts], start=start)


def run(trainer, until=None):
    seen = []
    trainer.run(seen.append, workers=0, stopped=lambda: trainer.step == until)
    return seen


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_run_equals_one_that_was_not_stopped(texts, tmp_path, precision):
    model = make_recipe().model.model_dump() | {"dropout": 0.2}
    recipe = make_recipe(precision=precision, model=model)
    whole = make(recipe, texts, tmp_path / "whole")
    metrics = run(whole)

    early = run(make(recipe, texts, tmp_path / "parts"), until=2)
    torch.manual_seed(99)  # what chance did elsewhere must not count
    second = make(recipe, texts, tmp_path / "parts")
    late = run(second)
    assert (second.step, second.tokens, second.seen) == (4, whole.tokens, whole.seen)
    for one, other in ((whole.model.state_dict(), second.model.state_dict()), (whole.average, second.average)):
        assert all(torch.equal(one[name], other[name]) for name in one)
    untimed = [{k: v for k, v in step.items() if k != "elapsed"} for step in metrics]
    assert untimed == [{k: v for k, v in step.items() if k != "elapsed"} for step in early + late]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++, with which torch compiles, is not installed")
def test_compiled_steps_learn_the_same(texts, tmp_path):
    plain, compiled = (make(make_recipe(compile=flag), texts, tmp_path / str(flag)) for flag in (False, True))
    for one, other in zip(run(plain), run(compiled), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert other["tokens_right"] == pytest.approx(one["tokens_right"])


def test_compiling_without_a_compiler_is_refused(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(TrainingError, match="compile = true needs a C"):
        make(make_recipe(compile=True), texts, tmp_path / "run")


def test_metrics_say_what_was_learnt_from(texts, tmp_path):
    trainer = make(make_recipe(), texts, tmp_path / "run")
    metrics = run(trainer)
    assert metrics[-1]["mtokens"] == pytest.approx(sum(step["tokens"] for step in metrics) / 1e6)
    assert all(0.0 <= step["padding"] < 1.0 and 0.0 <= step["tokens_right"] <= 1.0 for step in metrics)
    assert [step["rate"] for step in metrics] == [0.5, 1.0, 1.0, 1.0]


def test_twenty_sentences_are_learnt_by_heart(texts, tmp_path):
    optimizer = {"steps": 350, "pairs": 40, "lr": 5e-3, "warmup": 10, "decay": 150, "label_smoothing": 0.0}
    trainer = make(make_recipe(noise=EXACT, optimizer=optimizer), texts, tmp_path / "run")
    metrics = run(trainer)
    assert metrics[0]["loss"] > 3.0
    assert sum(step["loss"] for step in metrics[-5:]) / 5 < 0.15
    assert min(step["tokens_right"] for step in metrics[-5:]) > 0.95


def test_checkpoint_gives_the_averaged_model(texts, tmp_path):
    trainer = make(make_recipe(), texts, tmp_path / "run")
    run(trainer)
    model, tokenizer = load_translation_checkpoint(trainer.checkpoint)
    assert set(tokenizer.languages) == {"es", "de"}
    assert all(torch.equal(tensor, trainer.average[name]) for name, tensor in model.named_parameters())


def loss_of(model, batch):
    """Cross-entropy a token, of a model as it is used."""
    counts = batch.targets != IGNORED
    with torch.inference_mode():
        hidden = model.eval()(batch.source, batch.mask, batch.tokens)
        return F.cross_entropy(model.decoder.logits(hidden[counts]), batch.targets[counts]).item()


@pytest.mark.parametrize("bits", [None, 5.5])
def test_run_that_starts_from_a_bundle_begins_with_its_loss(texts, tmp_path, bits):
    first = make(make_recipe(noise=EXACT), texts, tmp_path / "first")
    run(first)
    model, tokenizer = load_translation_checkpoint(first.checkpoint)
    save_text_bundle(tmp_path / "bundle", "tiny", model, tokenizer, "card", rounding=Rounding(bits))
    recipe = make_recipe(name="further", noise=EXACT, seed=5)
    second = make(recipe, texts, tmp_path / "second", load_translation_start(tmp_path / "bundle"))
    batch = next(iter(second.batches))
    expected = loss_of(load_text_bundle(tmp_path / "bundle", "float").engine.model, batch)
    assert loss_of(TextModel(model.config), batch) != pytest.approx(expected, rel=1e-3)
    assert second.step == 0
    assert second.train_step(batch)["loss"] == pytest.approx(expected, rel=1e-5)


def test_run_that_starts_from_another_has_its_averaged_weights_and_pieces_and_learns_them_all(texts, tmp_path):
    first = make(make_recipe(), texts, tmp_path / "first")
    run(first)
    second = make(make_recipe(name="further"), texts, tmp_path / "second", load_translation_start(tmp_path / "first"))
    state = {name: tensor.clone() for name, tensor in second.model.state_dict().items()}
    assert all(torch.equal(tensor, first.averaged()[name]) for name, tensor in state.items())
    assert all(torch.equal(tensor, first.average[name]) for name, tensor in second.average.items())
    assert (tmp_path / "second" / PIECES).read_bytes() == (tmp_path / "first" / PIECES).read_bytes()
    run(second)
    assert not any(torch.equal(state[name], p) for name, p in second.model.named_parameters())


def test_start_counts_for_a_new_run_only(texts, tmp_path):
    run(make(make_recipe(), texts, tmp_path / "first"))
    begun = make(make_recipe(name="further"), texts, tmp_path / "second")
    run(begun, until=2)
    resumed = make(make_recipe(name="further"), texts, tmp_path / "second", load_translation_start(tmp_path / "first"))
    assert resumed.step == 2
    assert all(torch.equal(tensor, begun.average[name]) for name, tensor in resumed.average.items())


def test_run_of_before_with_a_part_for_speech_loads_without_it(texts, tmp_path):
    run(make(make_recipe(), texts, tmp_path / "run"))
    before = load_translation_checkpoint(tmp_path / "run")[0]
    state = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    state["config"]["speech"] = {"inputs": 8, "stack": 2}
    state["model"]["speech.norm.weight"] = torch.ones(4)
    torch.save(state, tmp_path / "run/checkpoint.pt")
    again = load_translation_checkpoint(tmp_path / "run")[0]
    assert again.config == before.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in before.state_dict().items())


def test_start_may_translate_into_more_languages_than_are_learnt(texts, tmp_path):
    run(make(make_recipe(), texts, tmp_path / "first"))
    recipe = make_recipe(name="further", data={"files": {"de": ("pairs-en-de.train.tsv.gz",)}})
    second = make(recipe, texts, tmp_path / "second", load_translation_start(tmp_path / "first"))
    assert len(run(second)) == 4
    assert set(load_translation_checkpoint(second.checkpoint)[1].languages) == {"es", "de"}


def test_sources_that_may_not_be_shipped_are_left_out(texts, tmp_path):
    data = make(make_recipe(), texts, tmp_path / "run").batches.data
    assert {len(rows) for rows in data.values()} == {20}
    files = {"es": ("pairs-en-es.train.tsv.gz",)}
    model = make_recipe().model.model_dump() | {"vocabulary": 40}
    recipe = make_recipe(model=model, data={"files": files, "sources": ("tatoeba-manythings", "wmt-newstest")})
    assert len(make(recipe, texts, tmp_path / "other").batches.data["es"]) == 21


def test_changed_sizes_need_another_directory(texts, tmp_path):
    run(make(make_recipe(), texts, tmp_path / "run"))
    model = make_recipe().model.model_dump() | {"ffn": 32}
    with pytest.raises(TrainingError, match="other sizes than the recipe"):
        make(make_recipe(model=model), texts, tmp_path / "run")


def test_missing_file_and_impossible_model_are_named(texts, tmp_path):
    with pytest.raises(TrainingError, match=r"absent\.tsv: in none of"):
        make(make_recipe(data={"files": {"es": ("absent.tsv",)}}), texts, tmp_path / "run")
    model = make_recipe().model.model_dump() | {"share": 3}
    with pytest.raises(TrainingError, match=r"model: layers \(2\) must be a multiple of share \(3\)"):
        make(make_recipe(model=model), texts, tmp_path / "run")
    model = make_recipe().model.model_dump() | {"vocabulary": 100_000}
    with pytest.raises(TrainingError, match="a vocabulary of 100000 pieces cannot be made"):
        make(make_recipe(model=model), texts, tmp_path / "third")
