"""The model of the service: one set of weights, and pipelines from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rtstream.bundle.default import model_path
from rtstream.engine.open import load_bundle
from rtstream.errors import ConfigError
from rtstream.languages import choose
from rtstream.recognizer.memory import return_freed_memory
from rtstream.recognizer.pipeline import Pipeline, Segments
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.config import Recognition, Text
    from rtstream.events import SegmentAudio
    from rtstream.recognizer.phrases import Phrase
    from rtstream.recognizer.recognizer import Translated


class LoadedModel:
    """The weights that the settings name. Loading sets torch's number of threads for the whole process.

    Raises BundleError, and ConfigError for languages that the model does not know.
    """

    def __init__(self, settings: Recognition, text: Text) -> None:
        self._settings = settings
        self._text = text
        self._bundle = load_bundle(model_path(settings.model), settings.engine, threads=settings.threads)
        return_freed_memory()  # what unpacking took; there may be no segment for hours
        self.name = self._bundle.name
        self.engine = self._bundle.engine.name
        self.languages = self._bundle.languages
        """That it recognises, as BCP 47 tags."""
        self._check(settings.languages)

    def own(
        self, phrases: tuple[Phrase, ...], languages: tuple[str, ...], translate: Translated = "nothing"
    ) -> Recognizer:
        """The recognizer of the service's own source; ``languages`` that may be spoken, none: any.

        Raises ConfigError for languages that the model does not know, and where it cannot translate speech.
        """
        self._check(languages)
        settings = self._settings
        return self._recognizer(
            settings.chunk_ms, settings.partials, phrases, languages, translate, words=settings.words
        )

    def for_client(
        self,
        chunk_ms: int | None,
        phrases: tuple[Phrase, ...],
        languages: tuple[str, ...],
        translate: Translated = "nothing",
        *,
        partials: bool,
        words: bool,
    ) -> Recognizer:
        """A recognizer of a client's own; ``languages`` that may be spoken, none: any.

        Raises ConfigError for chunks of a length, for languages and for a translation that the model does not know.
        """
        written = self._settings.partials if partials else "none"
        return self._recognizer(
            chunk_ms or self._settings.chunk_ms, written, phrases, languages, translate, words=words
        )

    def pipeline(
        self,
        recognizer: Recognizer,
        segments: Segments,
        tell_audio: Callable[[SegmentAudio], None] | None = None,
    ) -> Pipeline:
        """A stream from its beginning."""
        return Pipeline(recognizer, segments, tell_audio)

    def _check(self, languages: tuple[str, ...]) -> None:
        try:
            choose(languages, self.languages)
        except ValueError as error:
            raise ConfigError(f"recognition.language: {error}") from None

    def _recognizer(
        self,
        chunk_ms: int,
        partials: Literal["decoder", "ctc", "none"],
        phrases: tuple[Phrase, ...],
        languages: tuple[str, ...],
        translate: Translated,
        *,
        words: bool,
    ) -> Recognizer:
        config = RecognizerConfig(
            chunk_ms,
            partials,
            full_context=self._settings.full_context,
            beam=self._settings.beam,
            words=words,
            numbers=self._text.numbers,
            phrases=phrases,
            languages=languages,
            translate=translate,
        )
        return Recognizer(self._bundle, config)
