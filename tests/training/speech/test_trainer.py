"""What a step of a speech run learns from."""

import itertools
from dataclasses import replace

import pytest
import torch

from rtstream.events import SAMPLE_RATE
from rtstream.recognizer.context import context_samples
from rtstream.training.speech.trainer import FULL_CONTEXT
from tests.training.tiny_training import ENCODER, PLAIN, make_recipe, make_trainer


def trainer_of(data, directory, **changes):
    optimizer = {"steps": 4, "seconds": changes.pop("seconds", 2.0)}
    return make_trainer(make_recipe(optimizer=optimizer, augment=PLAIN, **changes), data, directory)


def rows_of_a_step(trainer, batch):
    """How many clips the encoder is given, and how many samples of audio and padding."""
    seen = []
    hook = trainer.model.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    trainer.train_step(batch)
    hook.remove()
    ((rows, frames, _),) = seen
    return rows, rows * frames * SAMPLE_RATE // 100


@pytest.mark.parametrize("seconds", [2.0, 14.0, 27.0])
def test_full_context_takes_the_first_clips_alone(data, tmp_path, seconds):
    trainer = trainer_of(data, tmp_path, seconds=seconds, chunks=(0,))
    for batch in itertools.islice(trainer.batches, 3):
        rows, samples = rows_of_a_step(trainer, batch)
        each = context_samples(batch.audio.shape[1], ENCODER)
        most = FULL_CONTEXT * seconds * SAMPLE_RATE
        assert samples == rows * each
        assert samples <= most or rows == 1
        assert rows == len(batch.samples) or samples + each > most


def test_chunks_take_all_clips(data, tmp_path):
    trainer = trainer_of(data, tmp_path, seconds=14.0, chunks=(8,))
    for batch in itertools.islice(trainer.batches, 2):
        assert rows_of_a_step(trainer, batch)[0] == len(batch.samples)


def test_without_a_weight_for_it_there_is_no_imitation(data, tmp_path):
    trainer = trainer_of(data, tmp_path, chunks=(8,), loss={"imitation": 0.0})
    metrics = [trainer.train_step(batch) for batch in itertools.islice(trainer.batches, 3)]
    assert {step["imitation"] for step in metrics} == {0.0}


def test_teachers_decoder_is_not_trained(data, tmp_path):
    trainer = trainer_of(data, tmp_path, chunks=(8,))
    before = {name: tensor.clone() for name, tensor in trainer.guide.state_dict().items()}
    for batch in itertools.islice(trainer.batches, 2):
        trainer.train_step(batch)
    assert all(bool((tensor == before[name]).all()) for name, tensor in trainer.guide.state_dict().items())
    assert not trainer.guide.training


def test_without_a_rate_the_encoder_stays_and_is_heard_in_full_context_too(data, tmp_path):
    rates = {"steps": 4, "seconds": 2.0, "encoder_lr": 0.0, "decoder_lr": 1e-3}
    sizes = replace(ENCODER, whole=True, rank=2)
    recipe = make_recipe(optimizer=rates, augment=PLAIN, chunks=(0, 8))
    trainer = make_trainer(recipe, data, tmp_path, encoder=sizes)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    for batch in itertools.islice(trainer.batches, 3):
        trainer.train_step(batch)
    after = trainer.model.state_dict()
    changed = {name.partition(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == {"decoder", "ctc"}
