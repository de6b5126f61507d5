"""How late a growing translation is, and how much of it is taken back.

Latency: Length-Adaptive Average Lagging, LAAL (arXiv 2206.05807). Stability: Normalized Erasure (arXiv 1912.03393,
2004.03643). Both are the papers' definitions, over words; the tools that have LAAL (SimulEval, OmniSTEval) read logs
of whole runs, and neither has the erasure.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Output:
    """What stood on the screen when ``heard`` of the source had been heard, in seconds or words of it."""

    heard: float
    words: tuple[str, ...]


def common(before: Sequence[str], after: Sequence[str]) -> int:
    """Length of the longest common prefix."""
    pairs = zip(before, after, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))


def erased_words(outputs: Sequence[Sequence[str]]) -> int:
    """Words that were taken back: those of each output behind what it has in common with the next one."""
    return sum(len(o) - common(o, n) for o, n in pairwise(outputs))


def normalized_erasure(runs: Iterable[Sequence[Sequence[str]]]) -> float:
    """Words taken back for each word of the last outputs; a run is the outputs for one text. 0: none ever was."""
    erased = final = 0
    for outputs in runs:
        erased += erased_words(outputs)
        final += len(outputs[-1]) if outputs else 0
    return erased / final if final else 0.0


def delays(outputs: Sequence[Output]) -> list[float]:
    """For each word of the last output, what had been heard when it was there for good, as were all before it."""
    if not outputs:
        return []
    last = outputs[-1].words
    found = [outputs[-1].heard] * len(last)
    kept = len(last)
    for output in reversed(outputs):
        kept = min(kept, common(output.words, last))
        found[:kept] = [output.heard] * kept
    return found


def laal(found: Sequence[float], source: float, reference: int) -> float | None:
    """The average lag behind a speaker whose words are translated at an even pace, in the unit of ``source``.

    ``found``: each word's delay, ``source``: length of the source, ``reference``: words of the reference translation.
    The words up to the first one that has the whole source count. None where there is no word or no source.
    """
    if not found or source <= 0:
        return None
    pace = source / max(len(found), reference)
    counted = next((n for n, delay in enumerate(found, start=1) if delay >= source), len(found))
    return sum(delay - n * pace for n, delay in enumerate(found[:counted])) / counted
