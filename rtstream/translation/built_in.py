"""rtstream's own translation model: one small Transformer for all its languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.bundle.pieces import END_ID, PAD_ID, UNKNOWN_ID
from rtstream.engine.open import load_text_bundle
from rtstream.errors import BundleError, TranslationError
from rtstream.languages import known_as
from rtstream.translation.search import Rules, Task, forbidden, search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.engine.open import TextBundle

BEAMS = (1, 4)
"""The least and the most hypotheses that go on side by side."""
LONGEST_PART = 120
"""Pieces of a source that are translated in one go at most; training has few that are longer."""
BATCH_PIECES = 2000
"""Source pieces of what is translated together."""


class BuiltInTranslator:
    """A bundle of rtstream's own, as :class:`~rtstream.translation.translator.Translator`. Made by :meth:`open`."""

    def __init__(self, bundle: TextBundle, *, beam: int = 1) -> None:
        if not BEAMS[0] <= beam <= BEAMS[1]:
            msg = f"beam ({beam}) must be from {BEAMS[0]} to {BEAMS[1]}"
            raise TranslationError(msg)
        self.bundle, self.beam = bundle, beam
        self._pieces, self._engine = bundle.tokenizer, bundle.engine
        # The translation must have room too, and may be twice as long.
        self._longest = min(LONGEST_PART, (bundle.engine.config.decoder.max_tokens - 4) // 2)
        size = len(self._pieces)
        banned = [PAD_ID, UNKNOWN_ID, *self._pieces.languages.values()]
        inside = [number for number in range(size) if self._pieces.continues_word(number)]
        self._rules = Rules(END_ID, self._pieces.copy, PAD_ID, forbidden(size, banned), forbidden(size, inside))

    @classmethod
    def open(cls, directory: Path, *, beam: int = 1, engine: str = "onnx") -> BuiltInTranslator:
        """Load a bundle. Raises TranslationError where it is missing, broken or of another kind."""
        try:
            return cls(load_text_bundle(directory, engine), beam=beam)
        except BundleError as error:
            raise TranslationError(str(error)) from error

    @property
    def languages(self) -> tuple[str, ...]:
        """The target languages that it knows, as BCP 47 tags."""
        return tuple(self._pieces.languages)

    def translate(self, text: str, language: str, prefix: str = "") -> str:
        """Translate a sentence, or the beginning of one.

        ``prefix``: whole words of the target language with which the translation must begin; the result includes it,
        letter for letter. An empty ``text`` gives ``prefix``. A text of more than ``LONGEST_PART`` pieces is
        translated in parts, of which the first begins with the prefix. Raises TranslationError for a language that is
        not known.
        """
        symbol = self._symbol(language)
        parts = self._parts(text)
        if not parts:
            return prefix
        begun, taken = self._pieces.encode(prefix)
        room = self._engine.config.decoder.max_tokens - 2
        out = prefix
        for number, part in enumerate(parts):
            ids, runs = self._pieces.encode(part)
            forced = begun if number == 0 else []
            if len(forced) >= room:  # nothing can follow what fills the model
                continue
            left = runs[len(taken) :] if number == 0 else runs
            glue = not out or not out[-1].isalnum()
            task = Task([symbol, *ids, END_ID], [symbol, *forced], len(left), glue=glue or not forced)
            (found,) = search(self._engine, [task], self._rules, self.beam)
            out = self._joined(out, found, left)
        return out

    def translate_batch(self, texts: Sequence[str], language: str) -> list[str]:
        """Translate many sentences, those of about one length together. Raises TranslationError as ``translate``."""
        symbol = self._symbol(language)
        encoded = [self._pieces.encode(text) for text in texts]
        out = ["" for _ in texts]
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index][0]))
        while order:
            longest = len(encoded[order[-1]][0])
            if longest > self._longest:
                index = order.pop()
                out[index] = self.translate(texts[index], language)
                continue
            count = max(1, BATCH_PIECES // (longest + 2))
            some = [index for index in order[-count:] if encoded[index][0]]
            del order[-count:]
            if not some:
                continue
            tasks = [Task([symbol, *encoded[i][0], END_ID], [symbol], len(encoded[i][1])) for i in some]
            for index, found in zip(some, search(self._engine, tasks, self._rules, self.beam), strict=True):
                out[index] = self._pieces.decode(found, encoded[index][1])
        return out

    def with_beam(self, beam: int) -> BuiltInTranslator:
        """The same weights with another beam. Raises TranslationError for one that is not from 1 to 4."""
        return BuiltInTranslator(self.bundle, beam=beam)

    def count(self, text: str) -> int:
        """Number of pieces of a text, its end included."""
        return len(self._pieces.encode(text)[0]) + 1

    def _symbol(self, language: str) -> int:
        name = known_as(language, self.languages)
        if name is None:
            msg = f"this model does not know '{language}'; it knows {', '.join(self.languages)}"
            raise TranslationError(msg)
        return self._pieces.languages[name]

    def _joined(self, before: str, found: Sequence[int], runs: Sequence[str]) -> str:
        text = self._pieces.decode(found, runs)
        apart = bool(before and text) and not before[-1].isspace() and self._pieces.begins_word(found[0])
        return f"{before} {text}" if apart else before + text

    def _parts(self, text: str) -> list[str]:
        """The text, or, where it is too long for one go, parts of it that end where a sentence does if one does."""
        if len(self._pieces.encode(text)[0]) <= self._longest:
            return [text] if text.strip() else []
        parts: list[str] = []
        part: list[str] = []
        pieces = 0
        for word in text.split():
            size = len(self._pieces.encode(word)[0])
            if part and (pieces + size > self._longest or (pieces > self._longest // 2 and part[-1][-1] in ".?!")):
                parts.append(" ".join(part))
                part, pieces = [], 0
            if size > self._longest:  # no word of any language
                continue
            part.append(word)
            pieces += size
        return [*parts, " ".join(part)] if part else parts
