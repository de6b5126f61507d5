"""The losses of a batch are those of its clips, and what has no label costs nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.model.config import BLANK
from rtstream.nn.features import LogMel
from rtstream.recognizer.context import SEEN_FRAMES, context_frames, context_samples
from rtstream.training.corpus.data import IGNORED, load_shard
from rtstream.training.speech.distill import Teacher, imitated, losses, rehearsal
from rtstream.training.speech.prefix import cut_prefixes
from tests.training.tiny_training import (
    ENCODER,
    PLAIN,
    make_batches,
    make_model,
    make_recipe,
    make_teacher,
    taught_clips,
)


@pytest.fixture
def make_batch(data):
    batches = make_batches(make_recipe(), data, augment=PLAIN)
    clips = [*load_shard(data / "speech"), load_shard(data / "foreign")[0]]
    return lambda rows: batches.collate([clips[row] for row in rows], np.random.default_rng(0))


def measure(model, batch, *, chunk=4, guide=None, label_smoothing=0.0, prefixes=0.0):
    with torch.no_grad():
        return losses(
            model,
            LogMel(),
            batch,
            chunk=chunk,
            theirs=None if guide is None else imitated(guide, batch),
            label_smoothing=label_smoothing,
            generator=torch.Generator().manual_seed(0),
            prefixes=prefixes,
        )


def heard(batch):
    """Encoder frames of each clip."""
    return -(-batch.samples // 320)


def encoded(model, batch, chunk):
    """States of a batch, and how many of each row the decoder sees."""
    with torch.no_grad():
        if chunk is not None:
            return model.encoder(LogMel()(batch.audio), -(-batch.samples // 160), chunk), heard(batch)
        samples = context_samples(batch.audio.shape[1], ENCODER)
        padded = torch.zeros(len(batch.audio), samples)
        padded[:, : batch.audio.shape[1]] = batch.audio
        return model.encoder(LogMel()(padded)), heard(batch) + SEEN_FRAMES


def with_goals(batch, goals, counts=None):
    """The batch as if the teacher had made these of it."""
    counts = torch.full((len(goals),), goals.shape[1]) if counts is None else counts
    return replace(batch, goals=goals, goal_counts=counts)


def test_clips_without_a_text_cost_nothing_and_change_nothing(make_batch):
    model = make_model().eval()
    alone, together = measure(model, make_batch([0, 5])), measure(model, make_batch([0, 5, 6]))
    assert_close(together.ctc, alone.ctc)
    assert_close(together.read.decoder, alone.read.decoder)
    unlabelled = measure(model, make_batch([6]))
    assert (float(unlabelled.ctc), float(unlabelled.read.decoder), float(unlabelled.distance)) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("chunk", [None, 4])
def test_losses_are_weighted_by_letters_and_tokens(make_batch, chunk):
    model = make_model().eval()
    batch = make_batch([0, 1, 5])
    parts = [measure(model, make_batch([row]), chunk=chunk) for row in (0, 1, 5)]
    whole = measure(model, batch, chunk=chunk)
    letters = batch.letter_counts.float() + 1
    tokens = (batch.targets != IGNORED).sum(dim=1).float()
    assert_close(whole.ctc, sum(n * p.ctc for n, p in zip(letters, parts, strict=True)) / letters.sum())
    assert_close(whole.read.decoder, sum(n * p.read.decoder for n, p in zip(tokens, parts, strict=True)) / tokens.sum())


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
    assert_close(measure(model, batch).read.decoder, expected)


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("more", [0, 30, -5])
def test_distance_is_relative_to_the_teachers_energy_over_the_frames_that_count(make_batch, chunk, more):
    model, batch = make_model().eval(), make_batch([0, 5])
    states, frames = encoded(model, batch, chunk)
    kept = F.pad(states[:, : int(frames.max())], (0, 0, 0, more), value=99.0)
    for factor, distance in ((1, 0.0), (2, 0.25), (-1, 4.0)):
        measured = measure(model, with_goals(batch, factor * kept), chunk=chunk).distance
        assert float(measured) == pytest.approx(distance, rel=1e-5, abs=1e-9)
    beyond = kept.clone()
    beyond[0, frames[0] :] = -99.0
    assert float(measure(model, with_goals(batch, beyond), chunk=chunk).distance) == pytest.approx(0.0, abs=1e-9)
    last = kept.clone()
    last[0, frames[0] - 1] = -99.0
    assert float(measure(model, with_goals(batch, last), chunk=chunk).distance) > 0.1


@pytest.mark.parametrize("chunk", [None, 4])
def test_only_as_many_goals_count_as_there_are(make_batch, chunk):
    model, batch = make_model().eval(), make_batch([0, 5])
    goals = encoded(model, batch, chunk)[0][:, :30].clone()
    goals[0, 7:] = 99.0
    goals[1] = 99.0
    counted = with_goals(batch, goals, torch.tensor([7, 0]))
    assert float(measure(model, counted, chunk=chunk).distance) == pytest.approx(0.0, abs=1e-9)
    assert float(measure(model, with_goals(batch, goals, torch.tensor([0, 0])), chunk=chunk).distance) == 0.0


@pytest.mark.parametrize("chunk", [None, 4, 8])
def test_losses_can_be_learnt_from_what_a_teacher_made(data, chunk):
    """Goals go on where the states of chunks have ended, and end before those of a padded segment do."""
    recipe = make_recipe()
    clips = [clip for name in ("speech", "foreign") for clip in taught_clips(data, name, recipe.augment)]
    batch = make_batches(recipe, data, taught=True).collate(clips, np.random.default_rng(0))
    teacher = make_teacher()
    model = make_model().train()
    drawn = torch.Generator().manual_seed(0)
    theirs = imitated(teacher.decoder, batch)
    given = {"chunk": chunk, "theirs": theirs, "label_smoothing": 0.1, "generator": drawn, "prefixes": 0.5}
    parts = losses(model, LogMel(), batch, **given)
    (parts.distance + parts.ctc + parts.read.decoder + parts.read.imitation).backward()
    assert (
        min(float(part.detach()) for part in (parts.distance, parts.ctc, parts.read.decoder, parts.read.imitation))
        > 0.0
    )
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    assert all(p.grad is None for p in teacher.decoder.parameters())


def test_whole_clips_are_padded_as_the_recognizer_pads_segments(make_batch):
    """CTC hears the clip alone, the decoder a second of what follows it too."""
    model, batch = make_model().eval(), make_batch([1])
    seen = []
    model.encoder.register_forward_hook(lambda _, given, states: seen.append((given[0], states)))
    whole = measure(model, batch, chunk=None)
    ((mel, states),) = seen
    (frames,) = heard(batch).tolist()
    assert mel.shape[1] == 2 * context_frames(frames, ENCODER)
    assert_close(mel[:, : 2 * frames], LogMel()(F.pad(batch.audio, (0, 320 * frames - batch.audio.shape[1]))))
    assert_close(mel[:, 2 * frames + 2 :], torch.full_like(mel[:, 2 * frames + 2 :], LogMel().silence))

    log_probs = model.ctc(states[:, :frames]).transpose(0, 1)
    counts = batch.letter_counts
    ctc = F.ctc_loss(log_probs, batch.letters, torch.tensor([frames]), counts, BLANK, reduction="sum")
    assert_close(whole.ctc, ctc.detach() / (counts[0] + 1))
    logits = model.decoder(batch.tokens, states[:, : frames + SEEN_FRAMES])
    decoder = F.cross_entropy(logits[0], batch.targets[0], ignore_index=IGNORED)
    assert_close(whole.read.decoder, decoder.detach())


@pytest.mark.parametrize("chunk", [None, 4])
def test_imitation_is_nothing_between_one_decoder_and_itself(make_batch, chunk):
    model, batch = make_model().eval(), make_batch([0, 1, 3, 6])
    states, frames = encoded(model, batch, chunk)
    batch = with_goals(batch, states, frames)
    same = measure(model, batch, chunk=chunk, guide=model.decoder)
    assert float(same.read.imitation) == pytest.approx(0.0, abs=1e-6)
    assert float(measure(model, batch, chunk=chunk, guide=make_teacher().decoder).read.imitation) > 1e-3
    assert float(measure(model, batch, chunk=chunk).read.imitation) == 0.0


def test_imitation_is_the_divergence_a_token(make_batch):
    model, guide, batch = make_model().eval(), make_teacher().decoder, make_batch([2])
    states, _ = encoded(model, batch, 4)
    goals = torch.randn(1, 40, ENCODER.d_model, generator=torch.Generator().manual_seed(0))
    learnt = batch.targets[0] != IGNORED
    with torch.no_grad():
        ours = F.log_softmax(model.decoder(batch.tokens, states)[0], dim=-1)[learnt]
        theirs = F.log_softmax(guide(batch.tokens, goals[:, :33])[0], dim=-1)[learnt]
    expected = (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()
    counted = with_goals(batch, goals, torch.tensor([33]))
    assert_close(measure(model, counted, guide=guide).read.imitation, expected)


@pytest.mark.parametrize("chunk", [None, 4])
def test_clips_without_goals_are_not_imitated(make_batch, chunk):
    model, guide = make_model().eval(), make_teacher().decoder
    alone, batch = make_batch([1]), make_batch([1, 2, 6])
    goals = torch.randn(3, 40, ENCODER.d_model, generator=torch.Generator().manual_seed(0))
    together = with_goals(batch, goals, torch.tensor([40, 0, 40]))  # the last has no text
    expected = measure(model, with_goals(alone, goals[:1]), chunk=chunk, guide=guide).read.imitation
    assert_close(measure(model, together, chunk=chunk, guide=guide).read.imitation, expected)
    nothing = with_goals(batch, goals, torch.tensor([0, 0, 40]))
    assert float(measure(model, nothing, chunk=chunk, guide=guide).read.imitation) == 0.0
    assert float(measure(model, batch, chunk=chunk, guide=guide).read.imitation) == 0.0


def test_where_a_beginning_ends_the_teacher_is_not_imitated(make_batch):
    """It hears what comes then, and would go on."""
    model, guide, batch = make_model().eval(), make_teacher().decoder, make_batch([1, 2])
    goals = torch.randn(2, 40, ENCODER.d_model, generator=torch.Generator().manual_seed(0))
    batch = with_goals(batch, goals)
    states, frames = encoded(model, batch, 4)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        posteriors = model.ctc(states)
        visible, targets = cut_prefixes(batch, posteriors, frames, chunk=4, share=0.99, generator=generator)
        assert not torch.equal(targets, batch.targets)
        mask = torch.arange(states.shape[1]) < visible[:, None]
        ours = F.log_softmax(model.decoder(batch.tokens, states, mask), dim=-1)
        theirs = F.log_softmax(guide(batch.tokens, goals), dim=-1)
    divergence = (theirs.exp() * (theirs - ours)).sum(dim=-1)
    shared = (targets == batch.targets) & (targets != IGNORED)
    expected = divergence[shared].mean() if bool(shared.any()) else torch.tensor(0.0)
    assert_close(measure(model, batch, guide=guide, prefixes=0.99).read.imitation, expected)


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
    assert seen[0].shape[1] == 2 * context_frames(40, ENCODER)


@settings(max_examples=20)
@given(samples=st.integers(1, 20_000))
def test_teacher_gives_states_of_whole_padded_clips(samples):
    audio = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    states = make_teacher().encoder(audio)
    assert states.shape == (2, context_samples(samples, ENCODER) // 320, ENCODER.d_model)


def test_teacher_is_fixed():
    teacher = Teacher(make_model().encoder)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.encoder.training


@pytest.mark.parametrize("chunk", [None, 4])
def test_prefixes_change_the_decoders_loss_only_and_only_for_chunks(make_batch, chunk):
    model, batch = make_model().eval(), make_batch([0, 1, 2, 5, 6])
    plain, cut = measure(model, batch, chunk=chunk), measure(model, batch, chunk=chunk, prefixes=0.99)
    assert_close(cut.ctc, plain.ctc)
    assert bool(cut.read.decoder == plain.read.decoder) is (chunk is None)


@pytest.mark.parametrize("chunk", [None, 4])
def test_lengths_that_come_again_change_no_loss(make_batch, chunk):
    model, guide, batch = make_model().eval(), make_teacher().decoder, make_batch([0, 1, 2, 5, 6])
    batch = with_goals(batch, torch.randn(5, 33, ENCODER.d_model, generator=torch.Generator().manual_seed(0)))
    longer = batch.rounded_up()
    assert (longer.audio.shape[1], longer.goals.shape[1]) == (24576, 64)
    before, after = (measure(model, each, chunk=chunk, guide=guide) for each in (batch, longer))
    for name in ("distance", "ctc", "voice"):
        assert_close(getattr(after, name), getattr(before, name), rtol=1e-4, atol=1e-5)
    for name in ("decoder", "imitation", "hidden", "attention", "right"):
        assert_close(getattr(after.read, name), getattr(before.read, name), rtol=1e-4, atol=1e-5)


def rehearse(model, batch, guide=None):
    with torch.no_grad():
        theirs = None if guide is None else imitated(guide, batch)
        return rehearsal(model, batch, theirs=theirs, label_smoothing=0.0)


def test_rehearsal_reads_the_teachers_states_as_if_they_were_the_models_own(make_batch):
    model, batch = make_model().eval(), make_batch([0, 1, 5])
    states, frames = encoded(model, batch, None)
    own, kept = measure(model, batch, chunk=None), rehearse(model, with_goals(batch, states, frames))
    assert_close(kept.ctc, own.ctc)
    assert_close(kept.read.decoder, own.read.decoder)


def test_rehearsal_of_ones_own_decoder_has_nothing_to_imitate(make_batch):
    model, batch = make_model().eval(), make_batch([0, 1, 5])
    goals = torch.randn(3, 60, ENCODER.d_model, generator=torch.Generator().manual_seed(0))
    same, other = (
        rehearse(model, with_goals(batch, goals), guide).read.imitation
        for guide in (model.decoder, make_model(seed=1).decoder)
    )
    assert float(same) == pytest.approx(0.0, abs=1e-6)
    assert float(other) > 0.01


def test_clips_without_goals_or_text_are_not_rehearsed(make_batch):
    model, alone, together = make_model().eval(), make_batch([1]), make_batch([0, 1, 6])
    goals = torch.randn(3, 60, ENCODER.d_model, generator=torch.Generator().manual_seed(0))
    some = with_goals(together, goals, torch.tensor([0, 60, 60]))

    def figures(batch):
        found = rehearse(model, batch)
        return torch.stack([found.ctc, found.voice, found.read.decoder, found.read.imitation])

    assert_close(figures(some), figures(with_goals(alone, goals[1:2])))
    assert_close(figures(with_goals(together, goals, torch.tensor([0, 0, 60]))), torch.zeros(4))
