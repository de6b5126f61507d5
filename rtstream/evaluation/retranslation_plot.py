"""Quality and stability of streaming translation against its latency, as a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rtstream.training.core.plots import write_png

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from rtstream.evaluation.retranslation import StreamingScore
    from rtstream.translation.stabilizer import Keep


STYLES: dict[Keep, str] = {"nothing": ":", "partials": "--", "all": "-"}


def draw_streaming(scores: Sequence[StreamingScore], target: Path) -> None:
    """Draw scores of several masks, which the labels are, into the PNG ``target``: a line for each way to keep."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    quality, stability = figure.subplots(1, 2)
    _draw(quality, scores, lambda score: score.bleu)
    quality.set_ylabel("BLEU of the finals")
    _draw(stability, scores, lambda score: score.erasure)
    stability.set_ylabel("normalized erasure")
    stability.set_ylim(bottom=0.0)
    write_png(figure, target)


def _draw(axes: Axes, scores: Sequence[StreamingScore], height: Callable[[StreamingScore], float]) -> None:
    languages = list(dict.fromkeys(score.language for score in scores))
    for language, keep in dict.fromkeys((score.language, score.keep) for score in scores):
        mine = sorted(
            (score for score in scores if (score.language, score.keep) == (language, keep)),
            key=lambda score: score.mask,
        )
        lags, heights = [score.laal for score in mine], [height(score) for score in mine]
        color = f"C{languages.index(language)}"
        axes.plot(lags, heights, marker="o", linestyle=STYLES[keep], color=color, label=f"{language}, keep {keep}")
        for score, *at in zip(mine, lags, heights, strict=True):
            axes.annotate(str(score.mask), (at[0], at[1]), textcoords="offset points", xytext=(4, 4), fontsize=8)
    axes.set_xlabel("LAAL, s")
    axes.grid(visible=True, alpha=0.3)
    if axes.lines:
        axes.legend()
