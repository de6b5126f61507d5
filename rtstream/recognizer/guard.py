"""Whether CTC, which cannot invent, bears out the decoder's text."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from rtstream.errors import BundleError
from rtstream.nn.ctc import BLANK
from rtstream.recognizer.ctc_search import LogProbs, align, excess, greedy_symbols, greedy_text
from rtstream.recognizer.numbers import say_numbers
from rtstream.recognizer.words import join, spell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rtstream.recognizer.final_pass import Opening

SMALL_NUMBER = re.compile(r"\W*(\d{1,2})\W*")
LETTERS_A_DIGIT = 10
"""The most letters that CTC hears for a digit ("70": seventy), spared from what it finds missing in a text."""


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Thresholds of the guard.

    ``min_letters``: letters that CTC must hear for anything to be published. ``max_excess``: nats a letter by which a
    text's best path may be worse than the best path of all. ``max_length_ratio``: letters of the text to those heard.
    ``max_no_speech``: the decoder's probability that nobody speaks, above which nothing is published (Whisper's own
    threshold, arXiv 2212.04356). ``min_confidence``: CTC's mean confidence in the letters of a text, for each unit of
    that probability; ``min_confidence_shown``: the same of a segment's first partial, which cannot be taken back.
    ``min_language``: the decoder's probability that the model's language is spoken and no other, below which nothing is
    published; ``min_language_shown``: the same of a segment's first partial; ``min_language_kept``: the same of a whole
    segment of which something has been shown, below which that is taken back.
    ``min_confidence_kept``: CTC's mean confidence in the letters of the decoder's text of a whole segment, from which
    on it is published whatever the decoder finds of silence and other languages.
    ``min_alone``: CTC's mean confidence in the letters of a text that it alone writes.
    """

    min_letters: int = 2
    max_excess: float = 3.0
    max_length_ratio: float = 2.5
    max_no_speech: float = 0.6
    min_confidence: float = 0.4
    min_confidence_shown: float = 1.0
    min_language: float = 0.1
    min_language_shown: float = 0.3
    min_language_kept: float = 0.06
    min_confidence_kept: float = 0.4
    min_alone: float = 0.7


def guard_of(thresholds: Mapping[str, float], bundle: Path) -> GuardConfig:
    """The usual thresholds but for those that a bundle's manifest names. Raises BundleError where there is no such."""
    known = {each.name for each in fields(GuardConfig)}
    for name, value in thresholds.items():
        if name not in known or isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"{bundle}: guard: {name} = {value!r} is no threshold of this rtstream: update it, or mend the bundle"
            raise BundleError(msg)
    return GuardConfig(**thresholds)  # type: ignore[arg-type]  # min_letters may be whole


def borne_out(text: str, log_probs: LogProbs, letters: str, config: GuardConfig) -> bool:
    """Whether the posteriors of a segment admit ``text``. An empty text always is."""
    symbols = join(spell(text, letters), letters)
    digits = LETTERS_A_DIGIT * sum(c.isdigit() for c in text)
    heard = len(greedy_symbols(log_probs))
    if not symbols:
        return not digits or heard >= config.min_letters
    if heard < config.min_letters or len(symbols) > config.max_length_ratio * heard + 6:
        return False
    return excess(log_probs, symbols) <= config.max_excess * (len(symbols) + digits)


def rather_heard(text: str, other: str, log_probs: LogProbs, letters: str) -> bool:
    """Whether CTC hears a text rather than another one, the numbers of both in words; never one without a letter."""
    symbols, others = (join(spell(say_numbers(each), letters), letters) for each in (text, other))
    return bool(symbols) and excess(log_probs, symbols) < excess(log_probs, others)


def spoken(
    text: str, opening: Opening, log_probs: LogProbs, letters: str, config: GuardConfig, *, partial: bool = False
) -> bool:
    """Whether a text that is borne out is likely to be somebody's who speaks, not made of noise or another language."""
    if not addressed(opening, config, partial=partial):
        return False
    least = config.min_confidence_shown if partial else config.min_confidence
    sure = _confidence(text, log_probs, letters)
    return sure is None or sure >= least * opening.no_speech


def foreign(opening: Opening, config: GuardConfig) -> bool:
    """Whether the decoder finds that a whole segment of which something has been shown is in another language."""
    return opening.language < config.min_language_kept


def spelt(text: str, log_probs: LogProbs, letters: str, config: GuardConfig) -> bool:
    """Whether CTC hears the letters of the decoder's text, which then counts whoever the decoder finds speaking.

    Only for a text of the decoder: CTC is sure of its own.
    """
    return (_confidence(text, log_probs, letters) or 0.0) >= config.min_confidence_kept


def _confidence(text: str, log_probs: LogProbs, letters: str) -> float | None:
    """CTC's mean confidence in a text's letters; None where it has none, or more than the frames hold."""
    symbols = [join(spell(reading, letters), letters) for reading in _readings(text)]
    aligned = [align(log_probs, each) for each in symbols if each]
    return max((float(np.exp(each.scores.mean())) for each in aligned if each is not None), default=None)


def _readings(text: str) -> set[str]:
    """A text as CTC may hear it: a small number alone as a count and digit by digit, all else as it is written.

    Larger numbers are said in more ways than can be tried.
    """
    number = SMALL_NUMBER.fullmatch(text)
    return {text} if number is None else {say_numbers(number[1]), " ".join(map(say_numbers, number[1]))}


def addressed(opening: Opening, config: GuardConfig, *, partial: bool = False) -> bool:
    """Whether the decoder finds it likely enough that somebody speaks, and in the model's language."""
    least = config.min_language_shown if partial else config.min_language
    return opening.no_speech <= config.max_no_speech and opening.language >= least


def written_alone(log_probs: LogProbs, letters: str, config: GuardConfig) -> str:
    """CTC's own text, empty where it is too short or too unsure of its letters."""
    text = greedy_text(log_probs, letters)
    heard = log_probs.max(axis=1)[log_probs.argmax(axis=1) != BLANK]
    sure = len(text) >= config.min_letters and float(np.exp(heard.mean())) >= config.min_alone
    return text if sure else ""
