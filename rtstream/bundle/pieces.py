"""The tokenizer of a translation model: SentencePiece (Kudo and Richardson 2018), one table for all languages.

A word with a character that the table lacks is nothing that a model could spell. A run of such words becomes one
``COPY`` token, which the model has learnt to carry over, and comes back in its place.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import sentencepiece

from rtstream.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

COPY = "<copy>"
PAD_ID, UNKNOWN_ID, END_ID = 0, 1, 2
"""What ``train`` gives these; there is no token that begins a text: the target language does."""


def language_symbol(language: str) -> str:
    """The piece that stands for a target language."""
    return f"<{language}>"


class PieceTokenizer:
    """Text to ids of ``data``, a serialized SentencePiece model, and back. Raises BundleError where it is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._pieces = sentencepiece.SentencePieceProcessor()
        try:
            self._pieces.load_from_serialized_proto(data)
        except (RuntimeError, TypeError) as error:
            msg = f"not a SentencePiece model ({error})"
            raise BundleError(msg) from error
        if self._pieces.eos_id() != END_ID or self._pieces.unk_id() != UNKNOWN_ID or self._control(COPY) is None:
            msg = f"a SentencePiece model without the tokens of a translation model ({COPY}, end {END_ID})"
            raise BundleError(msg)

    def __len__(self) -> int:
        return int(self._pieces.get_piece_size())

    def __getstate__(self) -> bytes:
        """Only the data: a processor belongs to its process."""
        return self.data

    def __setstate__(self, data: bytes) -> None:
        self.__init__(data)  # type: ignore[misc]

    def _control(self, piece: str) -> int | None:
        number = int(self._pieces.piece_to_id(piece))
        return number if number != UNKNOWN_ID and self._pieces.is_control(number) else None

    @cached_property
    def copy(self) -> int:
        """Id of ``COPY``."""
        number = self._control(COPY)
        assert number is not None
        return number

    @cached_property
    def languages(self) -> dict[str, int]:
        """The target languages and their tokens' ids, in the order of the ids."""
        found = {}
        for number in range(len(self)):
            piece = self._pieces.id_to_piece(number)
            if self._pieces.is_control(number) and number != END_ID and piece not in {COPY, "<pad>"}:
                found[piece[1:-1]] = number
        return found

    def encode(self, text: str) -> tuple[list[int], list[str]]:
        """Ids of a text, no language and no end; and the runs of unknown words for which ``copy`` stands, in order."""
        ids: list[int] = self._pieces.encode(text)
        if UNKNOWN_ID not in ids and COPY not in text:
            return ids, []
        ids, runs = [], []
        known: list[str] = []
        unknown: list[str] = []
        for word in [*text.split(), ""]:
            if word and (word == COPY or UNKNOWN_ID in self._pieces.encode(word)):
                ids += self._pieces.encode(" ".join(known))
                known = []
                unknown.append(word)
                continue
            if unknown:
                ids.append(self.copy)
                runs.append(" ".join(unknown))
                unknown = []
            known.append(word)
        return ids + self._pieces.encode(" ".join(known)), runs

    def decode(self, ids: Iterable[int], runs: Sequence[str] = ()) -> str:
        """The text of ids: each ``copy`` is the next of ``runs``, one without a run is left out, as controls are."""
        parts: list[str] = []
        current: list[int] = []
        left = list(runs)
        for number in ids:
            if number != self.copy:
                current.append(number)
                continue
            parts += [self._pieces.decode(current), left.pop(0) if left else ""]
            current = []
        return " ".join(part for part in [*parts, self._pieces.decode(current)] if part)

    def begins_word(self, number: int) -> bool:
        """Whether a piece starts a new word."""
        return number == self.copy or str(self._pieces.id_to_piece(number)).startswith("\N{LOWER ONE EIGHTH BLOCK}")

    def continues_word(self, number: int) -> bool:
        """Whether a piece, put after a letter or digit, would go on with the same word."""
        return not self._pieces.is_control(number) and str(self._pieces.id_to_piece(number))[:1].isalnum()

    def save(self, path: Path) -> None:
        """Write the SentencePiece model, whole or not at all."""
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(self.data)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> PieceTokenizer:
        """Read what ``save`` wrote. Raises BundleError naming the file where it is not that."""
        try:
            return cls(path.read_bytes())
        except (OSError, BundleError) as error:
            msg = f"{path}: {error}: copy the bundle again"
            raise BundleError(msg) from error
