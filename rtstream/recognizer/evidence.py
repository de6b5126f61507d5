"""What CTC has to say of texts over the same frames: each text is aligned once, whoever asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rtstream.model.config import BLANK
from rtstream.recognizer.ctc_search import align, best_total, greedy_symbols
from rtstream.recognizer.spoken_forms import spoken_forms

if TYPE_CHECKING:
    from rtstream.recognizer.ctc_search import Alignment, LogProbs
    from rtstream.recognizer.spoken_graph import SpokenForms


@dataclass(frozen=True, slots=True)
class Support:
    """How CTC hears a text in the way of saying it that fits best.

    ``letters``: their number, spaces too; ``excess``: nats by which its best path is worse than the best path of all;
    ``gain``: nats by which it is better than to hear nothing; ``confidence``: the letters' mean posterior.
    """

    letters: int
    excess: float
    gain: float
    confidence: float


class Aligned(NamedTuple):
    """A text's ways of being said, and the best path through them; None where none fits into so few frames."""

    forms: SpokenForms
    path: Alignment | None


class Evidence:
    """CTC's posteriors of some frames, (frames, symbols), asked about texts in a language, an ISO 639-1 code.

    ``letters``: what the symbols are.
    """

    def __init__(self, log_probs: LogProbs, letters: str, language: str = "en") -> None:
        self.log_probs, self.letters, self.language = log_probs, letters, language
        self._aligned: dict[str, Aligned] = {}

    @cached_property
    def heard(self) -> int:
        """Letters, and spaces, of the best path of all."""
        return len(greedy_symbols(self.log_probs))

    @cached_property
    def best(self) -> float:
        """Log-probability of the best path of all."""
        return best_total(self.log_probs)

    @cached_property
    def silence(self) -> float:
        """Log-probability of the path that hears nothing."""
        return float(self.log_probs[:, BLANK].sum())

    def aligned(self, text: str) -> Aligned:
        """Where a text is said."""
        if text not in self._aligned:
            forms = spoken_forms(text, self.letters, self.language)
            self._aligned[text] = Aligned(forms, align(self.log_probs, forms.readings))
        return self._aligned[text]

    def support(self, text: str) -> Support | None:
        """How it is heard; None where nothing of the text has letters that CTC knows."""
        forms, path = self.aligned(text)
        if not forms.readings.symbols:
            return None
        if path is None:  # more letters than frames
            return Support(len(forms.readings.symbols), np.inf, -np.inf, 0.0)
        sure = float(np.exp(path.scores.mean())) if len(path.scores) else 0.0
        return Support(len(path.places), self.best - path.total, path.total - self.silence, sure)

    def penalty(self, text: str) -> float:
        """Nats by which the best path through a text, however it is said, is worse than the best path of all."""
        path = self.aligned(text).path
        return np.inf if path is None else self.best - path.total
