"""``rtstream model``: what a model is made of, how many bytes its parts take, and a bundle made from a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtstream.cli.options import checked_languages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.cli.model_report import Report
    from rtstream.training.corpus.data import Clip

CALIBRATING = 25
"""Clips of a set."""


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
  rtstream model info tiny
  rtstream model info ~/.cache/rtstream/runs/base
  rtstream model info --json recipe.toml
"""
)
@click.argument("target", metavar="MODEL|RUN|RECIPE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def info(target: str, *, as_json: bool) -> None:
    """Parameters and bytes by part: unshared, shared, and shared in int8 as a bundle holds it.

    The model, of speech or of translation, is a bundle's directory, the name of one that ships, a training run's
    directory or checkpoint, or what a recipe (a TOML file, or the name of one of rtstream's that no model has) would
    make: one for speech, of Whisper base.
    """
    from rtstream.cli.model_report import make_report  # noqa: PLC0415 - torch, which --help does without

    report = make_report(target)
    if as_json:
        click.echo(json.dumps(report.data, indent=2))
        return
    _print(report)


def _read_thresholds(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in given:
        named, _, number = each.partition("=")
        language, _, name = named.rpartition(":")
        try:
            its = found.setdefault("languages", {}).setdefault(language, {}) if language else found
            its[name] = float(number)
        except ValueError as error:
            msg = f"{each}: give THRESHOLD=NUMBER, such as max_no_speech=0.9 or de:max_no_speech=0.9"
            raise click.BadParameter(msg) from error
    return found


def _calibrating(sets: Sequence[str], data: Path) -> list[Clip]:
    if not sets:
        return []
    from rtstream.evaluation.evaluate import spread  # noqa: PLC0415
    from rtstream.training.corpus.data import load_set  # noqa: PLC0415 - not for --help

    return [clip for name in sets for clip in spread(load_set(data, name), CALIBRATING)]


@command.command(
    "export",
    epilog="""\b
Examples:
  rtstream model export ~/.cache/rtstream/runs/base models/base --card CARD.md
  rtstream model export models/base smaller --bits 5
  rtstream model export run small --card CARD.md --bits 4.5 --calibrate train-librispeech --data ~/speech
""",
)
@click.argument("source", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.argument("directory", metavar="DIRECTORY", type=click.Path(path_type=Path))
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The model card (Markdown): data, licences, error rates, limits.  [default: that of the BUNDLE]",
)
@click.option("--name", help="Name of the model.  [default: that of the directory]")
@click.option(
    "--bits",
    type=click.FloatRange(1.5, 8),
    help="About how many bits a weight of the matrices takes in the file; 8 keeps all of int8.  [default: 5.5]",
)
@click.option(
    "--encoder-bits",
    type=click.FloatRange(1.5, 8),
    help="The same of the encoder alone, whose rounding costs more than the decoder's.  [default: as --bits]",
)
@click.option(
    "--table-bits",
    type=click.FloatRange(1.5, 8),
    help="The same of the decoder's table of tokens.  [default: as --bits]",
)
@click.option(
    "--private-bits",
    type=click.FloatRange(1.5, 8),
    help="The same of the private low-rank parts that tell layers or passes apart.  [default: all of int8]",
)
@click.option(
    "--rounded-as",
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Matrices that are still those of this bundle stay as it has rounded them: for a run that began there and did "
    "not train all of them.",
)
@click.option(
    "--lattice",
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Matrices are the nearest of the numbers that this bundle's may be: for a run that was given it.",
)
@click.option(
    "--mean-with",
    "others",
    multiple=True,
    metavar="RUN|BUNDLE",
    type=click.Path(path_type=Path),
    help="Take the mean of the model's weights and of this one's, such as a run that went on from it; may be given "
    "more than once.",
)
@click.option(
    "--one-pass",
    is_flag=True,
    help="Of a model of two passes write the chunks' alone, of whose states finals are made too.",
)
@click.option("--float16", is_flag=True, help="Do not quantize the matrices.")
@click.option(
    "--guard",
    "thresholds",
    multiple=True,
    callback=_read_thresholds,
    metavar="[LANGUAGE:]THRESHOLD=NUMBER",
    help="A threshold of the guard that this model, or a language of it, wants otherwise than usual, such as "
    "max_no_speech=0.9 or de:max_no_speech=0.9; may be given more than once.",
)
@click.option(
    "--languages",
    callback=checked_languages,
    help="Languages that the model is for, such as en,es,fr, the usual one first.  [default: those of the BUNDLE, of a "
    "RUN en]",
)
@click.option(
    "--calibrate",
    "sets",
    multiple=True,
    metavar="SET",
    help=f"A set of clips, of which {CALIBRATING} are recognised, and the matrices rounded for the least error there; "
    "may be given more than once.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="Folder of the sets.  [default: .]",
)
def export_command(
    source: Path,
    directory: Path,
    *,
    card: Path | None,
    name: str | None,
    bits: float | None,
    encoder_bits: float | None,
    table_bits: float | None,
    private_bits: float | None,
    rounded_as: Path | None,
    lattice: Path | None,
    others: Sequence[Path],
    one_pass: bool,
    float16: bool,
    thresholds: Mapping[str, Any],
    languages: Sequence[str] | None,
    sets: Sequence[str],
    data: Path,
) -> None:
    """Write a model as a bundle in DIRECTORY, replacing one there.

    It is that of a training RUN (its directory or checkpoint; averaged weights) or of another BUNDLE (its directory, or
    the name of one that ships).
    """
    from rtstream.bundle.default import model_path  # noqa: PLC0415
    from rtstream.bundle.deflate import BITS  # noqa: PLC0415 - torch, which --help does without
    from rtstream.bundle.files import WEIGHTS  # noqa: PLC0415
    from rtstream.cli.model_export import export  # noqa: PLC0415
    from rtstream.cli.writing import writing  # noqa: PLC0415
    from rtstream.export.rounding import Rounding  # noqa: PLC0415

    rounding = {
        "--bits": bits,
        "--encoder-bits": encoder_bits,
        "--table-bits": table_bits,
        "--private-bits": private_bits,
        "--calibrate": sets or None,
        "--rounded-as": rounded_as,
        "--lattice": lattice,
    }
    wrong = next((option for option, value in rounding.items() if value is not None), None)
    if float16 and wrong:
        msg = f"--float16 and {wrong} exclude each other: give one of them"
        raise click.UsageError(msg)
    chosen = None if float16 else BITS if bits is None else bits
    clips = _calibrating(sets, data)
    with writing(directory):
        export(
            model_path(source).expanduser(),
            directory,
            name or directory.resolve().name,
            card,
            rounding=Rounding(chosen, encoder_bits, table_bits, private_bits),
            guard=thresholds,
            languages=languages or (),
            clips=clips,
            rounded_as=None if rounded_as is None else model_path(rounded_as).expanduser(),
            lattice=None if lattice is None else model_path(lattice).expanduser(),
            others=[model_path(other).expanduser() for other in others],
            one_pass=one_pass,
        )
    click.echo(f"{directory}: {(directory / WEIGHTS).stat().st_size / 1e6:.1f} MB of weights")


def _print(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    for title, columns, rows in report.tables():
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=not index)
        for row in rows:
            table.add_row(*row.cells, style="bold" if row.total else None, end_section=row.total)
        console.print(table)
    for line in report.notes():
        console.print(line)
