"""What CTC posteriors say: a greedy text, where the letters of a given text lie, and how well it fits.

Log-probabilities are float32 arrays (frames, symbols), symbol 0 the blank (Graves et al. 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtstream.nn.ctc import BLANK

LogProbs = NDArray[np.float32]


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
class Alignment:
    """The best path through a given text.

    ``first`` and ``last``: frames of each symbol (inclusive), int arrays (symbols,); ``scores``: mean log-probability
    of each symbol over its frames; ``total``: log-probability of the whole path.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    scores: NDArray[np.float32]
    total: float


def align(log_probs: LogProbs, symbols: list[int]) -> Alignment | None:
    """Viterbi alignment of ``symbols`` to all frames; None where they do not fit into so few frames."""
    frames, states = len(log_probs), 2 * len(symbols) + 1
    labels = np.full(states, BLANK)
    labels[1::2] = symbols
    # A path may skip the blank between two different symbols.
    skips = np.zeros(states, dtype=bool)
    skips[3::2] = labels[3::2] != labels[1:-2:2]
    emitted = log_probs[:, labels]
    score = np.full(states, -np.inf, dtype=np.float32)
    score[:2] = emitted[0, :2] if frames else -np.inf
    back = np.zeros((frames, states), dtype=np.int8)
    candidates = np.full((3, states), -np.inf, dtype=np.float32)
    for frame in range(1, frames):
        candidates[0] = score
        candidates[1, 1:] = score[:-1]
        candidates[2, 2:] = np.where(skips[2:], score[:-2], -np.inf)
        back[frame] = candidates.argmax(axis=0)
        score = candidates[back[frame], np.arange(states)] + emitted[frame]
    state = states - 1 if states == 1 or score[-1] >= score[-2] else states - 2
    total = float(score[state]) if frames else -np.inf
    if not np.isfinite(total):
        return None
    path = np.empty(frames, dtype=np.int64)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(back[frame, state])
    spans = [np.flatnonzero(path == 2 * index + 1) for index in range(len(symbols))]
    scores = np.array([emitted[span, 2 * i + 1].mean() for i, span in enumerate(spans)], dtype=np.float32)
    return Alignment(np.array([s[0] for s in spans]), np.array([s[-1] for s in spans]), scores, total)


def best_total(log_probs: LogProbs) -> float:
    """Log-probability of the best path of any text."""
    return float(log_probs.max(axis=1).sum())


def excess(log_probs: LogProbs, symbols: list[int]) -> float:
    """Nats by which the best path through the symbols is worse than the best path of all; infinite where none fits."""
    aligned = align(log_probs, symbols)
    return np.inf if aligned is None else best_total(log_probs) - aligned.total
