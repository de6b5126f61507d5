"""The loop: resumable to the last bit, the same over processes as in one, and not stopped by a broken batch."""

import copy
import itertools
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.nn.features import LogMel
from rtstream.training.core.loop import join_processes, learning_rate, write_metrics
from rtstream.training.corpus.augment import spec_augment
from rtstream.training.speech.distill import losses
from rtstream.training.speech.recipe import Optimizer
from tests.training.tiny_training import ENCODER, PLAIN, make_model, make_recipe, make_trainer

ROOT = Path(__file__).parents[3]


def run(trainer, *, until=None, **options):
    """Run, stopped after step ``until``; the metrics of each step."""
    seen = []
    finished = trainer.run(seen.append, workers=0, stopped=lambda: trainer.step == until, **options)
    assert finished is (until is None or until > trainer.recipe.optimizer.steps)
    return seen


def assert_same_run(one, other):
    """Weights, averages, optimizer, counters: equal to the last bit."""
    assert (one.step, one.audio_seconds) == (other.step, other.audio_seconds)
    for first, second in ((one.model.state_dict(), other.model.state_dict()), (one.average, other.average)):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    first, second = one.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
    assert first.keys() == second.keys()
    for index, state in first.items():
        assert all(torch.equal(value, second[index][name]) for name, value in state.items())


STRUCTURES = {
    "unshared": (ENCODER, 0),
    "shared, rest fading": (replace(ENCODER, share=2, rank=2, diagonal=True), 6),
    "grown": (replace(ENCODER, layers=4, share=2, layer_scale=True), 0),
}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_run_equals_one_that_was_not_stopped(structure, precision, data, tmp_path):
    encoder, fade_steps = STRUCTURES[structure]
    recipe = make_recipe(precision=precision, fade_steps=fade_steps)
    whole = make_trainer(recipe, data, tmp_path / "whole", encoder=encoder)
    metrics = run(whole)

    first = make_trainer(recipe, data, tmp_path / "parts", encoder=encoder)
    early = run(first, until=2)
    second = make_trainer(recipe, data, tmp_path / "parts", encoder=encoder)
    with torch.no_grad():  # all that counts must come from the checkpoint
        for parameter in second.model.parameters():
            parameter.fill_(9.0)
    assert second.resume()
    late = run(second)

    assert whole.step == 4
    assert_same_run(whole, second)
    untimed = [{k: v for k, v in step.items() if k != "elapsed"} for step in metrics]
    assert untimed == [{k: v for k, v in step.items() if k != "elapsed"} for step in early + late]
    assert late[0]["elapsed"] > early[-1]["elapsed"]


def test_run_without_checkpoint_is_not_resumed(data, tmp_path):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    assert trainer.resume() is False
    assert trainer.step == 0


def test_run_at_its_last_step_does_nothing(data, tmp_path):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    run(trainer)
    before = copy.deepcopy(trainer.model.state_dict())
    again = make_trainer(make_recipe(), data, tmp_path)
    again.resume()
    assert run(again) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in again.model.state_dict().items())


@pytest.mark.parametrize(
    ("loss", "names"),
    [({}, ("distance", "ctc", "decoder")), ({"decoder": 0.0, "imitation": 1.0}, ("imitation",))],
    ids=["of the clips", "of the teacher's decoder"],
)
def test_training_lowers_the_losses(data, tmp_path, loss, names):
    optimizer = {"steps": 60, "seconds": 2.0, "warmup": 0, "encoder_lr": 3e-3, "decoder_lr": 3e-3, "ctc_lr": 3e-3}
    recipe = make_recipe(optimizer=optimizer, augment=PLAIN, loss=loss, spec_augment=False, chunks=(2, 8))
    metrics = run(make_trainer(recipe, data, tmp_path))
    for name in names:
        early, late = (sum(step[name] for step in part) for part in (metrics[:5], metrics[-5:]))
        assert late < 0.8 * early, name


