"""The training loop: resumable at any step, in one process or several."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rtstream.errors import TrainingError
from rtstream.recognizer.memory import return_freed_memory

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch.utils.data import IterableDataset

    from rtstream.training.core.schedule import Schedule

CHECKPOINT = "checkpoint.pt"
TRIM_STEPS = 16
"""Batches of all shapes leave holes in the heap: without this a process grows by gigabytes within a hundred steps."""

Report = Callable[[dict[str, Any]], None]


def learning_rate(step: int, recipe: Schedule) -> float:
    """Share of the full rate at a step: linear warm-up, constant, linear decay."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    left = (recipe.steps - step) / recipe.decay if recipe.decay else 1.0
    return warm * max(recipe.final_lr, min(1.0, left))


def read_checkpoint(path: Path, device: torch.device, *, mapped: bool = False) -> dict[str, Any]:
    """What ``Trainer.save`` wrote; ``mapped``: tensors stay in the file until they are used.

    Raises TrainingError where the file is not that.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle can raise anything
        msg = f"{path}: not a checkpoint of a training run: {type(error).__name__}: {error}"
        raise TrainingError(msg) from error
    if not isinstance(state, dict) or not state.keys() >= {"name", "config", "step", "model", "average"}:
        msg = f"{path}: not a checkpoint of a training run"
        raise TrainingError(msg)
    return state


class RunRecipe(Protocol):
    """What the loop needs to know of a recipe."""

    @property
    def name(self) -> str:
        """Also of the run's directory."""
        ...

    @property
    def seed(self) -> int:
        """Of every random choice."""
        ...

    @property
    def optimizer(self) -> Schedule:
        """Rates and their course."""
        ...


class Stream(Protocol):
    """An endless stream of batches that begins with step ``start``, of one of ``world`` processes."""

    start: int
    rank: int
    world: int

    def __iter__(self) -> Iterator[Any]:
        """The batches, a function of seed and step alone."""
        ...


