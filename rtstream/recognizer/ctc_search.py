"""What CTC posteriors say: a greedy text, where the letters of a given text lie, and how well it fits.

Log-probabilities are float32 arrays (frames, symbols), symbol 0 the blank (Graves et al. 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtstream.model.config import BLANK

LogProbs = NDArray[np.float32]
BEGIN = -1
"""In the place of a symbol that comes before another: that it may be the first."""


def greedy_symbols(log_probs: LogProbs) -> list[int]:
    """The best path's symbols, repeats merged and blanks dropped."""
    best = log_probs.argmax(axis=1)
    changed = np.ones(len(best), dtype=bool)
    changed[1:] = best[1:] != best[:-1]
    return [int(symbol) for symbol in best[changed & (best != BLANK)]]


def greedy_text(log_probs: LogProbs, letters: str) -> str:
    """The best path's text, single spaces between words."""
    return " ".join("".join(letters[symbol - 1] for symbol in greedy_symbols(log_probs)).split())


@dataclass(frozen=True, slots=True)
class Readings:
    """Texts that are said in several ways, as a graph without cycles.

    ``symbols``: those of all ways; ``before``: of each, the places of those that may stand before it, all of them
    smaller than its own, or ``BEGIN``; ``last``: the places of those that may end it, ``BEGIN`` where nothing may be
    said at all.
    """

    symbols: list[int]
    before: list[list[int]]
    last: list[int]

    @classmethod
    def of(cls, symbols: list[int]) -> Readings:
        """A text that is said in one way."""
        return cls(symbols, [[place - 1] for place in range(len(symbols))], [len(symbols) - 1])


@dataclass(frozen=True, slots=True)
class Alignment:
    """The best path through a given text.

    ``places``: of its symbols among those of the ``Readings``, int array (symbols,); ``first`` and ``last``: frames of
    each (inclusive), likewise; ``scores``: mean log-probability of each over its frames; ``total``: log-probability of
    the whole path.
    """

    places: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    scores: NDArray[np.float32]
    total: float


def align(log_probs: LogProbs, text: list[int] | Readings) -> Alignment | None:
    """Viterbi alignment of a text, in whichever way fits best, to all frames; None where none fits into so few."""
    readings = text if isinstance(text, Readings) else Readings.of(text)
    graph = _Graph(readings)
    if not len(log_probs):
        return None
    emitted = log_probs[:, graph.labels]
    score = np.full(len(graph.labels), -np.inf, dtype=np.float32)
    score[graph.initial] = emitted[0, graph.initial]
    history = np.empty_like(emitted)
    history[0] = score
    stay, *others = graph.sources
    for frame in range(1, len(log_probs)):
        newest = history[frame]
        np.take(score, stay, out=newest)
        for other in others:
            np.maximum(newest, score[other], out=newest)
        newest += emitted[frame]
        score = newest
    state = max(graph.final, key=lambda each: score[each])
    total = float(score[state])
    if not np.isfinite(total):
        return None
    path = np.empty(len(log_probs), dtype=np.int64)
    for frame in range(len(log_probs) - 1, -1, -1):
        path[frame] = state
        if frame:
            sources = graph.sources[:, state]
            state = int(sources[history[frame - 1, sources].argmax()])
    return _alignment(path, emitted, total)


def _alignment(path: NDArray[np.int64], emitted: LogProbs, total: float) -> Alignment:
    said = np.flatnonzero(path % 2)  # frames of symbols, not of blanks
    begins = said[np.flatnonzero(np.diff(path[said], prepend=-1))]
    ends = said[np.flatnonzero(np.diff(path[said], append=-1))]
    scores = [emitted[first : last + 1, path[first]].mean() for first, last in zip(begins, ends, strict=True)]
    return Alignment(path[begins] // 2, begins, ends, np.array(scores, dtype=np.float32), total)


class _Graph:
    """The states of a path: of each symbol one (odd), of the blank before it another (even), a last blank's.

    ``sources`` (most, states): those from which each is reached, filled up with itself.
    """

    def __init__(self, readings: Readings) -> None:
        count = len(readings.symbols)
        self.labels = np.full(2 * count + 1, BLANK)
        self.labels[1::2] = readings.symbols
        reached: list[list[int]] = []
        self.initial: list[int] = []
        for place, (symbol, before) in enumerate(zip(readings.symbols, readings.before, strict=True)):
            states = [2 * each + 1 for each in before if each != BEGIN]
            reached.append([2 * place, *states])
            # A path may skip the blank between two different symbols.
            reached.append([2 * place + 1, 2 * place, *(s for s in states if self.labels[s] != symbol)])
            if BEGIN in before:
                self.initial += [2 * place, 2 * place + 1]
        ends = [2 * each + 1 for each in readings.last if each != BEGIN]
        reached.append([2 * count, *ends])
        if BEGIN in readings.last:
            self.initial.append(2 * count)
        self.final = [2 * count, *ends]
        most = max(map(len, reached))
        self.sources = np.array([states + states[:1] * (most - len(states)) for states in reached]).T.copy()


def best_total(log_probs: LogProbs) -> float:
    """Log-probability of the best path of any text."""
    return float(log_probs.max(axis=1).sum())


def excess(log_probs: LogProbs, text: list[int] | Readings) -> float:
    """Nats by which the best path through a text is worse than the best path of all; infinite where none fits."""
    aligned = align(log_probs, text)
    return np.inf if aligned is None else best_total(log_probs) - aligned.total
