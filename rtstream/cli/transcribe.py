"""``rtstream transcribe``: recordings through a service that runs, without loading a model here."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rtstream.cli.connection import TARGET_HELP, ConnectionOptions, connection_options
from rtstream.cli.options import checked_languages, number_option, phrase_option
from rtstream.cli.output import Output
from rtstream.cli.screen import LiveLine
from rtstream.cli.translating import translate_option
from rtstream.errors import AudioError
from rtstream.formats.writer import FORMATS, EventWriter, Format
from rtstream.languages import ENGLISH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.client.samples import SampleClient
    from rtstream.recognizer.number_forms import NumberForm


@click.command(
    epilog="""\b
Examples:
  rtstream transcribe talk.flac
  rtstream transcribe --server pi.local:7660 --ca ca.pem --token-file token talk.mp3
  rtstream transcribe --format srt talk.wav > talk.srt
  rtstream transcribe --phrase Grafana --phrase 'Wren Hollow=2' standup.flac
  rtstream transcribe --translate en --format srt charla.mp3 > charla.srt
"""
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--server", "target", metavar="TARGET", help=TARGET_HELP)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What is written to standard output.",
)
@click.option("--words", is_flag=True, help="Times and confidence of every word (text, jsonl); times in cues (vtt).")
@click.option("--no-partials", is_flag=True, help="Finals alone.")
@click.option(
    "--rate", type=click.IntRange(1), metavar="HZ", help="Every FILE is raw 16-bit little-endian mono PCM of this rate."
)
@click.option(
    "--language",
    "spoken",
    metavar="LANGUAGE[,LANGUAGE...]",
    callback=checked_languages,
    help="What may be spoken, such as es, or en,es; auto is any language that the service's model knows.  [default: as "
    "the service is set]",
)
@phrase_option
@number_option
@translate_option("Translate what is said in other languages, which a service does into en alone")
@connection_options
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    target: str | None,
    format_: Format,
    *,
    words: bool,
    no_partials: bool,
    rate: int | None,
    phrases: tuple[str, ...],
    spoken: tuple[str, ...] | None,
    numbers: NumberForm,
    languages: tuple[str, ...],
    connection: ConnectionOptions,
) -> None:
    """Transcribe audio files with a service that runs; the output is that of replay.

    FILE has any format that libsndfile reads, any rate and length; "-" is standard input: such a file, or a pipe that
    carries WAV or, with --rate, raw PCM. It is decoded here and sent while it is recognised. What cannot be read of a
    file is told behind the text of what can; then, or where it holds no speech, the exit code is 1, and the others are
    transcribed all the same.
    """
    if format_ in {"srt", "vtt"} and len(files) > 1:
        raise click.UsageError(f"{format_} captions one recording: give one FILE at a time")
    if others := [language for language in languages if language != ENGLISH]:
        raise click.UsageError(
            f"a service translates recordings into {ENGLISH} alone; 'rtstream replay' does into {', '.join(others)}"
        )

    async def run() -> bool:
        async with connection.client(target) as client:
            sender = _Sender(
                client,
                format_,
                phrases,
                spoken,
                words=words,
                partials=not no_partials,
                raw_rate=rate,
                numbers=numbers,
                languages=languages,
            )
            return await sender.run(files)

    if not asyncio.run(run()):
        ctx.exit(1)


class _Sender:
    """Sends recordings, one after the other, and writes what comes back."""

    def __init__(
        self,
        client: SampleClient,
        format_: Format,
        phrases: tuple[str, ...],
        spoken: tuple[str, ...] | None,
        *,
        words: bool,
        partials: bool,
        raw_rate: int | None,
        numbers: NumberForm,
        languages: tuple[str, ...],
    ) -> None:
        self._client = client
        self._numbers = numbers
        self._languages = languages
        self._format = format_
        self._output = Output(format_, LiveLine(None))
        self._phrases, self._spoken = phrases, spoken
        self._words = words
        self._partials = partials
        self._raw_rate = raw_rate

    async def run(self, files: Sequence[str]) -> bool:
        """Transcribe all, report those that failed, and say whether none did. Raises ServerError."""
        good = True
        for file in files:
            name = os.fsencode(file).decode(errors="backslashreplace") if len(files) > 1 else None
            try:
                writer = EventWriter(self._format, words=self._words, file=name, languages=self._languages)
                await self._transcribe(file, writer)
            except AudioError as error:
                click.echo(f"rtstream: error: {error}", err=True)
                good = False
        return good

    async def _transcribe(self, file: str, writer: EventWriter) -> None:
        from rtstream.client.recordings import chunks  # noqa: PLC0415
        from rtstream.events import AudioLost, Event, Fault, Final  # noqa: PLC0415 - with the client, not for --help
        from rtstream.recognizer.written_numbers import number_final  # noqa: PLC0415

        found = False
        self._output.write(writer.begin())
        try:
            async for event in self._client.recognize(
                chunks(file, raw_rate=self._raw_rate),
                floats=True,
                partials=self._partials and self._format == "jsonl",
                words=self._words or self._format in {"srt", "vtt"},
                phrases=self._phrases,
                language=self._spoken,
                translate=bool(self._languages),
            ):
                if isinstance(event, AudioLost | Fault):
                    reason = event.message if isinstance(event, Fault) else f"audio was lost ({event.reason})"
                    click.echo(f"rtstream: {reason}", err=True)
                elif isinstance(event, Event):
                    if isinstance(event, Final):
                        found |= bool(event.text)
                        event = number_final(event, self._numbers)  # noqa: PLW2901 - the same final
                    # When it came to the service says nothing about a recording.
                    self._output.write(writer.add(replace(event, time=None)))
        finally:
            self._output.write(writer.end())
        if not found:
            raise AudioError(f"{file}: no speech was found in it; check that it is not silent or in another language")
