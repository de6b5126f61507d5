"""``rtstream listen``: the options; the work is done in ``rtstream.cli.listening``."""

from __future__ import annotations

import asyncio

import click

from rtstream.cli.connection import ConnectionOptions, connection_options
from rtstream.cli.translating import translate_option
from rtstream.formats.writer import FORMATS, Format


@click.command(
    epilog="""\b
Examples:
  rtstream listen
  rtstream listen unix:/run/rtstream/rtstream.sock
  rtstream listen --from-start --format srt > today.srt
  rtstream listen pi.local:7660 --ca ca.pem --token-file token --format jsonl | jq -r .text
"""
)
@click.argument("target", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What is written to standard output.",
)
@click.option("--from-start", is_flag=True, help="Begin with all finals that the daemon still holds.")
@click.option(
    "--resume-after", metavar="EPOCH:N", help="Begin after a final: the epoch and sequence of a line of jsonl."
)
@click.option(
    "--words", is_flag=True, help="Times and confidence of every word, if the daemon gives them (text, jsonl)."
)
@click.option("--no-partials", is_flag=True, help="Finals alone.")
@translate_option("Also show the daemon's translations into these")
@click.option("--wait", is_flag=True, help="Wait for the daemon if it is not there yet.")
@connection_options
def command(
    target: str | None,
    format_: Format,
    *,
    from_start: bool,
    resume_after: str | None,
    words: bool,
    no_partials: bool,
    languages: tuple[str, ...],
    wait: bool,
    connection: ConnectionOptions,
) -> None:
    """Show what a daemon hears, as it is said, until interrupted.

    TARGET is unix:PATH or HOST:PORT; by default $RTSTREAM_SERVER, or this machine's port 7660. On a terminal the words
    of an open segment appear on one line. A lost connection is made again and goes on where it was: every final comes
    once. Lines of jsonl are those of replay, with "epoch" and "sequence"; faults, lost audio and the device's state
    have lines of their own there, and go to standard error otherwise. --translate is for a daemon that translates
    (translation.languages in its settings): a line below the finals for each; captions wait for it.
    """
    if from_start and resume_after is not None:
        raise click.UsageError("--from-start and --resume-after contradict one another; choose one")
    from rtstream.cli.listening import Listening, read_position  # noqa: PLC0415 - gRPC, which --help does without

    position = None
    if resume_after is not None and (position := read_position(resume_after)) is None:
        raise click.UsageError(f"--resume-after {resume_after!r} is not possible; it is EPOCH:N, as in 3f2a9c01:17")
    listening = Listening(format_, words=words, partials=not no_partials, languages=languages)
    asyncio.run(listening.run(connection, target, from_start=from_start, resume_after=position, wait=wait))
