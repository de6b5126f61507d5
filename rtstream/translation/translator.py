"""What translates: text, or speech as a recogniser encodes it, into any number of target languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rtstream.engine.base import F32


class Translator(Protocol):
    """One set of weights that translates English. Used by one thread at a time."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The target languages that it knows, as BCP 47 tags."""
        ...

    def translate(self, text: str, language: str, prefix: str = "") -> str:
        """Translate a sentence, or the beginning of one.

        ``prefix``: whole words of the target language with which the translation must begin; the result includes it,
        letter for letter. An empty ``text`` gives ``prefix``. Raises TranslationError for a language that is not known.
        """
        ...


class SpeechTranslator(Protocol):
    """One set of weights that translates English speech without a transcript. Used by one thread at a time."""

    def translate_speech(self, states: F32, language: str) -> str:
        """Translate a segment of speech: (n, d_model) states of its recogniser, full context, 50 a second.

        Raises TranslationError for a language that is not known, and for states that are another recogniser's.
        """
        ...
