"""What translates text into any number of target languages."""

from __future__ import annotations

from typing import Protocol


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
