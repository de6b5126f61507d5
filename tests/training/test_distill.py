"""The losses of a batch are those of its clips, and what has no label costs nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from rtstream.features.log_mel import LogMel
from rtstream.training.data import IGNORED, load_shard
from rtstream.training.distill import Teacher, losses
from tests.training.tiny_training import PLAIN, make_batches, make_model, make_recipe


@pytest.fixture
def make_batch(data):
    batches = make_batches(make_recipe(), data, augment=PLAIN)
    clips = [*load_shard(data / "speech"), load_shard(data / "foreign")[0]]
    return lambda rows: batches.collate([clips[row] for row in rows], np.random.default_rng(0))


def measure(model, batch, *, chunk=4, teacher_states=None, label_smoothing=0.0, prefixes=0.0):
    with torch.no_grad():
        return losses(
            model,
            LogMel()(batch.audio),
            batch,
            chunk=chunk,
            teacher_states=teacher_states,
            label_smoothing=label_smoothing,
            generator=torch.Generator().manual_seed(0),
            prefixes=prefixes,
        )


def test_clips_without_a_text_cost_nothing_and_change_nothing(make_batch):
    model = make_model().eval()
    alone, together = measure(model, make_batch([0, 5])), measure(model, make_batch([0, 5, 6]))
    assert_close(together.ctc, alone.ctc)
    assert_close(together.decoder, alone.decoder)
    unlabelled = measure(model, make_batch([6]))
    assert (float(unlabelled.ctc), float(unlabelled.decoder), float(unlabelled.distance)) == (0.0, 0.0, 0.0)


def test_losses_are_weighted_by_letters_and_tokens(make_batch):
    model = make_model().eval()
    batch = make_batch([0, 1, 5])
    parts = [measure(model, make_batch([row])) for row in (0, 1, 5)]
    whole = measure(model, batch)
    letters = batch.letter_counts.float() + 1
    tokens = (batch.targets != IGNORED).sum(dim=1).float()
    assert_close(whole.ctc, sum(n * p.ctc for n, p in zip(letters, parts, strict=True)) / letters.sum())
    assert_close(whole.decoder, sum(n * p.decoder for n, p in zip(tokens, parts, strict=True)) / tokens.sum())


def test_noise_alone_weighs_no_more_than_speech(make_batch):
    model = make_model().eval()
    noise, speech = measure(model, make_batch([3, 3, 3])), measure(model, make_batch([3]))
    assert_close(noise.ctc, speech.ctc)


def test_decoder_loss_is_the_cross_entropy_of_each_next_token(make_batch):
    model, batch = make_model().eval(), make_batch([1])
    learnt = batch.targets[0] != IGNORED
    with torch.no_grad():
        states = model.encoder(LogMel()(batch.audio), chunk=4)
        log_probs = F.log_softmax(model.decoder(batch.tokens, states)[0], dim=-1)
    expected = -log_probs[learnt].gather(1, batch.targets[0][learnt, None]).mean()
    assert_close(measure(model, batch).decoder, expected)


def test_distance_is_relative_to_the_teachers_energy_over_the_frames_that_count(make_batch):
    model, batch = make_model().eval(), make_batch([0, 5])
    with torch.no_grad():
        frames = (batch.samples + 159) // 160
        states = model.encoder(LogMel()(batch.audio), frames, 4)
    padded = torch.cat([states, torch.full((2, 30, 16), 99.0)], dim=1)
    assert float(measure(model, batch, teacher_states=padded).distance) == pytest.approx(0.0, abs=1e-9)
    assert float(measure(model, batch, teacher_states=2 * padded).distance) == pytest.approx(0.25, rel=1e-5)
    beyond = padded.clone()
    beyond[0, 20:] = -99.0  # the first clip has 20 frames
    assert float(measure(model, batch, teacher_states=beyond).distance) == pytest.approx(0.0, abs=1e-9)


def test_text_that_does_not_fit_into_its_frames_is_no_infinite_loss(make_batch):
    batch = make_batch([0])
    batch.letters.data = torch.ones(60, dtype=torch.long)
    batch.letter_counts[0] = 60
    assert float(measure(make_model(), batch).ctc) == 0.0


def test_teacher_hears_the_frames_that_the_student_hears(make_batch):
    encoder = make_model().encoder
    seen = []
    encoder.forward = lambda mel: seen.append(mel) or mel
    batch = make_batch([5])
    Teacher(encoder)(batch.audio)
    student = LogMel()(batch.audio)[0]
    loud = student > float(student.max()) - 1.5  # where neither floor matters
    assert_close(seen[0][0, : len(student)][loud], student[loud], rtol=0, atol=1e-4)
    assert seen[0].shape[1] > len(student)


def test_teacher_is_fixed():
    teacher = Teacher(make_model().encoder)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.encoder.training


@pytest.mark.parametrize("chunk", [None, 4])
def test_prefixes_change_the_decoders_loss_only_and_only_for_chunks(make_batch, chunk):
    model, batch = make_model().eval(), make_batch([0, 1, 2, 5, 6])
    plain, cut = measure(model, batch, chunk=chunk), measure(model, batch, chunk=chunk, prefixes=0.99)
    assert_close(cut.ctc, plain.ctc)
    assert bool(cut.decoder == plain.decoder) is (chunk is None)
