"""A stream of events as a document in one of the formats, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rtstream.errors import printable
from rtstream.events import Final, Translation
from rtstream.formats.bilingual import Translated, Waiting, add_translations
from rtstream.formats.captions import VTT_HEADER, captions, srt_cue, vtt_cue
from rtstream.formats.lines import json_line, text_lines, translation_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtstream.events import Event

Format = Literal["text", "jsonl", "srt", "vtt"]
FORMATS: tuple[Format, ...] = ("text", "jsonl", "srt", "vtt")


class EventWriter:
    """Writes the events of one stream.

    ``words``: with the times of words, where the format has them. ``file``: the recording to name, in every line of
    ``jsonl``, above the first one of ``text``. Partials and empty finals are in ``jsonl`` alone. ``srt`` and ``vtt``
    place their captions by ``Final.words`` if present. With ``languages`` their captions stand on one line, below it
    those of the translations, for which a final waits; :meth:`end` gives what waits in vain.
    """

    def __init__(
        self, format_: Format, *, words: bool = False, file: str | None = None, languages: Sequence[str] = ()
    ) -> None:
        self._format = format_
        self._words = words
        self._file = file
        self._waiting = Waiting(languages)
        self._lines = 1 if languages else 2
        self._written = 0  # finals or, of the caption formats, cues

    def begin(self) -> str:
        """What stands before the first event."""
        return VTT_HEADER if self._format == "vtt" else ""

    def add(self, event: Event | Translation) -> str:
        """What the next event adds to the document: whole lines, or nothing."""
        if self._format == "jsonl":
            return json_line(event, words=self._words, file=self._file) + "\n"
        if self._format == "text":
            return self._text(event)
        return self._cues(self._waiting.add(event))

    def end(self) -> str:
        """What the end of the stream adds."""
        return "" if self._format in {"jsonl", "text"} else self._cues(self._waiting.rest())

    def _text(self, event: Event | Translation) -> str:
        if not event.text:  # what partials showed is taken back
            return ""
        if isinstance(event, Translation):
            return f"{translation_line(event)}\n" if event.final else ""
        if not isinstance(event, Final):
            return ""
        title = f"{printable(self._file)}:\n" if self._file is not None and not self._written else ""
        self._written += 1
        return title + "".join(f"{line}\n" for line in text_lines(event, words=self._words))

    def _cues(self, ready: Iterable[Translated]) -> str:
        cues = [
            cue
            for final, translations in ready
            for cue in add_translations(captions(final, lines=self._lines), translations)
        ]
        first, self._written = self._written + 1, self._written + len(cues)
        if self._format == "srt":
            return "".join(srt_cue(number, cue) for number, cue in enumerate(cues, first))
        return "".join(map(vtt_cue, cues))
