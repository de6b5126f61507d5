"""Errors of partials against their lag, as a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rtstream.errors import TrainingError
from rtstream.training.core.plots import write_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.evaluation.lag import LagPoint


def draw_lags(points: Sequence[LagPoint], target: Path) -> None:
    """Draw the points into the PNG ``target``, those of a curve joined in their order.

    Raises TrainingError where there is none.
    """
    if not points:
        raise TrainingError(f"{target}: nothing to draw: no partial of English speech has been scored")
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    for curve in dict.fromkeys(point.curve for point in points):
        mine = [point for point in points if point.curve == curve]
        axes.plot([point.lag for point in mine], [point.wer for point in mine], marker="o", label=curve)
        for point in mine:
            at = (point.lag, point.wer)
            axes.annotate(point.label, at, textcoords="offset points", xytext=(4, 4), fontsize=8)
    axes.set_xlabel("mean lag of a word, ms of audio")
    axes.set_ylabel("WER of partials as shown, %")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    write_png(figure, target)
