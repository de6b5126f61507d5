"""Words with times and confidence from the CTC alignment of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rtstream.events import Word
from rtstream.recognizer.evidence import Evidence
from rtstream.recognizer.spoken_graph import spell_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.recognizer.ctc_search import LogProbs


def spell(text: str, letters: str) -> list[list[int]]:
    """CTC symbols of each word of a text; empty for a word without letters that CTC knows."""
    return [spell_word(word, letters) for word in text.split()]


def join(words: list[list[int]], letters: str) -> list[int]:
    """The symbols of all words with the space's between them."""
    space = letters.index(" ") + 1
    joined: list[int] = []
    for word in filter(None, words):
        joined += [space, *word] if joined else word
    return joined


def time_words(
    text: str, log_probs: LogProbs, letters: str, start: int, frame: int, *, language: str = "en"
) -> tuple[Word, ...]:
    """Each word of ``text`` with its place in the source, in samples, and its confidence.

    ``start`` is the position of the first frame, ``frame`` the samples from one to the next. Confidence is the
    geometric mean of CTC's posteriors of the word's letters where they lie, so a word that CTC does not hear is near 0;
    numbers have the letters of the way of saying them that CTC hears. Words without letters take the gap between their
    neighbours and the confidence 0; where the text does not fit at all, words share the time evenly.
    """
    return placed_words(text, Evidence(log_probs, letters, language), start, frame)


def placed_words(text: str, evidence: Evidence, start: int, frame: int) -> tuple[Word, ...]:
    """The same by what has been asked about before."""
    names = text.split()
    forms, aligned = evidence.aligned(text)
    if aligned is None or not forms.words:
        bounds = np.linspace(0, len(evidence.log_probs), len(names) + 1).astype(int) * frame + start
        return tuple(Word(n, int(a), int(b), 0.0) for n, a, b in zip(names, bounds, bounds[1:], strict=False))
    words: list[Word] = []
    end = start
    owners = np.array(forms.words)[aligned.places]
    for index, name in enumerate(names):
        own = np.flatnonzero(owners == index)
        if not len(own):
            words.append(Word(name, end, end, 0.0))
            continue
        first = start + int(aligned.first[own[0]]) * frame
        end = start + (int(aligned.last[own[-1]]) + 1) * frame
        words.append(Word(name, first, end, float(np.exp(aligned.scores[own].mean()))))
    return tuple(words)


def mean_confidence(words: Sequence[Word]) -> float | None:
    """How sure a text is: the mean of its words' confidence by their letters and digits; None without any."""
    lengths = [sum(map(str.isalnum, word.text)) for word in words]
    sure = sum(word.confidence * length for word, length in zip(words, lengths, strict=True))
    return sure / sum(lengths) if any(lengths) else None
