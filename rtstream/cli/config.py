"""``rtstream config``: the settings as they are, whether they are right, and what there is."""

from __future__ import annotations

import json
from pathlib import Path

import click

_FILE = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings in TOML.  [default: /etc/rtstream/rtstream.toml, if it is there]",
)


@click.group(
    epilog="""\b
Examples:
  rtstream config show > rtstream.toml      # all settings with their defaults, to begin with
  rtstream config check --config rtstream.toml
  RTSTREAM_LOG__LEVEL=debug rtstream config show
  rtstream config schema > rtstream.schema.json
"""
)
def command() -> None:
    """Look at the settings of the service.

    They come from a file in TOML; the environment is stronger (RTSTREAM_SECTION__KEY; lists are separated by
    commas, and what has a comma of its own is in double quotes; entries of tables as in
    RTSTREAM_TRANSLATION__MODELS__ES), and options of 'rtstream serve' are stronger still.
    """


@command.command()
@_FILE
def show(file: Path | None) -> None:
    """Write all settings, as they would be used, to standard output as TOML."""
    from rtstream.config import load, to_toml  # noqa: PLC0415 - what --help does without

    click.echo(to_toml(load(file)), nl=False)


@command.command()
@_FILE
def check(file: Path | None) -> None:
    """Say what is wrong with the settings, or nothing."""
    from rtstream.config import load  # noqa: PLC0415 - as above
    from rtstream.daemon.settings import check_settings  # noqa: PLC0415

    check_settings(load(file))


@command.command()
def schema() -> None:
    """Write the JSON Schema of the settings, for editors that check TOML."""
    from rtstream.config import Config  # noqa: PLC0415 - as above

    click.echo(json.dumps(Config.model_json_schema(), indent=2))
