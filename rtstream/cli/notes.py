"""``rtstream notes``: the options; the files are :mod:`rtstream.cli.note_files`'s."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtstream.cli.age import Age
from rtstream.cli.connection import TARGET_HELP, ConnectionOptions, connection_options

if TYPE_CHECKING:
    from rtstream.cli.note_files import NoteFiles
    from rtstream.client.resuming import ConnectionState


@click.command(
    epilog="""\b
Examples:
  rtstream notes ~/notes
  rtstream notes --since 8h ~/notes
  rtstream notes --server unix:/run/rtstream/rtstream.sock /srv/notes
"""
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--server", "target", metavar="TARGET", help=TARGET_HELP)
@click.option(
    "--since",
    type=Age(),
    metavar="WHEN",
    help="In a new DIRECTORY begin with the finals of this last time, 2h or since 14:00, instead of all that are held.",
)
@connection_options
def command(directory: Path, target: str | None, *, since: float | None, connection: ConnectionOptions) -> None:
    """Write what a service hears into DIRECTORY, a Markdown file for each day, until interrupted.

    Each final is a line with its time of day, local time; 2026-11-30.md is made when somebody speaks on that day. It
    waits for a service that is not there, and goes on after the last final that was written, also when either was
    restarted or killed: none is lost, as far back as the service holds them, and none comes twice. What is no longer
    held is said to be missing. Lines may be changed, added and removed by hand; the comment at the end of a line is the
    number of its final. DIRECTORY is for one service and one such program.
    """
    from rtstream.cli.note_files import NoteFiles  # noqa: PLC0415 - gRPC, which --help does without

    with NoteFiles(directory) as notes:
        asyncio.run(_write(notes, connection, target, since))


async def _write(notes: NoteFiles, connection: ConnectionOptions, target: str | None, since: float | None) -> None:
    def tell(state: ConnectionState, message: str) -> None:
        click.echo(f"rtstream: {message}{'; trying again' if state == 'lost' else ''}", err=True)

    async with connection.client(target) as client:
        async for item in client.subscribe(
            resume_after=notes.position,
            from_start=since is None,
            max_age_seconds=since,
            partials=False,
            languages=(),
            wait=True,
            on_connection=tell,
        ):
            notes.add(item)
