"""``rtstream mute``: nothing that is said is recognised, for a while."""

from __future__ import annotations

import asyncio

import click

from rtstream.cli.connection import ConnectionOptions, connection_options


def ask_to_mute(target: str | None, connection: ConnectionOptions, *, muted: bool) -> None:
    """Have a service drop the audio of its source, or recognise it again."""

    async def ask() -> None:
        async with connection.client(target) as client:
            await client.mute(muted=muted)

    asyncio.run(ask())


@click.command(
    epilog="""\b
Examples:
  rtstream mute
  rtstream mute unix:/run/rtstream/rtstream.sock
"""
)
@click.argument("target", required=False)
@connection_options
def command(target: str | None, *, connection: ConnectionOptions) -> None:
    """Mute the service's microphone: its audio is read and dropped until 'rtstream unmute'.

    What was said before gets its final text, and every subscriber sees that it is muted. What clients send of their
    own is recognised all the same. TARGET is unix:PATH or HOST:PORT; by default $RTSTREAM_SERVER, or this machine's
    port 7660. A service that is to begin muted has audio.muted = true in its settings.
    """
    ask_to_mute(target, connection, muted=True)
