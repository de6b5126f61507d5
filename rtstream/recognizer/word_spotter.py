"""Where phrases could stand, as CTC hears it: a word spotter over all phrases at once.

The search of Andrusenko et al. 2024 (arXiv 2406.07096), with one row of states instead of a graph of prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.model.config import BLANK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rtstream.recognizer.ctc_search import LogProbs

HALF_HEARD_LETTERS = 3
HALF_HEARD_EXCESS = 0.5
"""Nats a letter within which the beginning of a phrase counts as being said."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a phrase could stand: its number, first and last frame, nats by which its path is worse than the best."""

    phrase: int
    first: int
    last: int
    excess: float


@dataclass(frozen=True, slots=True)
class SpotterState:
    """Frames heard; for each CTC state of all phrases the least excess and that path's first frame; what was found."""

    frames: int
    excess: NDArray[np.float32]
    begin: NDArray[np.int64]
    found: tuple[Spot, ...]


class Spotter:
    """All phrases as one row of CTC states, letter, blank, letter ..., through which paths begin and end anywhere.

    ``symbols``: CTC's, of each phrase. ``max_excess``: nats a letter beyond which a path is none.
    """

    def __init__(self, symbols: Sequence[list[int]], max_excess: float) -> None:
        lengths = np.array([len(spelt) for spelt in symbols])
        self._limits = max_excess * lengths
        self._last = np.cumsum(2 * lengths - 1) - 1
        self._first = self._last - 2 * lengths + 2
        self._labels = np.full(self._last[-1] + 1, BLANK)
        self._letters = np.zeros(len(self._labels), np.int64)  # heard so far
        self._skip = np.full(len(self._labels), np.inf, np.float32)  # the cost of passing over a blank
        for first, spelt in zip(self._first, symbols, strict=True):
            self._labels[first : first + 2 * len(spelt) : 2] = spelt
            self._letters[first : first + 2 * len(spelt) - 1] = np.arange(2, 2 * len(spelt) + 1) // 2
            for index in range(1, len(spelt)):
                if spelt[index] != spelt[index - 1]:
                    self._skip[first + 2 * index] = 0.0

    def initial_state(self) -> SpotterState:
        """Nothing heard."""
        states = len(self._labels)
        return SpotterState(0, np.full(states, np.inf, np.float32), np.zeros(states, np.int64), ())

    def step(self, log_probs: LogProbs, state: SpotterState) -> SpotterState:
        """Hear (frames, symbols) further posteriors."""
        excess, begin = state.excess, state.begin
        moved, skipped = np.empty_like(excess), np.full_like(excess, np.inf)
        came, leapt = np.empty_like(begin), np.zeros_like(begin)
        found = list(state.found)
        newest = {spot.phrase: index for index, spot in enumerate(found)}
        for frame, row in enumerate(log_probs.max(axis=1, keepdims=True) - log_probs, start=state.frames):
            moved[1:], came[1:] = excess[:-1], begin[:-1]
            moved[self._first], came[self._first] = 0.0, frame  # a path begins
            skipped[2:], leapt[2:] = excess[:-2] + self._skip[2:], begin[:-2]
            best = np.minimum(np.minimum(excess, moved), skipped)
            begin = np.where(best == excess, begin, np.where(best == moved, came, leapt))
            excess = best + row[self._labels]
            for phrase in np.flatnonzero(excess[self._last] <= self._limits).tolist():
                at = self._last[phrase]
                spot = Spot(phrase, int(begin[at]), frame, float(excess[at]))
                before = newest.get(phrase)
                if before is None or spot.first > found[before].last:
                    newest[phrase] = len(found)
                    found.append(spot)
                elif spot.excess < found[before].excess:
                    found[before] = spot
        return SpotterState(state.frames + len(log_probs), excess, begin, tuple(found))

    def half_heard(self, state: SpotterState) -> int | None:
        """The first frame of what may be the beginning of a phrase that is still being said, if there is one."""
        likely = (self._letters >= HALF_HEARD_LETTERS) & (state.excess <= HALF_HEARD_EXCESS * self._letters)
        likely[self._last] = False
        return int(state.begin[likely].min()) if likely.any() else None
