"""Curves of a run as a PNG: losses over what was learnt from, and error rates where they have been measured."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

METRICS = "metrics.jsonl"
CURVES = (METRICS, "scores.jsonl", "curves.png")
"""What a run's directory has to draw, and the drawing."""
LOSSES = {
    "decoder": "cross-entropy a token",
    "loss": "cross-entropy a token",
    "ctc": "CTC a letter",
    "distance": "distance to the teacher's states",
    "imitation": "divergence from the teacher's decoder",
    "whole_imitation": "the same in full context",
    "hidden": "distance to the deeper decoder's output",
    "attention": "divergence from where it looks",
}
AMOUNTS = {"hours": "hours of audio", "mtokens": "million tokens"}
"""Of which of these the curves are drawn, by what the metrics hold, and what the axis says."""
WINDOWS = 50
"""A smoothed curve averages over the 50th part of the run."""

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The lines of a JSONL file; none where it does not exist. A last line that was cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Moving average of (n,) values over the last ``window``; NaN counts for nothing, and stays where all are NaN."""
    known = np.isfinite(values)
    totals = np.cumsum(np.where(known, values, 0.0))
    counts = np.cumsum(known)
    totals[window:] -= totals[:-window].copy()
    counts[window:] -= counts[:-window].copy()
    means = np.full(len(values), np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return means


def draw_curves(metrics: Path, scores: Path, target: Path) -> bool:
    """Draw ``metrics`` (JSONL of ``write_metrics``) and ``scores`` into the PNG ``target``, replacing it whole.

    ``scores``: JSONL, each line with ``hours`` of training, ``set`` (its name) and ``wer`` in per cent; may be missing.
    Returns False, and draws nothing, where there are no metrics yet.
    """
    steps = {row["step"]: row for row in read_rows(metrics)}  # the later line, where a step was done twice
    rows, points = [steps[step] for step in sorted(steps)], read_rows(scores)
    if not rows:
        return False
    figure = Figure(figsize=(9, 8 if points else 4.5), layout="constrained")
    axes = figure.subplots(2 if points else 1, sharex=True, squeeze=False)[:, 0]
    amount = next(name for name in AMOUNTS if name in rows[0])
    _draw_losses(axes[0], rows, amount)
    if points:
        _draw_scores(axes[1], points)
    axes[-1].set_xlabel(AMOUNTS[amount])
    write_png(figure, target)
    return True


def write_png(figure: Figure, target: Path) -> None:
    """Write a figure as the PNG ``target``, whole or not at all."""
    FigureCanvasAgg(figure)
    temporary = target.with_suffix(".tmp")
    figure.savefig(temporary, format="png", dpi=110)
    temporary.replace(target)


def _draw_losses(axes: Axes, rows: list[Row], amount: str) -> None:
    amounts = np.array([row[amount] for row in rows])
    for name, label in LOSSES.items():
        values = np.array([_number(row.get(name)) for row in rows])
        values[values <= 0.0] = np.nan  # a loss that was not computed
        if np.isfinite(values).any():
            axes.plot(amounts, smooth(values, max(1, len(rows) // WINDOWS)), label=label)
    axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.grid(visible=True, which="both", alpha=0.3)
    if axes.lines:
        axes.legend()


def _draw_scores(axes: Axes, points: list[Row]) -> None:
    for name in sorted({point["set"] for point in points}):
        mine = sorted((point["hours"], point["wer"]) for point in points if point["set"] == name)
        axes.plot([hours for hours, _ in mine], [wer for _, wer in mine], marker="o", label=name)
    axes.set_ylabel("word error rate, %")
    axes.set_ylim(bottom=0.0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
