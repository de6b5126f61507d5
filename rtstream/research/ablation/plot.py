"""Word error rates of an ablation against the bytes of the encoder, as a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from rtstream.research.ablation.table import MEASURES, arms_of, mean_wer
from rtstream.training.core.plots import write_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.research.ablation.outcome import Outcome
    from rtstream.research.ablation.plan import Plan


def draw_ablation(plan: Plan, outcomes: Sequence[Outcome], clips: int | None, target: Path) -> bool:
    """Draw the arms measured on ``clips`` of each set into the PNG ``target``: a point an arm, its seeds as a range.

    Returns False, and draws nothing, where none has been measured yet.
    """
    arms = [arm for arm in arms_of(plan, outcomes, clips) if arm.measured]
    if not arms:
        return False
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    for axes, (measure, label) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
        for arm in arms:
            rates = [mean_wer(plan, outcome, clips, measure) for outcome in arm.measured.values()]
            mean = float(np.mean(rates))
            ends = [[mean - min(rates)], [max(rates) - mean]]
            axes.errorbar([arm.megabytes], [mean], yerr=ends if len(rates) > 1 else None, marker="o", capsize=4)
            axes.annotate(arm.name, (arm.megabytes, mean), textcoords="offset points", xytext=(6, 4), fontsize=8)
        axes.set_xlabel("encoder in int8, MB")
        axes.set_ylabel(f"WER of {label}, %, mean over {', '.join(plan.sets)}")
        axes.margins(x=0.2, y=0.15)
        axes.grid(visible=True, alpha=0.3)
    write_png(figure, target)
    return True
