"""A stream of events as a document in one of the formats, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rtstream.errors import printable
from rtstream.events import Final, Translation
from rtstream.formats.bilingual import Translated, Waiting, bilingual
from rtstream.formats.captions import VTT_HEADER, srt_cue, vtt_cue
from rtstream.formats.lines import json_line, text_lines, translation_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtstream.events import Event
    from rtstream.formats.captions import Caption
    from rtstream.formats.timeline import Timeline

Format = Literal["text", "jsonl", "srt", "vtt"]
FORMATS: tuple[Format, ...] = ("text", "jsonl", "srt", "vtt")


class EventWriter:
    """Writes the events of one stream.

    ``words``: with the times of words, where the format has them. ``file``: the recording to name, in every line of
    ``jsonl``, above the first one of ``text``. Partials and empty finals are in ``jsonl`` alone. ``srt`` and ``vtt``
    place their captions by ``Final.words`` if present. With ``languages`` their captions stand on one line, below it
    those of the translations, for which a final waits; :meth:`end` gives what waits in vain. ``timeline`` places the
    captions of several runs, without it they stay where their recording has them. ``clock``: times of day in ``text``,
    which has a final's language where that is another than before, from English on.
    """

    def __init__(
        self,
        format_: Format,
        *,
        words: bool = False,
        file: str | None = None,
        languages: Sequence[str] = (),
        timeline: Timeline | None = None,
        clock: bool = False,
    ) -> None:
        self._format = format_
        self._words = words
        self._file = file
        self._waiting = Waiting(languages)
        self._timeline = timeline
        self._clock = clock
        self._language = "en"  # of the last final
        self._written = 0  # finals or, of the caption formats, cues
        self._until = 0  # the end of the last cue, in ms

    def begin(self) -> str:
        """What stands before the first event."""
        return VTT_HEADER if self._format == "vtt" else ""

    def add(self, event: Event) -> str:
        """What the next event adds to the document: whole lines, or nothing."""
        if self._format == "jsonl":
            return json_line(event, words=self._words, file=self._file) + "\n"
        if self._format == "text":
            return self._text(event)
        return self._cues(self._waiting.add(event))

    def end(self) -> str:
        """What the end of the stream adds."""
        return "" if self._format in {"jsonl", "text"} else self._cues(self._waiting.rest())

    def _text(self, event: Event) -> str:
        if not event.text:  # what partials showed is taken back
            return ""
        if isinstance(event, Translation):
            return f"{translation_line(event, clock=self._clock)}\n" if event.final else ""
        if not isinstance(event, Final):
            return ""
        title = f"{printable(self._file)}:\n" if self._file is not None and not self._written else ""
        self._written += 1
        changed = bool(event.language) and event.language != self._language
        self._language = event.language or self._language
        lines = text_lines(event, words=self._words, clock=self._clock, language=changed)
        return title + "".join(f"{line}\n" for line in lines)

    def _cues(self, ready: Iterable[Translated]) -> str:
        cues: list[Caption] = []
        for final, translations in ready:
            placed = final if self._timeline is None else self._timeline.place(final)
            cues += bilingual(placed, translations, after=cues[-1].end if cues else self._until)
        if cues:
            self._until = cues[-1].end
        first, self._written = self._written + 1, self._written + len(cues)
        if self._format == "srt":
            return "".join(srt_cue(number, cue) for number, cue in enumerate(cues, first))
        return "".join(vtt_cue(cue, words=self._words) for cue in cues)
