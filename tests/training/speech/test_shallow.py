"""A decoder that loses layers learns what the deeper one does, over the same states; nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.export.bundles import save_bundle
from rtstream.export.rounding import Rounding
from rtstream.model.config import DecoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from rtstream.training.corpus.data import IGNORED
from rtstream.training.speech.distill import inside
from rtstream.training.speech.run import load_start, make_shallow_trainer
from rtstream.training.speech.shallow import imitation_losses, with_layers
from tests.training.tiny_training import ENCODER, PLAIN, make_batches, make_recipe
from tests.training.tiny_whisper import D, full_tokenizer, make_weights, write_hugging_face

SIZES = DecoderConfig(
    len(full_tokenizer()),
    d_model=16,
    heads=2,
    ffn=24,
    layers=4,
    max_tokens=60,
    alignment_heads=((0, 1), (2, 0), (2, 1), (3, 0)),
)


def make_deep(d_model=16):
    """A model whose decoder has four layers, each of which matters."""
    torch.manual_seed(0)
    model = SpeechModel(ModelConfig(replace(ENCODER, d_model=d_model), replace(SIZES, d_model=d_model)))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.normal_(0.0, 0.8 / d_model**0.5)
    return model.eval().requires_grad_(requires_grad=False)


@pytest.fixture
def batch(data):
    batches = make_batches(make_recipe(), data, augment=PLAIN, taught=True)
    return batches.collate(batches.sources[0][0], np.random.default_rng(0))


def lack(decoder, guide, batch):
    mask = inside(batch.goal_counts.clamp(min=1), batch.goals.shape[1])
    given = {"states": batch.goals.float(), "mask": mask, "targets": batch.targets}
    return imitation_losses(decoder, guide, batch.tokens, **given)


def test_kept_layers_are_the_starts_and_its_alignment_heads_go_with_them():
    deep = make_deep()
    shallow = with_layers(deep, (0, 2))
    assert shallow.config.decoder == replace(deep.config.decoder, layers=2, alignment_heads=((0, 1), (1, 0), (1, 1)))
    for layer, source in zip(shallow.decoder.layers, (deep.decoder.layers[0], deep.decoder.layers[2]), strict=True):
        assert_close(layer.state_dict(), source.state_dict())
    for name in ("embedding", "norm"):
        assert_close(getattr(shallow.decoder, name).state_dict(), getattr(deep.decoder, name).state_dict())
    assert shallow.encoder is deep.encoder


def test_layers_that_change_nothing_are_not_missed(batch):
    deep = make_deep()
    with torch.no_grad():
        for index in (1, 2):
            for name in ("out", "cross_out", "ff2"):
                getattr(deep.decoder.layers[index], name).weight.zero_()
                getattr(deep.decoder.layers[index], name).bias.zero_()
    losses = lack(with_layers(deep, (0, 3)).decoder.eval(), deep.decoder, batch)
    assert_close(losses.imitation, torch.tensor(0.0), rtol=0, atol=1e-5)
    assert_close(losses.hidden, torch.tensor(0.0), rtol=0, atol=1e-8)
    assert float(losses.alike) == 1.0


def test_where_no_language_is_told_the_first_target_is_text_like_the_others(batch):
    deep, shallow = make_deep(), with_layers(make_deep(), (0, 2))
    mask = inside(batch.goal_counts.clamp(min=1), batch.goals.shape[1])
    given = {"states": batch.goals.float(), "mask": mask, "targets": batch.targets[:, :1]}
    losses = imitation_losses(shallow.decoder, deep.decoder, batch.tokens[:, :1], **given, language=False)
    assert float(losses.language) == 0.0
    assert float(losses.imitation) > 0.0
    told = imitation_losses(shallow.decoder, deep.decoder, batch.tokens[:, :1], **given)
    assert float(told.language) > 0.0
    assert float(told.imitation) == 0.0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((0, 4), r"must be layers of the start's 4 in their order \(got \[0, 4\]\)"),
        ((2, 0), r"in their order \(got \[2, 0\]\)"),
        ((1,), r"none of \[1\] follows the speech; keep one of \[0, 2, 3\]"),
    ],
)
def test_layers_that_cannot_be_kept_are_named(layers, message):
    with pytest.raises(TrainingError, match=message):
        with_layers(make_deep(), layers)


def test_the_decoder_itself_lacks_nothing_and_another_does(batch):
    deep = make_deep()
    same = lack(deep.decoder, deep.decoder, batch)
    for name in ("imitation", "hidden", "attention"):
        assert_close(getattr(same, name), torch.tensor(0.0), rtol=0, atol=1e-5)
    other = lack(with_layers(deep, (0, 3)).decoder.eval(), deep.decoder, batch)
    for name in ("imitation", "hidden", "attention"):
        assert float(getattr(other, name).detach()) > 0.001, name


def test_tokens_that_do_not_count_change_nothing(batch):
    deep, shallow = make_deep(), with_layers(make_deep(), (0, 3)).eval()
    before = lack(shallow.decoder, deep.decoder, batch)
    tokens = torch.cat([batch.tokens, batch.tokens[:, :3]], dim=1)
    targets = torch.cat([batch.targets, torch.full_like(batch.targets[:, :3], IGNORED)], dim=1)
    after = lack(shallow.decoder, deep.decoder, replace(batch, tokens=tokens, targets=targets))
    for name in ("imitation", "hidden", "attention", "decoder"):
        assert_close(getattr(after, name), getattr(before, name))


@pytest.fixture
def start_run(data, tmp_path):
    """Makes a run that starts from a bundle of a deep model, as the command does."""
    write_hugging_face(tmp_path / "teacher", make_weights())
    save_bundle(tmp_path / "start", "start", make_deep(D), full_tokenizer(), "", rounding=Rounding(None))

    def start(**changes):
        recipe = make_recipe(
            decoder={"layers": (0, 2)},
            loss={"imitation": 1.0, "hidden": 1.0, "attention": 0.3, "decoder": 0.1, "prefixes": 0.5},
            optimizer={"steps": 60, "seconds": 2.0, "warmup": 2, "decoder_lr": 3e-3},
            **{"chunks": (2, 8), "taught": 60 / 3600} | changes,
        )
        return make_shallow_trainer(
            recipe,
            directory=tmp_path / "run",
            audio=(data,),
            teacher_directory=tmp_path / "teacher",
            taught=tmp_path / "taught",
            start=load_start(tmp_path / "start"),
        )

    return start


def test_run_brings_the_decoder_nearer_and_leaves_the_rest_as_it_was(start_run):
    trainer = start_run()
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    metrics = []
    assert trainer.run(metrics.append, workers=0)
    for prefix in ("", "whole_"):
        course = [row[f"{prefix}imitation"] for row in metrics if f"{prefix}imitation" in row]
        assert np.mean(course[-10:]) < 0.7 * np.mean(course[:5])
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("decoder.layers.", "decoder.norm.")) for name in changed)


def test_stopped_run_goes_on_as_if_it_had_not_been(start_run):
    def train_to(step):
        trainer = start_run()
        trainer.run(lambda _: None, workers=0, stopped=lambda: trainer.step >= step)
        return trainer

    def end_of(steps):
        last = [train_to(step) for step in steps][-1]
        last.checkpoint.unlink()
        return last.averaged()

    whole, parts = end_of((6,)), end_of((2, 3, 6))
    assert_close(parts, whole)


def test_run_becomes_a_bundle_that_a_run_can_start_from(start_run, tmp_path):
    trainer = start_run()
    trainer.run(lambda _: None, workers=0, stopped=lambda: trainer.step >= 2)
    model, tokenizer = load_start(tmp_path / "run")
    assert model.config == trainer.model.config
    assert len(tokenizer) == len(full_tokenizer())
    assert_close(dict(model.state_dict()), dict(trainer.averaged()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunks": (0, 2)}, "chunks: 0 means nothing where decoder.layers are given"),
        ({"encoder": {"rank": 3}}, "its encoder has rank 0, the recipe 3"),
    ],
)
def test_recipe_that_does_not_fit_is_refused(start_run, changes, message):
    with pytest.raises(TrainingError, match=message):
        start_run(**changes)
