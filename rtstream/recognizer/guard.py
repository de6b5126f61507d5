"""Whether CTC, which cannot invent, bears out the decoder's text."""

from __future__ import annotations

from dataclasses import dataclass

from rtstream.recognizer.ctc_search import LogProbs, align, best_total, greedy_symbols
from rtstream.recognizer.words import join, spell


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Thresholds of the guard.

    ``min_letters``: letters that CTC must hear for anything to be published. ``max_excess``: nats a letter by which a
    text's best path may be worse than the best path of all. ``max_length_ratio``: letters of the text to those heard.
    """

    min_letters: int = 2
    max_excess: float = 3.0
    max_length_ratio: float = 2.5


def borne_out(text: str, log_probs: LogProbs, letters: str, config: GuardConfig) -> bool:
    """Whether the posteriors of a segment admit ``text``. An empty text always is."""
    symbols = join(spell(text, letters), letters)
    heard = len(greedy_symbols(log_probs))
    if not symbols:
        return True
    if heard < config.min_letters or len(symbols) > config.max_length_ratio * heard + 6:
        return False
    aligned = align(log_probs, symbols)
    return aligned is not None and best_total(log_probs) - aligned.total <= config.max_excess * len(symbols)
