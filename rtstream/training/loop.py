"""The training loop: resumable at any step, in one process or several."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rtstream.bundle.config import to_dict
from rtstream.errors import TrainingError
from rtstream.features.log_mel import LogMel
from rtstream.nn.model import SpeechModel
from rtstream.training.augment import spec_augment
from rtstream.training.data import Batch, Batches
from rtstream.training.distill import Teacher, losses
from rtstream.training.recipe import Optimizer, Recipe
from rtstream.training.start import set_fade

Report = Callable[[dict[str, Any]], None]


def learning_rate(step: int, recipe: Optimizer) -> float:
    """Share of the full rate at a step: linear warm-up, constant, linear decay."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    left = (recipe.steps - step) / recipe.decay if recipe.decay else 1.0
    return warm * max(recipe.final_lr, min(1.0, left))


@dataclass
class Trainer:
    """One run of a recipe. ``directory`` holds its checkpoint, metrics and curves.

    Started under torchrun, each process takes its own batches and the gradients are averaged.
    """

    recipe: Recipe
    model: SpeechModel
    teacher: Teacher | None
    batches: Batches
    directory: Path
    save_seconds: float = 600.0

    def __post_init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).train()
        for module in self.model.modules():  # what fades out is a plain attribute, not a parameter
            if isinstance(getattr(module, "fading", None), Tensor):
                module.fading = module.fading.to(self.device)
        if self.teacher is not None:
            self.teacher.to(self.device)
        self.features = LogMel(self.model.config.encoder.n_mels).to(self.device)
        self.step = 0
        self.audio_seconds = 0.0
        o = self.recipe.optimizer
        rates = {"encoder": o.encoder_lr, "ctc": o.ctc_lr, "decoder": o.decoder_lr}
        groups = [{"params": list(getattr(self.model, part).parameters()), "lr": rate} for part, rate in rates.items()]
        self.optimizer = torch.optim.AdamW(groups, betas=o.betas, weight_decay=o.weight_decay, fused=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}

    @property
    def checkpoint(self) -> Path:
        """Where the newest state of the run is kept."""
        return self.directory / "checkpoint.pt"

    def resume(self) -> bool:
        """Continue from the checkpoint if there is one; the run then goes on exactly as if it had not stopped."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if state["name"] != self.recipe.name:
            msg = f"{self.checkpoint}: is of recipe {state['name']}, not {self.recipe.name}: choose another directory"
            raise TrainingError(msg)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        for name, module in self.model.named_modules():
            if name in state["fading"]:
                module.fading = state["fading"][name]
        self.step, self.audio_seconds = state["step"], state["audio_seconds"]
        return True

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        fading = {n: m.fading for n, m in self.model.named_modules() if isinstance(getattr(m, "fading", None), Tensor)}
        state = {
            "name": self.recipe.name,
            "config": to_dict(self.model.config),
            "step": self.step,
            "audio_seconds": self.audio_seconds,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "fading": fading,
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, for export."""
        return self.model.state_dict() | self.average

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One update. Returns the losses and rates for the log."""
        r, world = self.recipe, self.batches.world
        batch = Batch(*(getattr(batch, name).to(self.device) for name in Batch.__slots__))
        # Every choice is drawn from the step, so that a resumed run makes the same ones; processes draw alike.
        generator = torch.Generator().manual_seed(r.seed * 1_000_003 + self.step)
        chunk = r.chunks[int(torch.randint(len(r.chunks), (1,), generator=generator))] or None
        mel = self.features(batch.audio)
        if r.spec_augment:
            mel = spec_augment(mel, generator)
        weight = r.loss.distance * max(0.0, 1.0 - self.step / r.loss.distance_steps) if r.loss.distance_steps else 0.0
        set_fade(self.model.encoder, max(0.0, 1.0 - self.step / r.fade_steps) if r.fade_steps else 0.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=r.precision == "bfloat16"):
            states = self.teacher(batch.clean) if self.teacher is not None and weight > 0 else None
            parts = losses(
                self.model, mel, batch, chunk=chunk, teacher_states=states, label_smoothing=r.loss.label_smoothing
            )
            total = weight * parts.distance + r.loss.ctc * parts.ctc + r.loss.decoder * parts.decoder
        total.backward()
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if world > 1:
            for p in self.model.parameters():  # every process must join in for every parameter
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                dist.all_reduce(p.grad)
                p.grad /= world
        norm = nn.utils.clip_grad_norm_(parameters, r.optimizer.clip)
        rate = learning_rate(self.step, r.optimizer)
        for group, full in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = full * rate
        if bool(torch.isfinite(norm)):  # one broken batch must not end a run of days
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        self.step += 1
        seconds = float(batch.samples.sum()) / 16_000 * world
        self.audio_seconds += seconds
        return {
            "distance": float(parts.distance.detach()),
            "ctc": float(parts.ctc.detach()),
            "decoder": float(parts.decoder.detach()),
            "tokens_right": float(parts.tokens_right),
            "gradient": float(norm),
            "rate": rate,
            "seconds": seconds,
            "chunk": chunk or 0,
        }

    def _update_average(self) -> None:
        # Early on the average must forget its start: (1 + n) / (10 + n), as in TensorFlow's moving average.
        decay = min(self.recipe.optimizer.average, (1 + self.step) / (10 + self.step))
        parameters = [p.detach() for p in self.model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), parameters, 1.0 - decay)  # noqa: SLF001 no public name

    def run(self, report: Report, *, workers: int = 1) -> None:
        """Train to the recipe's last step, from where the run stands; saves every ``save_seconds`` and at the end."""
        self.batches.start = self.step
        loader = DataLoader(
            self.batches, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None
        )
        saved = began = time.monotonic()
        first = self.batches.rank == 0
        stream = iter(loader)
        while self.step < self.recipe.optimizer.steps:
            metrics = self.train_step(next(stream))
            now = time.monotonic()
            if first:
                elapsed = now - began
                report(metrics | {"step": self.step, "hours": self.audio_seconds / 3600, "elapsed": elapsed})
            if first and now - saved > self.save_seconds:
                self.save()
                saved = now
        if first:
            self.save()


def join_processes() -> tuple[int, int]:
    """(rank, world) of this process; joins the group where torchrun started one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return int(os.environ.get("RANK", "0")), world


def write_metrics(path: Path) -> Report:
    """A report that appends each step as a line of JSON."""

    def report(metrics: Mapping[str, Any]) -> None:
        with path.open("a") as file:
            file.write(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in metrics.items()}) + "\n")

    return report
