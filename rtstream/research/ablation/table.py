"""A plan's outcomes arm by arm, and as a Markdown table beside the paper's own figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.model.accounting import encoder_bytes_int8, encoder_parameters, unshared
from rtstream.research.ablation.outcome import DISTANCE_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtstream.model.config import EncoderConfig
    from rtstream.research.ablation.outcome import Outcome
    from rtstream.research.ablation.plan import Plan

NONE = "-"
MEASURES = {"wer": "finals", "shown_wer": "partials"}
"""What the table has of each set, by its name in ``Score.figures``."""
PAPER = """\
The paper's own rows (arXiv 2310.02489), another task and other data, 10,000 hours of it; 18 layers.

| paper | encoder, of unshared | WER | against unshared |
|---|---|---|---|
| unshared | 100 % | 13.28 | |
| K = 3, R = 2 | 34.0 % | 13.53 | +1.9 % |
| K = 6, R = 16 | 21.5 % | 14.12 | +6.3 % |
| K = 9, R = 16 | 15.9 % | 14.62 | +10.1 % |
"""


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm's runs: all that are begun, those that are finished, and of them, by seed, those measured on every set."""

    name: str
    begun: tuple[Outcome, ...]
    finished: tuple[Outcome, ...]
    measured: Mapping[int, Outcome]

    @property
    def encoder(self) -> EncoderConfig | None:
        """Its structure; None before it is begun."""
        return self.begun[0].encoder if self.begun else None

    @property
    def megabytes(self) -> float:
        """Of its encoder in int8; NaN before it is begun."""
        return sum(encoder_bytes_int8(self.encoder).values()) / 1e6 if self.encoder is not None else float("nan")


def arms_of(plan: Plan, outcomes: Sequence[Outcome], clips: int | None) -> list[Arm]:
    """The outcomes by arm, with what was measured on ``clips`` of each set."""
    arms = []
    for name in plan.arms:
        begun = tuple(outcome for outcome in outcomes if outcome.run.arm == name and outcome.encoder is not None)
        finished = tuple(outcome for outcome in begun if outcome.finished)
        measured = {o.run.recipe.seed: o for o in finished if all(o.measured(key, clips) for key in plan.sets)}
        arms.append(Arm(name, begun, finished, measured))
    return arms


def mean_wer(plan: Plan, outcome: Outcome, clips: int | None, measure: str) -> float:
    """The mean over the plan's sets of one of MEASURES, in per cent; NaN where one has not been measured."""
    rows = [outcome.measured(name, clips) for name in plan.sets]
    return float(np.mean([float("nan") if row is None else row[measure] for row in rows]))


def ablation_table(
    plan: Plan, outcomes: Sequence[Outcome], clips: int | None, *, start: str | None = None, figure: str | None = None
) -> str:
    """Markdown: a row an arm, what is not finished, how it was made, the figure, and the paper's rows.

    ``start``: what the runs started from, where it is known. ``figure``: where it lies, if there is one.
    """
    arms = arms_of(plan, outcomes, clips)
    reference = next(arm for arm in arms if arm.name == plan.reference)
    headings = [
        "arm", "K", "R", "diagonal", "layers", "encoder, parameters", "of unshared", "int8, MB", "steps", "minutes",
        "hours of audio", "distance",
        *(f"{name} {label}" for name in plan.sets for label in MEASURES.values()),
        *(f"{label} against {plan.reference}" for label in MEASURES.values()),
    ]  # fmt: skip
    lines = [_line(headings), "|---" * len(headings) + "|"]
    lines += [_line([*_structure(plan, arm), *_scores(plan, arm, reference, clips)]) for arm in arms]
    parts = ["\n".join(lines) + "\n", "".join(f"{note}\n" for note in _notes(plan, outcomes, clips, start))]
    if figure is not None:
        parts.append(f"![WER against the encoder's bytes]({figure})\n")
    return "\n".join([f"# {plan.name}\n", *parts, PAPER])


