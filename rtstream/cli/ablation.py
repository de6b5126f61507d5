"""``rtstream ablation``: structures of the encoder trained on equal terms, measured, and laid side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console

from rtstream.cli.train import CACHE, run_options, show_run

if TYPE_CHECKING:
    from types import TracebackType

    from rtstream.training.speech.trainer import Trainer


class _Screen:
    """Shows on a console what is being done; a run's own progress takes its place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def doing(self, text: str) -> None:
        self._status.update(text)
        self._status.start()

    def done(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def train(self, trainer: Trainer) -> bool:
        self._status.stop()
        return show_run(trainer, self._console)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._status.stop()


@click.command(
    epilog="""\b
Examples:
  rtstream ablation bakeoff --from ~/.cache/rtstream/runs/base --threads 2
  rtstream ablation bakeoff --from ~/.cache/rtstream/runs/base --arms unshared,k2 --clips 40
  rtstream ablation bakeoff --table

A plan says task = "ablation", name, sets to measure on, and reference, the arm that
others are compared with; [base] is a recipe, [arms.NAME] has the keys that an arm has
otherwise, and its seeds where they are not the plan's. See the shipped ones.
"""
)
@click.argument("plan")
@run_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=CACHE / "runs",
    show_default=True,
    help="Directory of the runs, each in one of its name, PLAN-ARM; the plan's own gets table.md and figure.png.",
)
@click.option("--arms", help="Only these arms, such as k2,k3.  [default: all]")
@click.option(
    "--clips", type=click.IntRange(min=1), help="Measure on N clips of each set, evenly spread.  [default: all]"
)
@click.option("--table", is_flag=True, help="Only draw table and figure anew, of what there is.")
def command(
    plan: str,
    *,
    data: tuple[Path, ...],
    texts: tuple[Path, ...],
    teacher: Path,
    start: Path | None,
    threads: int | None,
    out: Path,
    arms: str | None,
    clips: int | None,
    table: bool,
) -> None:
    """Train each arm of PLAN from one start, measure it, and write a table and a figure of all.

    PLAN is a TOML file, or the name of a shipped plan: bakeoff, ablation. Sets are shards as of 'rtstream eval'. What
    was stopped, by Ctrl-C, SIGTERM or worse, goes on when the same command is given again; what is finished or measured
    is not done twice (results.json beside each run keeps its figures: remove it to measure again).
    """
    import torch  # noqa: PLC0415  # slow to import, not needed for --help

    from rtstream.research.ablation.plan import load_plan  # noqa: PLC0415
    from rtstream.research.ablation.run import TABLE, Places, redraw, run_plan  # noqa: PLC0415
    from rtstream.training.recipe import find_recipe  # noqa: PLC0415

    loaded = load_plan(find_recipe(plan, plan=True))
    runs = out.expanduser()
    wanted = loaded.arms if arms is None else tuple(arm.strip() for arm in arms.split(","))
    for arm in wanted:
        if arm not in loaded.arms:
            raise click.ClickException(f"--arms: {loaded.name} has no arm {arm!r}; it has {', '.join(loaded.arms)}")
    if table:
        click.echo(redraw(loaded, runs, clips=clips))
        return

    if threads is not None:
        torch.set_num_threads(threads)
    places = Places(
        runs=runs,
        audio=tuple(folder.expanduser() for folder in data),
        texts=texts[0].expanduser(),
        teacher=teacher.expanduser(),
        taught=(CACHE / "taught").expanduser(),
        start=None if start is None else start.expanduser(),
    )
    with _Screen(Console(stderr=True)) as screen:
        finished = run_plan(loaded, places, screen, arms=wanted, clips=clips)
    if finished:
        click.echo(runs / loaded.name / TABLE)
