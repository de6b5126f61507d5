"""Translations of a text that grows: shown early, and changed as little as can be."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rtstream.events import Final, Transcription, Translation
from rtstream.languages import join_words, split_words

if TYPE_CHECKING:
    from rtstream.translation.translator import Translator

ENDS = tuple(".?!…。\N{FULLWIDTH QUESTION MARK}\N{FULLWIDTH EXCLAMATION MARK}")
"""What ends a sentence."""

Keep = Literal["nothing", "partials", "all"]


@dataclass(frozen=True, slots=True)
class StabilizerConfig:
    """How partial transcripts are translated.

    ``mask``: the last so many words of a partial's translation are not shown, since what is said next is most likely
    to change them (mask-k, arXiv 1912.03393). ``keep``: what of a segment, once shown, is never taken back, since
    later translations are made to begin with it: ``partials`` keeps it until the final, which is translated anew;
    ``all`` in the final too; ``nothing`` lets every translation differ. ``context``: finals before the segment that
    are translated with it again, their own translations being kept.
    """

    mask: int = 3
    keep: Keep = "partials"
    context: int = 0


class Stabilizer:
    """The translations of one stream into one language. Give it the stream's events in order; some may be left out.

    ``partials`` translates what is still being said, by default ``translator``.
    """

    def __init__(
        self,
        translator: Translator,
        language: str,
        config: StabilizerConfig | None = None,
        *,
        partials: Translator | None = None,
    ) -> None:
        self.language = language
        self._partials = partials or translator
        self._translator = translator
        self._config = config or StabilizerConfig()
        self._segment: int | None = None
        self._shown = ""
        self._before: deque[tuple[str, str]] = deque(maxlen=self._config.context)

    def translate(self, event: Transcription) -> Translation | None:
        """The translation of a final, empty if it is; that of a partial as far as it is to be shown, None if no news.

        Raises TranslationError.
        """
        if event.segment != self._segment:
            self._segment, self._shown = event.segment, ""
        if isinstance(event, Final):
            self._segment = None
            if not event.text:  # what was shown is taken back, its translation too
                return Translation(
                    event.segment, event.start, event.end, "", self.language, final=True, time=event.time
                )
            text = self._run(self._translator, event.text, self._shown if self._config.keep == "all" else "")
            self._before.append((event.text, text))
            return self._translation(event, text)
        kept = "" if self._config.keep == "nothing" else self._shown
        text = self._run(self._partials, event.text, kept)
        text = self._visible(text, kept, ended=event.text.rstrip().endswith(ENDS))
        if text == self._shown:
            return None
        self._shown = text
        return self._translation(event, text)

    def _translation(self, event: Transcription, text: str) -> Translation:
        final = isinstance(event, Final)
        return Translation(event.segment, event.start, event.end, text, self.language, final, event.time)

    def _visible(self, text: str, kept: str, *, ended: bool) -> str:
        """What is shown of a partial's translation; ``ended``: the partial is a whole sentence."""
        if not ended and len(text) > len(kept):  # a sentence that is shown as whole could not be gone on with
            text = text.rstrip("".join(ENDS))
        words = split_words(text, self.language)
        shown = join_words(words[: max(0, len(words) - self._config.mask)], self.language)
        return kept if len(shown) < len(kept) else shown

    def _run(self, translator: Translator, text: str, prefix: str) -> str:
        """Translate behind the context, whose own translation the result is without."""
        source = " ".join([*(source for source, _ in self._before), text])
        given = [translation for _, translation in self._before if translation]
        forced = join_words([*given, prefix] if prefix else given, self.language)
        result = translator.translate(source, self.language, forced)
        return result[len(join_words(given, self.language)) :].strip()