def test_metrics_name_what_a_step_did(data, tmp_path):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    metrics = run(trainer)
    assert [step["step"] for step in metrics] == [1, 2, 3, 4]
    assert metrics[-1]["hours"] == pytest.approx(sum(step["seconds"] for step in metrics) / 3600)
    assert {step["chunk"] for step in metrics} <= {0, 2, 8}
    assert [step["rate"] for step in metrics] == [0.5, 1.0, 1.0, 1.0]
    assert sum(step["distance"] for step in metrics) > 0
    assert sum(step["imitation"] for step in metrics) > 0
    assert all(0 <= step["tokens_right"] <= 1 for step in metrics)


def test_saves_while_it_runs_and_says_so(data, tmp_path):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    trainer.save_seconds = 0.0
    steps = []
    run(trainer, saved=lambda: steps.append(torch.load(trainer.checkpoint, weights_only=True)["step"]))
    assert steps == [1, 2, 3, 4, 4]
    assert not list(tmp_path.glob("*.tmp"))


def test_broken_batch_is_skipped(data, tmp_path):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    first, second = itertools.islice(trainer.batches, 2)
    trainer.train_step(first)
    before = copy.deepcopy(trainer.model.state_dict())
    spoiled = replace(second, audio=second.audio.clone())
    spoiled.audio[0, 100] = torch.nan
    metrics = trainer.train_step(spoiled)
    assert metrics["gradient"] != metrics["gradient"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    assert trainer.step == 2
    trainer.train_step(second)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in trainer.model.state_dict().values())
    assert all(bool(torch.isfinite(tensor).all()) for tensor in trainer.average.values())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


def test_average_follows_the_weights_and_forgets_the_start(data, tmp_path):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    expected = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for step, batch in enumerate(itertools.islice(trainer.batches, 3)):
        trainer.train_step(batch)
        decay = (1 + step) / (10 + step)
        for name, p in trainer.model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
    assert_close(trainer.average, expected)
    assert trainer.averaged().keys() == trainer.model.state_dict().keys()


def resave(path, *dropped, **changed):
    state = torch.load(path, weights_only=True) | changed
    torch.save({name: value for name, value in state.items() if name not in dropped}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "not a checkpoint of a training run"),
        (lambda path: path.write_bytes(b""), "not a checkpoint of a training run"),
        (lambda path: path.write_bytes(b"something else"), "not a checkpoint of a training run"),
        (lambda path: torch.save([1], path), "not a checkpoint of a training run"),
        (lambda path: resave(path, "name"), "not a checkpoint of a training run"),
        (lambda path: resave(path, "optimizer"), "not a checkpoint of this run's model: 'optimizer'"),
        (lambda path: resave(path, name="other"), "is of recipe other, not tiny"),
    ],
)
def test_broken_checkpoint_is_one_error_that_names_it(data, tmp_path, spoil, message):
    trainer = make_trainer(make_recipe(), data, tmp_path)
    trainer.save()
    spoil(trainer.checkpoint)
    with pytest.raises(TrainingError, match=rf"checkpoint\.pt: {message}") as caught:
        trainer.resume()
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_structure_is_refused(data, tmp_path):
    make_trainer(make_recipe(), data, tmp_path).save()
    other = make_trainer(make_recipe(), data, tmp_path, encoder=replace(ENCODER, share=2))
    with pytest.raises(TrainingError, match="not a checkpoint of this run's model"):
        other.resume()


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (50, 1.0), (89, 1.0), (90, 1.0), (95, 0.5), (99, 0.1), (100, 0.02)],
)
def test_rate_warms_up_stays_and_decays(step, rate):
    assert learning_rate(step, Optimizer(steps=100, warmup=4, decay=10)) == pytest.approx(rate)


def test_rate_without_warm_up_and_decay_is_constant():
    assert {learning_rate(step, Optimizer(steps=10, warmup=0, decay=0)) for step in range(10)} == {1.0}


def test_metrics_go_to_a_file_line_by_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    report = write_metrics(path)
    report({"step": 1, "ctc": 0.123456789})
    report({"step": 2, "ctc": float("nan")})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "ctc": 0.12346},
        {"step": 2, "ctc": None},
    ]


def test_metrics_of_steps_that_were_not_saved_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(1, 6)) + '{"step": 6, "ct')
    write_metrics(path, 3)({"step": 4, "again": True})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


def test_alone_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert join_processes() == (0, 1)


def augmented(generator, audio):
    return spec_augment(LogMel()(audio), generator)


