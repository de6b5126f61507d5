"""``rtstream listen``: the options; the work is done in ``rtstream.cli.listening``."""

from __future__ import annotations

import asyncio

import click

from rtstream.cli.age import Age
from rtstream.cli.connection import ConnectionOptions, connection_options
from rtstream.cli.translating import translate_option
from rtstream.formats.writer import FORMATS, Format


@click.command(
    epilog="""\b
Examples:
  rtstream listen
  rtstream listen unix:/run/rtstream/rtstream.sock
  rtstream listen --from-start --format srt > today.srt
  rtstream listen --since 2h --clock
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
@click.option("--from-start", is_flag=True, help="Begin with all finals that the service still holds.")
@click.option(
    "--since",
    type=Age(),
    metavar="WHEN",
    help="Begin with the finals of this last time that the service still holds: 2h, 1h30min, 3d, or since 14:00.",
)
@click.option(
    "--resume-after", metavar="EPOCH:N", help="Begin after a final: the epoch and sequence of a line of jsonl."
)
@click.option(
    "--words",
    is_flag=True,
    help="Times and confidence of every word, if the service gives them (text, jsonl); the times in the cues (vtt).",
)
@click.option("--clock", is_flag=True, help="Times of day, local time (text, srt, vtt; jsonl has them in any case).")
@click.option("--no-partials", is_flag=True, help="Finals alone.")
@translate_option("Also show the service's translations into these")
@click.option("--wait", is_flag=True, help="Wait for the service if it is not there yet.")
@connection_options
def command(
    target: str | None,
    format_: Format,
    *,
    from_start: bool,
    since: float | None,
    resume_after: str | None,
    words: bool,
    clock: bool,
    no_partials: bool,
    languages: tuple[str, ...],
    wait: bool,
    connection: ConnectionOptions,
) -> None:
    """Show what a service hears, as it is said, until interrupted.

    TARGET is unix:PATH or HOST:PORT; by default $RTSTREAM_SERVER, or this machine's port 7660. On a terminal the words
    of an open segment appear on one line. A lost connection is made again and goes on where it was: every final comes
    once. Lines of jsonl are those of replay, with "time", "epoch" and "sequence"; faults, lost audio, speech and the
    device's state have lines of their own there. Else they go to standard error, but for speech. --translate is for a
    service that translates (translation.languages in its settings): a line below the finals for each; captions wait for
    it. Times of text are those since the start of the service. Captions count from the first final shown, also over
    several runs of it. With --clock both are times of day; captions' hours go on counting behind midnight.
    """
    if from_start + (since is not None) + (resume_after is not None) > 1:
        raise click.UsageError("--from-start, --since and --resume-after contradict one another; choose one")
    from rtstream.cli.listening import Listening  # noqa: PLC0415 - gRPC, which --help does without
    from rtstream.publish.lines import read_position  # noqa: PLC0415

    position = None
    if resume_after is not None and (position := read_position(resume_after)) is None:
        raise click.UsageError(f"--resume-after {resume_after!r} is not possible; it is EPOCH:N, as in 3f2a9c01:17")
    listening = Listening(format_, words=words, partials=not no_partials, languages=languages, clock=clock)
    asyncio.run(
        listening.run(
            connection,
            target,
            from_start=from_start,
            max_age_seconds=since,
            resume_after=position,
            wait=wait,
        )
    )
