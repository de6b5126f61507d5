"""``rtstream unmute``: what is said is recognised again."""

from __future__ import annotations

import click

from rtstream.cli.connection import ConnectionOptions, connection_options
from rtstream.cli.mute import ask_to_mute


@click.command(
    epilog="""\b
Examples:
  rtstream unmute
  rtstream unmute unix:/run/rtstream/rtstream.sock
"""
)
@click.argument("target", required=False)
@connection_options
def command(target: str | None, *, connection: ConnectionOptions) -> None:
    """Have the service recognise what its microphone hears again, after 'rtstream mute'.

    TARGET is unix:PATH or HOST:PORT; by default $RTSTREAM_SERVER, or this machine's port 7660.
    """
    ask_to_mute(target, connection, muted=False)
