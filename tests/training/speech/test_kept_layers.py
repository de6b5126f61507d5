"""A decoder that loses layers learns what the deeper one does, whatever the encoder before it becomes."""

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
from rtstream.training.speech.distill import imitated, read_losses
from rtstream.training.speech.initialization import with_layers
from rtstream.training.speech.run import load_start, make_trainer
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
    labelled = batch.letter_counts >= 0
    return read_losses(
        decoder,
        batch.goals.float(),
        batch,
        visible=batch.goal_counts.clamp(min=1),
        targets=batch.targets,
        rows=labelled,
        theirs=imitated(guide, batch),
        label_smoothing=0.0,
    )


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


@pytest.fixture
def start_run(data, tmp_path):
    """Makes a run that starts from a bundle of a deep model, as the command does."""
    write_hugging_face(tmp_path / "teacher", make_weights())
    save_bundle(tmp_path / "start", "start", make_deep(D), full_tokenizer(), "", rounding=Rounding(None))

    def start(*, begin=True, guide=None, optimizer=None, **changes):
        plan = {"steps": 60, "seconds": 2.0, "warmup": 2, "encoder_lr": 0.0, "decoder_lr": 3e-3}
        recipe = make_recipe(
            loss={"imitation": 1.0, "hidden": 1.0, "attention": 0.3, "decoder": 0.1, "prefixes": 0.5},
            optimizer=plan | (optimizer or {}),
            **{"decoder": {"layers": (0, 2)}, "chunks": (0, 2, 8), "taught": 60 / 3600} | changes,
        )
        return make_trainer(
            recipe,
            directory=tmp_path / "run",
            audio=(data,),
            texts=data,
            teacher_directory=tmp_path / "teacher",
            taught=tmp_path / "taught",
            start=load_start(tmp_path / "start") if begin else None,
            guide=guide,
        )

    return start


def test_run_brings_the_decoder_nearer_and_leaves_the_encoder_as_it_was(start_run):
    trainer = start_run()
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    metrics = []
    assert trainer.run(metrics.append, workers=0)
    course = [row["hidden"] for row in metrics if row["hidden"]]
    assert np.mean(course[-10:]) < 0.7 * np.mean(course[:5])
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert not any(name.startswith(("encoder.", "decoder.embedding")) for name in changed)


def test_encoder_learns_from_its_step_on(start_run):
    trainer = start_run(encoder_from=2, optimizer={"encoder_lr": 1e-3})
    encoder = trainer.model.encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}

    def changed(step):
        trainer.run(lambda _: None, workers=0, stopped=lambda: trainer.step >= step)
        return any(not torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())

    assert not changed(2)
    assert changed(3)


def test_encoder_ends_as_its_mean_and_the_decoder_learns_on(start_run):
    trainer = start_run(encoder_until=2, optimizer={"encoder_lr": 1e-2})

    def weights_at(step):
        trainer.run(lambda _: None, workers=0, stopped=lambda: trainer.step >= step)
        return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}

    mean = {name: tensor.clone() for name, tensor in trainer.average.items()} if weights_at(2) else {}
    after, later = weights_at(3), weights_at(5)
    for name in after:
        if name.startswith("encoder."):
            assert_close(after[name], mean[name], rtol=0, atol=0)
            assert_close(later[name], mean[name], rtol=0, atol=0)
    assert any(not torch.equal(after[name], later[name]) for name in after if name.startswith("decoder.layers."))


def test_what_is_imitated_is_the_starts_decoder_in_a_resumed_run_too(start_run, tmp_path):
    deep = load_start(tmp_path / "start")[0].decoder
    first = start_run()
    first.run(lambda _: None, workers=0, stopped=lambda: first.step >= 1)
    for trainer in (first, start_run()):
        assert trainer.step == 1
        assert trainer.model.config.decoder.layers == 2
        assert_close(trainer.guide.state_dict(), deep.state_dict())
    with pytest.raises(TrainingError, match=r"--from: a recipe with decoder\.layers needs the run or bundle"):
        start_run(begin=False)


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


def test_guide_is_imitated_by_a_run_that_keeps_all_layers_and_the_table_of_tokens(start_run):
    guide = with_layers(make_deep(D), (0, 1, 3)), full_tokenizer()
    trainer = start_run(decoder={"guided": True}, guide=guide)
    table = trainer.model.decoder.embedding.weight.clone()
    assert trainer.model.config.decoder.layers == 4
    assert_close(trainer.guide.state_dict(), guide[0].decoder.state_dict())
    metrics = []
    trainer.run(metrics.append, workers=0, stopped=lambda: trainer.step >= 40)
    course = [row["hidden"] for row in metrics if row["hidden"]]
    assert np.mean(course[-8:]) < 0.9 * np.mean(course[:4])
    assert_close(trainer.model.decoder.embedding.weight, table, rtol=0, atol=0)


def test_guide_is_named_where_the_recipe_wants_one_and_knows_the_same_tokens(start_run):
    deep, tokenizer = make_deep(D), full_tokenizer()
    for wanted, given in (({"guided": True}, None), ({"layers": (0, 2)}, (deep, tokenizer))):
        with pytest.raises(TrainingError, match=r"--guide: a recipe with decoder\.guided = true needs a model"):
            start_run(decoder=wanted, guide=given)
    other = replace(tokenizer, pieces=tuple(reversed(tokenizer.pieces)))
    with pytest.raises(TrainingError, match="--guide: its tokens are not those of --from"):
        start_run(decoder={"guided": True}, guide=(deep, other))
