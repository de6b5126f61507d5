"""Transcribes recordings one after the other: events to standard output, the newest words to the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from rtstream.audio.open import AudioFile, open_audio
from rtstream.audio.pacing import realtime as paced
from rtstream.audio.reader import hms
from rtstream.cli.output import Output
from rtstream.cli.screen import LiveLine, LiveText, live_stream
from rtstream.errors import AudioError
from rtstream.events import SAMPLE_RATE, Final
from rtstream.formats.writer import EventWriter
from rtstream.languages import ENGLISH
from rtstream.recognizer.pipeline import Pipeline
from rtstream.translation.source import english_text, text_languages
from rtstream.vad.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rtstream.cli.options import RecognizerOptions
    from rtstream.cli.translating import TranslationOptions
    from rtstream.events import AudioBlock, Event, Translation
    from rtstream.formats.writer import Format
    from rtstream.recognizer.recognizer import Translated
    from rtstream.translation.stabilizer import Stabilizer

BLOCK_SECONDS = 0.1
REALTIME_BLOCK_SECONDS = 0.02
"""Words must not wait for a block to fill."""


class Replay:
    """How to transcribe; ``raw_rate`` in Hz makes every recording raw PCM. See ``rtstream replay --help``."""

    def __init__(
        self,
        options: RecognizerOptions,
        format_: Format,
        *,
        translation: TranslationOptions,
        words: bool = False,
        partials: bool = True,
        realtime: bool = False,
        raw_rate: int | None = None,
    ) -> None:
        self._options = options
        self._translation = translation
        self._stabilizers: Callable[[], list[Stabilizer]] = list
        self._format = format_
        self._words = words
        self._partials = partials
        self._realtime = realtime
        self._raw_rate = raw_rate
        self._line = LiveLine(live_stream(beside_output=format_ != "jsonl"))
        self._output = Output(format_, self._line)
        # JSON lines hold the partials themselves: on their own terminal a second copy would only be in the way.
        self._live = partials and self._line.visible and not (format_ == "jsonl" and sys.stdout.isatty())
        self._shows_partials = self._live or (partials and format_ == "jsonl")

    def run(self, files: Sequence[str]) -> bool:
        """Transcribe all ``files``, report those that failed, and say whether none did.

        Raises BundleError, GateMissingError, TranslationError.
        """
        try:
            new_gate = self._options.gates()
            self._line.show("loading the model ...")
            recognizer = self._options.load(
                words=self._words or self._format in {"srt", "vtt"},
                partials=self._shows_partials,
                translate=self._translated_speech(),
            )
            if text_languages(self._translation.languages):
                self._line.show("loading the translation model ...")
                self._stabilizers = self._translation.load(threads=self._options.threads)
            self._line.show("")

            def new_pipeline() -> Pipeline:
                return Pipeline(recognizer, Segmenter(new_gate()))

            good = [self._transcribe(new_pipeline, file, several=len(files) > 1) for file in files]
            return all(good)
        finally:
            self._line.clear()

    def _transcribe(self, new_pipeline: Callable[[], Pipeline], file: str, *, several: bool) -> bool:
        """Transcribe one recording. False: it failed, which has been reported."""
        try:
            block_seconds = REALTIME_BLOCK_SECONDS if self._realtime else BLOCK_SECONDS
            with open_audio(file, raw_rate=self._raw_rate, block_seconds=block_seconds) as audio:
                self._write_all(new_pipeline(), audio, file if several else None)
        except AudioError as error:
            self._line.clear()
            click.echo(f"rtstream: error: {error}", err=True)
            return False
        return True

    def _write_all(self, pipeline: Pipeline, audio: AudioFile, file: str | None) -> None:
        """Write what is recognised. Raises AudioError as :meth:`_events` does."""
        name = None if file is None else os.fsencode(file).decode(errors="backslashreplace")
        writer = EventWriter(self._format, words=self._words, file=name, languages=self._translation.languages)
        stabilizers = self._stabilizers()
        live = LiveText()
        self._line.begin(audio.duration)
        self._output.write(writer.begin())
        try:
            for event in self._events(pipeline, audio):
                for item in (event, *self._translations(event, stabilizers)):
                    self._output.write(writer.add(item))
                    if self._live:
                        self._line.show(live.add(item))
        finally:
            self._output.write(writer.end())

    def _translated_speech(self) -> Translated:
        if ENGLISH not in self._translation.languages:
            return "nothing"
        return "all" if self._shows_partials else "finals"

    def _translations(self, event: Event, stabilizers: Sequence[Stabilizer]) -> Iterator[Translation]:
        """The translations of the text of an event; those of partials only where somebody sees them."""
        english = english_text(event, by_speech=ENGLISH in self._translation.languages)
        if english is not None and (isinstance(english, Final) or self._shows_partials):
            for stabilizer in stabilizers:
                if (translation := stabilizer.translate(english)) is not None:
                    yield translation

    def _events(self, pipeline: Pipeline, audio: AudioFile) -> Iterator[Event]:
        """What is in a recording. Raises AudioError at the end of the good audio, or if it holds no speech."""
        found = False
        position = 0

        def blocks() -> Iterator[AudioBlock]:
            nonlocal position
            for block in paced(audio) if self._realtime else audio:
                yield block
                position = block.position + len(block.samples)
                self._line.advance(position)

        for event in pipeline.run(blocks()):
            found |= isinstance(event, Final) and bool(event.text)
            yield event
        if not found:
            length = hms(position / SAMPLE_RATE)
            raise AudioError(
                f"{audio.name}: no speech was found in its {length}; check that it is not silent or in another language"
            )
