"""English words: CTC, which spells what it hears, is published alone only where that makes words."""

from __future__ import annotations

import lzma
from importlib import resources


class Lexicon:
    """What ``rtstream.training.corpus.lexicon`` makes: lower case, apostrophes inside words; half a megabyte."""

    def __init__(self) -> None:
        packed = resources.files("rtstream.recognizer").joinpath("lexicon.txt.xz").read_bytes()
        self._words = b"\n" + lzma.decompress(packed)

    def share(self, text: str) -> float:
        """The share of a text's words that are in the list; of no words 0."""
        words = text.lower().split()
        known = sum(f"\n{word}\n".encode() in self._words for word in words)
        return known / max(1, len(words))
