"""``rtstream devices``: the microphones of this machine."""

from __future__ import annotations

import json

import click

from rtstream.errors import printable


@click.command(
    epilog="""\b
Examples:
  rtstream devices
  rtstream devices --json | jq -r '.[].name'
  rtstream serve --source 'mic:USB'      # any part of a name will do
"""
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """List the microphones, as they are plugged in now.

    The star marks the default one. An index changes when devices come and go: name a device by a part of its name.
    A device that another program holds may be missing. The exit code is 1 if there is none.
    """
    from dataclasses import asdict  # noqa: PLC0415 - what --help does without

    from rtstream.audio.devices import list_devices  # noqa: PLC0415

    devices = list_devices()
    if as_json:
        click.echo(json.dumps([asdict(device) for device in devices], indent=1, ensure_ascii=False))
    elif devices:
        names = [printable(device.name) for device in devices]
        width = max(map(len, names))
        click.echo(f"  {'INDEX':>5}  {'NAME':{width}}  CHANNELS    RATE  SYSTEM")
        for device, name in zip(devices, names, strict=True):
            star = "*" if device.default else " "
            numbers = f"{device.channels:8}  {device.rate:6}"
            click.echo(f"{star} {device.index:5}  {name:{width}}  {numbers}  {printable(device.host_api)}")
    else:
        click.echo("rtstream: no microphone was found; 'rtstream doctor' says what to look at", err=True)
    if not devices:
        ctx.exit(1)
