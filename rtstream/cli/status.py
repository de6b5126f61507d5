"""``rtstream status``: how the service is, for people and for scripts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from rtstream.cli.connection import ConnectionOptions, connection_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtstream.wire.values import Status


@click.command(
    epilog="""\b
Examples:
  rtstream status
  rtstream status unix:/run/rtstream/rtstream.sock --json | jq .phase
"""
)
@click.argument("target", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all counters.")
@connection_options
@click.pass_context
def command(ctx: click.Context, target: str | None, *, as_json: bool, connection: ConnectionOptions) -> None:
    """Ask the service how it is.

    TARGET is unix:PATH or HOST:PORT; by default $RTSTREAM_SERVER, or this machine's port 7660. The exit code is 0 if
    all is well, 3 if it runs but is not ready, or something is broken, and 1 if it cannot be reached.
    """

    async def ask() -> Status:
        async with connection.client(target) as client:
            return await client.status()

    status = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(asdict(status), ensure_ascii=False))
    else:
        for name, value in rows(status):
            click.echo(f"{name:<12} {value}")
    if status.phase != "ready":
        ctx.exit(3)


def rows(status: Status) -> list[tuple[str, str]]:
    """What to show people, line by line: ten of them, and the faults."""
    from rtstream.formats.lines import clean  # noqa: PLC0415 - as the client, not for --help

    shown = [("phase", status.phase), ("version", f"{status.version}, up for {_span(status.uptime_seconds)}")]
    if status.model:
        heard = ", ".join(status.recognized_languages)
        shown.append(("model", f"{status.model} ({', '.join(filter(None, (status.engine, heard)))})"))
    shown += [("translates", f"into {', '.join(status.languages)}")] if status.languages else []
    if status.device is not None:
        detail = f", {status.device.detail}" if status.device.detail else ""
        shown.append(("device", f"{status.device.device}: {status.device.state}{detail}"))
    age = status.audio_age_seconds
    shown.append(("last audio", "none yet" if age is None else f"{age:.1f} s ago"))
    if status.real_time_factor is not None:
        shown.append(("load", f"{status.real_time_factor:.2f} s of CPU time per second of audio"))
    shown += [
        ("memory", f"{status.rss_bytes / 1e6:.0f} MB"),
        ("clients", f"{status.subscribers} subscribers, {status.streams} streams"),
        ("so far", _history(status.counters)),
        *(("fault", f"{fault.code}: {fault.message}") for fault in status.faults),
    ]
    return [(clean(name), clean(value)) for name, value in shown]


def _history(counters: Mapping[str, int]) -> str:
    """What was published since the service started, and what was lost of the audio."""
    from rtstream.events import SAMPLE_RATE  # noqa: PLC0415 - as the client

    lost = sum(counters.get(name, 0) for name in ("overflow_samples", "device_samples", "behind_samples"))
    told = f"; {_span(lost / SAMPLE_RATE)} of audio lost" if lost else ""
    return f"{counters.get('finals', 0)} finals{told}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if count]
    return " ".join(parts[:2]) or "0 s"
