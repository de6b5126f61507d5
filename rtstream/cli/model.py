"""``rtstream model``: what a model is made of, how many bytes its parts take, and a bundle made from a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rtstream.cli.model_report import Report


@click.group(
    epilog="""\b
Examples:
  rtstream model info models/base
  rtstream model export ~/.cache/rtstream/runs/base models/base --card CARD.md
"""
)
def command() -> None:
    """Look into a model, or make one."""


@command.command(
    epilog="""\b
Examples:
  rtstream model info models/base
  rtstream model info ~/.cache/rtstream/runs/base
  rtstream model info --json bakeoff-k2
"""
)
@click.argument("target", metavar="BUNDLE|RUN|RECIPE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def info(target: str, *, as_json: bool) -> None:
    """Parameters and bytes by part: unshared, shared, and shared in int8 as a bundle holds it.

    The model is a bundle's directory, a training run's directory or checkpoint, or what a recipe (a TOML file, or the
    name of a shipped one) would make of Whisper base.
    """
    from rtstream.cli.model_report import make_report  # noqa: PLC0415 - torch, which --help does without

    report = make_report(target)
    if as_json:
        click.echo(json.dumps(report.data, indent=2))
        return
    _print(report)


@command.command(
    epilog="""\b
Example:
  rtstream model export ~/.cache/rtstream/runs/base models/base --card CARD.md
"""
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The model card (Markdown): data, licences, error rates, limits.",
)
@click.option("--name", help="Name of the model.  [default: that of the bundle's directory]")
@click.option("--float16", is_flag=True, help="Do not quantize the matrices to int8.")
def export(run: Path, bundle: Path, *, card: Path, name: str | None, float16: bool) -> None:
    """Write the averaged weights of a training RUN (its directory or checkpoint) as a BUNDLE, replacing one there."""
    from rtstream.bundle.bundle import save_bundle  # noqa: PLC0415 - torch, which --help does without
    from rtstream.bundle.files import WEIGHTS  # noqa: PLC0415
    from rtstream.bundle.text_bundle import save_text_bundle  # noqa: PLC0415
    from rtstream.training.run import load_start  # noqa: PLC0415
    from rtstream.training.translation import is_translation_run, load_translation_checkpoint  # noqa: PLC0415

    source, text = run.expanduser(), card.read_text(encoding="utf-8")
    name = name or bundle.resolve().name
    if is_translation_run(source):
        translation, pieces = load_translation_checkpoint(source)
        save_text_bundle(bundle, name, translation, pieces, text, int8=not float16)
    else:
        model, tokenizer = load_start(source)
        save_bundle(bundle, name, model, tokenizer, text, int8=not float16)
    click.echo(f"{bundle}: {(bundle / WEIGHTS).stat().st_size / 1e6:.1f} MB of weights")


def _print(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    for title, columns, rows in report.tables():
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left")
        for row in rows:
            table.add_row(*row.cells, style="bold" if row.total else None, end_section=row.total)
        console.print(table)
    for line in report.notes():
        console.print(line)
