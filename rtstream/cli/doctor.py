"""``rtstream doctor``: what the service needs, and what to do about what is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtstream.errors import printable

if TYPE_CHECKING:
    from rtstream.doctor.checkup import Finding

SIGNS = {"ok": "ok  ", "warning": "WARN", "failed": "FAIL"}
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command(
    epilog="""\b
Examples:
  rtstream doctor
  rtstream doctor --source mic:USB --seconds 10     # speak meanwhile
  rtstream doctor --seconds 0                       # without listening
  sudo -u rtstream rtstream doctor --config /etc/rtstream/rtstream.toml
"""
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings in TOML.  [default: /etc/rtstream/rtstream.toml, if it is there]",
)
@click.option("--source", metavar="SOURCE", help="Look at this source and not at that of the settings.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 600),
    default=3.0,
    show_default=True,
    help="How long to listen for the level; a microphone that the running service holds may be busy.",
)
@click.pass_context
def command(ctx: click.Context, *, file: Path | None, source: str | None, seconds: float) -> None:
    """Check PortAudio, microphone, level, speech gate, model, addresses, permissions and clock.

    Each line says what was found, and where something is wrong what to do about it. The exit code is 1 if anything
    failed; warnings alone give 0.
    """
    from rtstream.audio.open_source import open_source  # noqa: PLC0415 - what --help does without
    from rtstream.audio.source import parse_source  # noqa: PLC0415
    from rtstream.config import load  # noqa: PLC0415
    from rtstream.daemon.settings import capture_request, microphone_config  # noqa: PLC0415
    from rtstream.doctor.checkup import look  # noqa: PLC0415
    from rtstream.doctor.level import measure  # noqa: PLC0415

    config = load(file, {"audio": {"source": source}} if source is not None else {})
    verdicts = {}
    for finding in look(config):
        _tell(finding)
        verdicts[finding.name] = finding.verdict
    if seconds and verdicts.get("device") == "ok":
        microphone = open_source(
            parse_source(config.audio.source), capture_request(config.audio), microphone_config(config.audio)
        )
        finding = measure(microphone, seconds, _meter)
        _meter("")
        _tell(finding)
        verdicts[finding.name] = finding.verdict
    if "failed" in verdicts.values():
        ctx.exit(1)


def _tell(finding: Finding) -> None:
    sign = click.style(SIGNS[finding.verdict], fg=COLOURS[finding.verdict])
    click.echo(f"{sign}  {printable(f'{finding.name}: {finding.found}')}")
    if finding.advice:
        click.echo(f"      -> {printable(finding.advice)}")


def _meter(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
