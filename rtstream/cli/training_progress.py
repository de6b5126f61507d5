"""What a terminal shows of a training run: a bar with step, amount, losses, speed and time left; lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.console import Console

LOSSES = ("distance", "ctc", "decoder", "loss")
SMOOTHING = 0.97
"""Share of the old value in a shown loss: it looks back on some thirty steps."""
SPEED_STEPS = 30
LINE_SECONDS = 30.0
"""Without a terminal, how often a line says how far the run has come."""


class TrainingProgress:
    """Shows each step's metrics on ``console``, on which nothing else may write meanwhile.

    ``steps``: of the whole run, ``done``: of those before it began. ``clock`` gives seconds.
    """

    def __init__(self, console: Console, *, steps: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._steps = steps
        self._losses: dict[str, float] = {}
        self._recent: deque[tuple[float, float]] = deque([(clock(), 0.0)], maxlen=SPEED_STEPS + 1)
        self._amount = 0.0  # seconds of audio, or tokens
        self._said = -math.inf
        self._progress = Progress(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(bar_width=None),  # what the text leaves
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
            disable=not console.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("the first batch", total=steps, completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Take the metrics of a step, as ``Trainer.run`` gives them."""
        for name in LOSSES:
            value = float(metrics.get(name, math.nan))
            if math.isfinite(value) and value > 0.0:
                self._losses[name] = SMOOTHING * self._losses.get(name, value) + (1 - SMOOTHING) * value
            elif value == 0.0 and name == "distance":
                self._losses.pop(name, None)  # the teacher rests
        now = self._clock()
        self._amount += metrics["seconds"] if "seconds" in metrics else metrics["tokens"]
        self._recent.append((now, self._amount))
        text = self._text(metrics)
        self._progress.update(self._task, completed=metrics["step"], description=text)
        if not self._console.is_terminal and now - self._said >= LINE_SECONDS:
            self._console.print(f"step {metrics['step']}/{self._steps}  {text}", highlight=False, soft_wrap=True)
            self._said = now

    def _text(self, metrics: Mapping[str, Any]) -> str:
        (first, before), (last, amount) = self._recent[0], self._recent[-1]
        elapsed = max(last - first, 1e-6)
        left = (self._steps - metrics["step"]) * elapsed / max(len(self._recent) - 1, 1)
        losses = "  ".join(f"{name} {value:.2f}" for name, value in self._losses.items())
        speed = (amount - before) / elapsed
        if "hours" in metrics:
            return f"{metrics['hours']:.2f} h  {losses}  {speed:.1f}x  {duration(left)} left"
        return f"{metrics['mtokens']:.1f} M tokens  {losses}  {speed:.0f}/s  {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 0:42, 12:05, 3:12:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