class Loop(ABC):
    """One run of a recipe: ``model`` learns from ``batches``, ``directory`` holds its checkpoint, metrics and curves.

    What is learnt is the subclass's: ``losses``. ``groups``: parameters and their full learning rate. Started under
    torchrun, each process takes its own batches and the gradients are averaged.
    """

    def __init__(
        self,
        recipe: RunRecipe,
        model: nn.Module,
        batches: Stream,
        directory: Path,
        groups: Sequence[tuple[Iterable[nn.Parameter], float]],
        *,
        save_seconds: float = 600.0,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model.to(self.device).train()
        self.directory, self.save_seconds = directory, save_seconds
        self.step = 0
        self.elapsed = 0.0
        self.recipe, self.model, self.batches = recipe, model, batches
        o = recipe.optimizer
        params = [{"params": list(parameters), "lr": rate} for parameters, rate in groups]
        self.optimizer = torch.optim.AdamW(params, betas=o.betas, weight_decay=o.weight_decay, fused=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @abstractmethod
    def losses(self, batch: Any) -> tuple[Tensor, dict[str, float]]:  # noqa: ANN401  # the subclass knows
        """The loss of this step's batch, and what else the log should say."""

    def computing(self) -> AbstractContextManager[None]:
        """Around a step's losses and gradients: where a run computes with other weights than it keeps."""
        return nullcontext()

    @abstractmethod
    def count(self, batch: Any) -> dict[str, float]:  # noqa: ANN401  # as above
        """Take note of a batch that was learnt from; what the log should say of it."""

    @abstractmethod
    def totals(self) -> dict[str, float]:
        """How much has been learnt from so far, for the log."""

    @property
    @abstractmethod
    def progress(self) -> str:
        """How much has been learnt from so far, for a person."""

    @abstractmethod
    def own_state(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights, averages and optimizer."""

    @abstractmethod
    def set_own_state(self, state: dict[str, Any]) -> None:
        """Take ``own_state`` back. Raises KeyError where something is missing."""

    @property
    def checkpoint(self) -> Path:
        """Where the newest state of the run is kept."""
        return self.directory / CHECKPOINT

    def resume(self) -> bool:
        """Continue from the checkpoint if there is one; the run then goes on exactly as if it had not stopped.

        Raises TrainingError where the checkpoint is broken, or of another recipe or model.
        """
        if not self.checkpoint.exists():
            return False
        state = read_checkpoint(self.checkpoint, self.device)
        if state["name"] != self.recipe.name:
            msg = f"{self.checkpoint}: is of recipe {state['name']}, not {self.recipe.name}: choose another directory"
            raise TrainingError(msg)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = {name: state["average"][name] for name in self.average}
            self.step, self.elapsed = state["step"], state.get("elapsed", 0.0)
            self.set_own_state(state)
        except (RuntimeError, KeyError, ValueError) as error:
            msg = f"{self.checkpoint}: not a checkpoint of this run's model: {error}"
            raise TrainingError(msg) from error
        return True

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "name": self.recipe.name,
            "step": self.step,
            "elapsed": self.elapsed,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        } | self.own_state()
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, for export."""
        return self.model.state_dict() | self.average

    def train_step(self, batch: Any) -> dict[str, float]:  # noqa: ANN401  # the subclass knows
        """One update. Returns the losses and rates for the log."""
        o, world = self.recipe.optimizer, self.batches.world
        batch = type(batch)(*(getattr(batch, name).to(self.device) for name in batch.__slots__))
        with self.computing():
            total, metrics = self.losses(batch)
            total.backward()
        if world > 1:
            average_gradients(list(self.model.parameters()), world)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), o.clip)
        rate = learning_rate(self.step, o)
        for group, full in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = full * rate
        if bool(torch.isfinite(norm)):  # one broken batch must not end a run of days
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        self.step += 1
        return metrics | {"gradient": float(norm), "rate": rate} | self.count(batch)

    def _update_average(self) -> None:
        # Early on the average must forget its start: (1 + n) / (10 + n), as in TensorFlow's moving average.
        decay = min(self.recipe.optimizer.average, (1 + self.step) / (10 + self.step))
        parameters = [p.detach() for p in self.model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), parameters, 1.0 - decay)

    def run(
        self,
        report: Report,
        *,
        workers: int = 1,
        stopped: Callable[[], bool] = lambda: False,
        saved: Callable[[], object] = lambda: None,
    ) -> bool:
        """Train to the recipe's last step, from where the run stands, and save every ``save_seconds`` and at the end.

        ``report`` gets each step's metrics and ``saved`` is called after each save, both in the first process only.
        ``stopped`` is asked after each step; where it says so in any process, all of them end. Returns whether the
        last step was reached.
        """
        self.batches.start = self.step
        first = self.batches.rank == 0
        before, began = self.elapsed, time.monotonic()
        last_save = began
        stop = False
        with closing(made_ahead(self.batches, workers)) as stream:
            while self.step < self.recipe.optimizer.steps and not stop:
                metrics = self.train_step(next(stream))
                now = time.monotonic()
                self.elapsed = before + now - began
                if first:
                    report(metrics | {"step": self.step, "elapsed": self.elapsed} | self.totals())
                if self.step % TRIM_STEPS == 0:
                    return_freed_memory()
                stop = self._any(stopped())
                if first and now - last_save > self.save_seconds:
                    self.save()
                    saved()
                    last_save = now
        if first:
            self.save()
            saved()
        return not stop

    def _any(self, flag: bool) -> bool:  # noqa: FBT001 the value itself
        """Whether the flag is set in any process: all must leave the loop at the same step."""
        if self.batches.world == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)


def average_gradients(parameters: Sequence[nn.Parameter], world: int) -> None:
    """Give each parameter the mean of its gradients in ``world`` processes, all of which must call this.

    One that has none here counts as zero. In one message: hundreds of small ones take as long as a third of a step.
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(whole)
    whole /= world
    for p, mean in zip(parameters, whole.split([gradient.numel() for gradient in gradients]), strict=True):
        p.grad = mean.view_as(p)


def made_ahead(batches: Stream, workers: int) -> Generator[Any]:
    """The batches, made ahead by ``workers`` processes, 0 for none; they end when the generator is closed."""
    others = multiprocessing.active_children()
    stream = iter(
        DataLoader(
            cast("IterableDataset[Any]", batches),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_signals_to_parent,
        )
    )
    mine = [process for process in multiprocessing.active_children() if process not in others]
    try:
        yield from stream
    finally:
        del stream  # asks its processes to end and waits a little
        for process in mine:
            if process.is_alive():
                process.kill()
            process.join()


def _leave_signals_to_parent(_: int) -> None:
    """For a loader's process: a signal that stops the run reaches it too, but the last step still needs its batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def join_processes() -> tuple[int, int]:
    """(rank, world) of this process; joins the group where torchrun started one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return int(os.environ.get("RANK", "0")), world


def write_metrics(path: Path, step: int | None = None) -> Report:
    """A report that appends each step as a line of JSON; what is not finite is written as null.

    ``step``: where the run stands; lines of later steps, from a process that ended without saving, are dropped.
    """
    if step is not None and path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] <= step]
        if len(kept) < len(lines):
            path.write_text("".join(kept), encoding="utf-8")

    def report(metrics: Mapping[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({key: _plain(value) for key, value in metrics.items()}) + "\n")

    return report


def _plain(value: object) -> object:
    if not isinstance(value, float):
        return value
    return round(value, 5) if math.isfinite(value) else None
