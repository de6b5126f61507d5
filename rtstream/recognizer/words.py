"""Words with times and confidence from the CTC alignment of a text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from rtstream.events import Word
from rtstream.recognizer.ctc_search import LogProbs, align

if TYPE_CHECKING:
    from collections.abc import Sequence


def spell(text: str, letters: str) -> list[list[int]]:
    """CTC symbols of each word of a text; empty for a word without letters that CTC knows."""
    words = []
    for word in text.split():
        plain = unicodedata.normalize("NFKD", word.lower())
        words.append([letters.index(c) + 1 for c in plain if c in letters and c != " "])
    return words


def join(words: list[list[int]], letters: str) -> list[int]:
    """The symbols of all words with the space's between them."""
    space = letters.index(" ") + 1
    joined: list[int] = []
    for word in filter(None, words):
        joined += [space, *word] if joined else word
    return joined


def time_words(text: str, log_probs: LogProbs, letters: str, start: int, frame: int) -> tuple[Word, ...]:
    """Each word of ``text`` with its place in the source, in samples, and its confidence.

    ``start`` is the position of the first frame, ``frame`` the samples from one to the next. Confidence is the
    geometric mean of CTC's posteriors of the word's letters where they lie, so a word that CTC does not hear is near 0.
    Words without letters take the gap between their neighbours and the confidence 0; where the text does not fit at
    all, words share the time evenly.
    """
    names = text.split()
    spelt = spell(text, letters)
    aligned = align(log_probs, join(spelt, letters)) if any(spelt) else None
    if aligned is None:
        bounds = np.linspace(0, len(log_probs), len(names) + 1).astype(int) * frame + start
        return tuple(Word(n, int(a), int(b), 0.0) for n, a, b in zip(names, bounds, bounds[1:], strict=False))
    words: list[Word] = []
    position, end = 0, start
    for name, symbols in zip(names, spelt, strict=True):
        if not symbols:
            words.append(Word(name, end, end, 0.0))
            continue
        position += 1 if position else 0  # the space
        span = slice(position, position + len(symbols))
        position += len(symbols)
        first = start + int(aligned.first[span][0]) * frame
        end = start + (int(aligned.last[span][-1]) + 1) * frame
        words.append(Word(name, first, end, float(np.exp(aligned.scores[span].mean()))))
    return tuple(words)


def mean_confidence(words: Sequence[Word]) -> float | None:
    """How sure a text is, from its words: the mean of their confidence by their length; None without any."""
    length = sum(len(word.text) for word in words)
    return sum(word.confidence * len(word.text) for word in words) / length if length else None