def by_hand(recipe, model, pairs):
    """Two processes' steps written out: both gradients, their mean, clipped, then AdamW."""
    o = recipe.optimizer
    rates = {"encoder": o.encoder_lr, "ctc": o.ctc_lr, "decoder": o.decoder_lr}
    groups = [{"params": list(getattr(model, part).parameters())} for part in rates]
    optimizer = torch.optim.AdamW(groups, betas=o.betas, weight_decay=o.weight_decay)
    for step, batches in enumerate(pairs):
        gradients = []
        for given in batches:
            batch = given.rounded_up()
            generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
            chunk = recipe.chunks[int(torch.randint(len(recipe.chunks), (1,), generator=generator))] or None
            parts = losses(
                model.train(),
                partial(augmented, generator),
                batch if chunk else batch.first(1),  # of padded clips more would be too many
                chunk=chunk,
                theirs=None,
                label_smoothing=recipe.loss.label_smoothing,
                generator=generator,
            )
            total = recipe.loss.distance * parts.distance + recipe.loss.ctc * parts.ctc
            (total + recipe.loss.decoder * parts.read.decoder).backward()
            gradients.append([torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()])
            model.zero_grad()
        for p, *both in zip(model.parameters(), *gradients, strict=True):
            p.grad = sum(both) / len(both)
        nn.utils.clip_grad_norm_(model.parameters(), o.clip)
        for group, rate in zip(optimizer.param_groups, rates.values(), strict=True):
            group["lr"] = rate * learning_rate(step, o)
        optimizer.step()
        model.zero_grad()


def without_key_biases(state):
    """Attention is the same whatever they are: their gradient is rounding noise, of which AdamW makes whole steps."""
    state = {name: tensor.clone() for name, tensor in state.items()}
    for name, tensor in state.items():
        if name.endswith("qkv.bias"):
            tensor[len(tensor) // 3 : 2 * len(tensor) // 3] = 0.0
        elif name.endswith("cross_kv.bias"):
            tensor[: len(tensor) // 2] = 0.0
    return state


PROCESS = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from rtstream.training.core.loop import join_processes
from tests.training.tiny_training import make_recipe, make_trainer
out = Path(sys.argv[1])
torch.set_num_threads(1)
rank, world = join_processes()
assert world == 2
trainer = make_trainer(make_recipe(loss={}), out, out / str(rank), rank=rank, world=world)
for batch in torch.load(out / f"batches{rank}.pt", weights_only=False):
    trainer.train_step(batch)
torch.save(trainer.model.state_dict(), out / f"model{rank}.pt")
trainer.recipe = make_recipe(loss={}, optimizer={"steps": 100, "seconds": 2.0})
assert trainer.run(lambda metrics: None, workers=0, stopped=lambda: rank == 1 and trainer.step == 4) is False
assert trainer.step == 4, trainer.step
assert (out / str(rank) / "checkpoint.pt").exists() is (rank == 0)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_make_the_update_of_both_batches_and_stop_together(data, tmp_path):
    recipe = make_recipe(loss={})
    batches = make_trainer(recipe, data, tmp_path / "hand").batches
    pools = [batch for index in range(10) for batch in batches.pool(index)]
    labelled = [b for b in pools if any(clip.text for clip in b)][:3]
    unlabelled = next(b for b in pools if all(clip.text is None for clip in b))
    # In the second step one process has no text at all: it must join in all the same.
    made = [batches.collate(clips, np.random.default_rng([7, i])) for i, clips in enumerate([*labelled, unlabelled])]
    pairs = [(made[0], made[1]), (made[2], made[3])]
    for name in ("speech", "foreign", "noise"):
        for ending in ("tar", "jsonl"):
            (tmp_path / f"{name}.{ending}").symlink_to(data / f"{name}.{ending}")
    for rank in range(2):
        torch.save([pair[rank] for pair in pairs], tmp_path / f"batches{rank}.pt")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path)], env=common | {"RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors

    model = make_model()
    by_hand(recipe, model, pairs)
    first, second = (torch.load(tmp_path / f"model{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert_close(without_key_biases(first), without_key_biases(dict(model.state_dict())), rtol=1e-4, atol=1e-5)
