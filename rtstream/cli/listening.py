"""Shows a subscription: transcripts to standard output, the newest words and what goes wrong to the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rtstream.cli.output import Output
from rtstream.cli.screen import LiveLine, LiveText, live_stream
from rtstream.events import SAMPLE_RATE, AudioLost, DeviceState, Fault, Final, Partial, Speech, Translation
from rtstream.formats.lines import clean, short_clock
from rtstream.formats.timeline import Timeline
from rtstream.formats.writer import EventWriter
from rtstream.publish.items import Gap, Item, Position, Published
from rtstream.publish.lines import item_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.cli.connection import ConnectionOptions
    from rtstream.client.resuming import ConnectionState
    from rtstream.formats.writer import Format


TEXTS = Partial | Final | Translation


class Listening:
    """How to show what is published. See ``rtstream listen --help``."""

    def __init__(
        self,
        format_: Format,
        *,
        words: bool = False,
        partials: bool = True,
        languages: Sequence[str] = (),
        clock: bool = False,
    ) -> None:
        self._format = format_
        self._words = words
        self._line = LiveLine(live_stream(beside_output=format_ != "jsonl"))
        self._output = Output(format_, self._line)
        self._live = partials and self._line.visible and not (format_ == "jsonl" and sys.stdout.isatty())
        self._partials = self._live or (partials and format_ == "jsonl")
        self._languages = tuple(languages)
        timeline = Timeline(clock=clock)
        self._writer = EventWriter(format_, words=words, languages=languages, timeline=timeline, clock=clock)
        self._text = LiveText()
        self._lost = False
        self._told: dict[str, str] = {}  # of the device, and of faults by code

    async def run(
        self,
        connection: ConnectionOptions,
        target: str | None,
        *,
        from_start: bool = False,
        max_age_seconds: float | None = None,
        resume_after: Position | None = None,
        wait: bool = False,
    ) -> None:
        """Show events until interrupted. Raises ServerError, ConfigError."""
        async with connection.client(target) as client:
            self._output.write(self._writer.begin())
            try:
                async for item in client.subscribe(
                    from_start=from_start,
                    max_age_seconds=max_age_seconds,
                    resume_after=resume_after,
                    partials=self._partials,
                    words=self._words or self._format in {"srt", "vtt"},
                    languages=self._languages,
                    wait=wait,
                    on_connection=self._connection,
                ):
                    self._show(item)
            finally:
                self._output.write(self._writer.end())
                self._line.clear()

    def _connection(self, state: ConnectionState, message: str) -> None:
        if state == "lost" or self._lost:
            self._note(message if state == "connected" else f"{message}; trying again")
        self._lost = state == "lost"

    def _show(self, item: Item) -> None:
        if self._format == "jsonl":
            self._output.write(item_line(item, words=self._words) + "\n")
        elif isinstance(item, Gap) or not isinstance(item.event, TEXTS | Speech):
            self._tell(item)
        elif isinstance(item.event, Speech):
            return
        else:
            self._output.write(self._writer.add(item.event))
        if self._live and not isinstance(item, Gap) and isinstance(item.event, TEXTS):
            self._line.show(self._text.add(item.event))

    def _tell(self, item: Item) -> None:
        """Note what is no transcript; what stood before the connection was lost only if it is not known."""
        line = describe(item)
        match item:
            case Published(event=DeviceState()):
                key = "device"
            case Published(event=Fault(code=code)):
                key = code
            case _:
                self._note(line)
                return
        if self._told.get(key) != line:
            self._told[key] = line
            self._note(line)

    def _note(self, text: str) -> None:
        self._line.clear()
        click.echo(f"rtstream: {clean(text)}", err=True)


def describe(item: Item) -> str:
    """A line for people about what is no transcript."""
    if isinstance(item, Gap):
        count = "some finals" if item.missed is None else f"{item.missed} finals"
        return f"{count} after number {item.requested.sequence} are no longer held by the service ({item.reason})"
    match item.event:
        case AudioLost(position, samples, reason):
            return f"{samples / SAMPLE_RATE:.2f} s of audio were lost at {short_clock(position)} ({reason})"
        case DeviceState(device, state, detail):
            return f"{device}: {state}" + (f", {detail}" if detail else "")
        case Speech(segment, _, state):
            return f"speech of segment {segment} has {state}"
        case Fault(code, message, recovered):
            return f"{'recovered' if recovered else 'fault'} {code}: {message}"
        case event:
            return event.text