def _structure(plan: Plan, arm: Arm) -> Iterator[str]:
    planned = sum(run.arm == arm.name for run in plan.runs)
    yield arm.name if planned == 1 else f"{arm.name} ({len(arm.measured)} of {planned} seeds)"
    config = arm.encoder
    if config is None:
        yield from [NONE] * 11
        return
    parameters = sum(encoder_parameters(config).values())
    yield str(config.share) if config.full_rank else "no U"
    yield str(config.rank or NONE)
    yield "yes" if config.diagonal else "no"
    yield str(config.layers)
    yield f"{parameters:,}"
    yield f"{parameters / sum(encoder_parameters(unshared(config)).values()):.1%}".replace("%", " %")
    yield f"{arm.megabytes:.2f}"
    counted = arm.finished or arm.begun
    yield _range([outcome.step for outcome in counted], "{:.0f}")
    yield _range([outcome.elapsed / 60 for outcome in counted], "{:.0f}")
    yield _range([outcome.hours for outcome in counted], "{:.2f}")
    yield _range([outcome.distance for outcome in counted if outcome.distance is not None], "{:.3f}")


def _scores(plan: Plan, arm: Arm, reference: Arm, clips: int | None) -> Iterator[str]:
    for name in plan.sets:
        for measure in MEASURES:
            rows = [outcome.measured(name, clips) for outcome in arm.finished]
            yield _range([row[measure] for row in rows if row is not None], "{:.1f}")
    # The same seeds of both: they have had the same batches.
    seeds = [seed for seed in arm.measured if seed in reference.measured]
    for measure in MEASURES:
        if arm.name == reference.name:
            yield ""
        elif not seeds:
            yield NONE
        else:
            mine, theirs = (
                np.mean([mean_wer(plan, some.measured[seed], clips, measure) for seed in seeds])
                for some in (arm, reference)
            )
            yield f"{100 * (mine / theirs - 1):+.1f} %" if theirs else NONE


def _range(values: Sequence[float], form: str) -> str:
    """The mean, and the least and the greatest where they differ."""
    if not values:
        return NONE
    least, most = form.format(min(values)), form.format(max(values))
    mean = form.format(np.mean(values))
    return mean if least == most else f"{mean} ({least} to {most})"


def _notes(plan: Plan, outcomes: Sequence[Outcome], clips: int | None, start: str | None) -> Iterator[str]:
    open_runs = [_standing(outcome) for outcome in outcomes if not outcome.finished]
    unmeasured = [
        f"{outcome.run.recipe.name} on {name}"
        for outcome in outcomes
        for name in plan.sets
        if outcome.finished and outcome.measured(name, clips) is None
    ]
    if open_runs:
        yield f"- **Not finished:** {'; '.join(open_runs)}."
    if unmeasured:
        amount = "all clips" if clips is None else f"{clips} clips"
        yield f"- **Not measured on {amount}:** {', '.join(unmeasured)}."
    came = f" from `{start}`" if start is not None else ""
    yield (
        f"- Made by `rtstream ablation {plan.name}`: one start{came}, the same data, for each seed in the same order. "
        "Of several seeds: the mean, and the least and the greatest."
    )
    yield (
        "- Sizes are the encoder's. of unshared: its parameters to those of a plain Transformer of its depth and width "
        "(the measure of arXiv 2310.02489). int8: its bytes in memory, as `rtstream model info` counts them."
    )
    yield (
        "- minutes: of training, by the clock. distance: to the teacher's states, relative to their energy, over the "
        f"last {DISTANCE_STEPS} batches that had them, augmentation and chunks of all lengths included."
    )
    engines = ", ".join(sorted({row["engine"] for outcome in outcomes for row in outcome.rows}))
    yield (
        f"- WER in per cent, int8{engines and f' ({engines})'}, through voice activity detection, segmenter and "
        "recogniser as in the daemon (`rtstream eval`). finals: each segment in full context; partials: in chunks of "
        "640 ms, the last one against that beginning of the reference which it reached."
    )
    yield f"- Sets: {'; '.join(_clips(name, outcomes, clips) for name in plan.sets)}."
    yield f"- Against {plan.reference}: relative difference of the mean over the sets, over the seeds that both have."


def _clips(name: str, outcomes: Sequence[Outcome], clips: int | None) -> str:
    row = next((row for outcome in outcomes if (row := outcome.measured(name, clips)) is not None), None)
    if row is None:
        return f"{name}, not measured"
    amount = (
        f"all {row['of']} clips" if row["taken"] == row["of"] else f"{row['taken']} of {row['of']} clips, evenly spread"
    )
    return f"{name}, {amount}, {row['words']} words"


def _standing(outcome: Outcome) -> str:
    name, steps = outcome.run.recipe.name, outcome.run.recipe.optimizer.steps
    if outcome.failure is not None:
        return f"{name} failed ({outcome.failure})"
    return f"{name} at step {outcome.step} of {steps}" if outcome.step else f"{name} not begun"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
