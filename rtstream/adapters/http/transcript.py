"""What was recognised of a recording, in OpenAI's forms."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Literal

from rtstream.adapters.http.language import NAMES
from rtstream.events import SAMPLE_RATE
from rtstream.formats.writer import EventWriter
from rtstream.languages import main_language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.bundle.tokenizer import Task
    from rtstream.events import Final


class Transcript:
    """Grows by finals. ``samples`` were read; ``fault``: a code and a line, if not all could be.

    ``languages``: those that a client has asked for. ``task``: what its finals are.
    """

    def __init__(self, languages: Sequence[str] = (), task: Task = "transcribe") -> None:
        self._languages = languages
        self._task = task
        self.samples = 0
        self.fault: tuple[str, str] | None = None
        self._finals: list[Final] = []

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(final.text for final in self._finals)

    @property
    def language(self) -> str:
        """The one in which most was said; that which was asked for where nothing was."""
        return main_language(self._finals) or next(iter(self._languages), "")

    def add(self, final: Final) -> str:
        """Take a final; gives what it adds to the text."""
        self._finals.append(final)
        return final.text if len(self._finals) == 1 else f" {final.text}"

    def json(self) -> dict[str, Any]:
        """The short form; ``fault`` is our own, and there only if there is one."""
        seconds = math.ceil(self.samples / SAMPLE_RATE)
        return {"text": self.text, "usage": {"type": "duration", "seconds": seconds}, **self._fault()}

    def verbose(self, *, words: bool, segments: bool) -> dict[str, Any]:
        """The long form."""
        found: dict[str, Any] = {
            "task": self._task,
            "language": NAMES.get(self.language, self.language),
            "duration": round(self.samples / SAMPLE_RATE, 3),
            "text": self.text,
        }
        if segments:
            found["segments"] = [_segment(number, final) for number, final in enumerate(self._finals)]
        if words:
            found["words"] = [
                {"word": word.text, "start": _seconds(word.start), "end": _seconds(word.end)}
                for final in self._finals
                for word in final.words
            ]
        seconds = math.ceil(self.samples / SAMPLE_RATE)
        return found | {"usage": {"type": "duration", "seconds": seconds}, **self._fault()}

    def captions(self, form: Literal["srt", "vtt"]) -> str:
        """Captions, as replay writes them."""
        writer = EventWriter(form)
        return "".join([writer.begin(), *map(writer.add, self._finals), writer.end()])

    def _fault(self) -> dict[str, Any]:
        if self.fault is None:
            return {}
        code, message = self.fault
        return {"fault": {"code": code.lower(), "message": message}}


def _segment(number: int, final: Final) -> dict[str, Any]:
    """A segment. Clients look for all of these fields, some of which are Whisper's own: docs/http.md says what of."""
    text = final.text.encode()
    confidence = 1.0 if final.confidence is None else final.confidence
    return {
        "id": number,
        "seek": 0,
        "start": _seconds(final.start),
        "end": _seconds(final.end),
        "text": f" {final.text}" if number else final.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(confidence, 1e-4)), 4),
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 3),
        "no_speech_prob": 0.0,
        "confidence": round(confidence, 3),
        "language": final.language,
    }


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
