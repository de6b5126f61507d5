"""Whether CTC, which cannot invent, bears out the decoder's text."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.errors import BundleError
from rtstream.model.config import BLANK
from rtstream.model.letters import fold
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.number_speech.speech import digit_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rtstream.recognizer.evidence import Evidence, Support
    from rtstream.recognizer.final_pass import Opening
    from rtstream.recognizer.lexicon import Lexicon

RUN = re.compile(r"[^\W_]+")
"""Letters and digits in a row."""


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Thresholds of the guard.

    ``min_letters``: letters that CTC must hear for anything to be published. ``max_excess``: nats a letter by which a
    text's best path may be worse than the best path of all. ``max_length_ratio``: letters of the text to those heard.
    ``max_no_speech``: the decoder's probability that nobody speaks, above which nothing is published (Whisper's own
    threshold, arXiv 2212.04356). ``min_confidence``: CTC's mean confidence in the letters of a text, for each unit of
    that probability; ``min_confidence_shown``: the same of a segment's first partial, which cannot be taken back.
    ``min_language``: the decoder's probability that the model's language is spoken and no other, below which nothing is
    published; ``min_language_shown``: the same of a segment's first partial.
    ``min_confidence_kept``: CTC's mean confidence in the letters of the decoder's text of a whole segment, from which
    on it is published whatever the decoder finds of silence and other languages.
    ``min_confidence_digits``: the same of digits alone. ``min_alone``: CTC's mean confidence in the letters of a text
    that it alone writes; ``min_known``: the share of that text's words that must be in the list of English words.

    Of a text of at most ``max_letters_unheard`` letters CTC may hear fewer than ``min_letters``, if it is worse than
    the best path by at most ``max_excess_unheard`` nats a letter, the decoder's probability that nobody speaks is
    ``max_no_speech_unheard`` at most, and its mean log-probability of its tokens, less that probability, is
    ``min_certainty_unheard`` at least.

    Where a head of the model finds that nobody speaks with a probability of ``max_no_speech_sure`` at most, and the
    model's language with one of ``min_language_sure`` at least, and the decoder's mean log-probability of its tokens
    is ``min_certainty_sure`` at least, CTC may miss as many letters as it likes, and a text of at most
    ``max_letters_unheard`` letters may be worse than the best path by ``max_excess_sure`` nats a letter.
    """

    min_letters: int = 2
    max_excess: float = 3.0
    max_length_ratio: float = 2.5
    max_no_speech: float = 0.6
    min_confidence: float = 0.4
    min_confidence_shown: float = 1.0
    min_language: float = 0.1
    min_language_shown: float = 0.3
    min_confidence_kept: float = 0.4
    min_confidence_digits: float = 0.2
    min_alone: float = 0.7
    min_known: float = 1.0
    max_letters_unheard: int = 12
    max_excess_unheard: float = 3.6
    min_certainty_unheard: float = -1.1
    max_no_speech_unheard: float = 0.45
    max_no_speech_sure: float = 0.02
    min_language_sure: float = 0.95
    min_certainty_sure: float = -0.4
    max_excess_sure: float = 3.0


BY_LANGUAGE = "languages"
"""Where a bundle's thresholds have those that a language wants otherwise than the others."""


def guard_of(thresholds: Mapping[str, Any], bundle: Path, language: str = "en") -> GuardConfig:
    """The usual thresholds but for those that a bundle's manifest names, for all and for a language.

    Raises BundleError where there is no such.
    """
    own = {name: value for name, value in thresholds.items() if name != BY_LANGUAGE}
    others = _table(thresholds.get(BY_LANGUAGE, {}), bundle)
    by_language = {name: _checked(values, bundle) for name, values in others.items()}
    return GuardConfig(**_checked(own, bundle) | by_language.get(language, {}))


def with_thresholds(given: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Thresholds of a manifest with others, which count where both have the same."""
    mine, theirs = given.get(BY_LANGUAGE, {}), more.get(BY_LANGUAGE, {})
    by_language = {language: {**mine.get(language, {}), **theirs.get(language, {})} for language in {**mine, **theirs}}
    return {**given, **more, **({BY_LANGUAGE: by_language} if by_language else {})}


def _checked(thresholds: object, bundle: Path) -> dict[str, Any]:
    known = {each.name for each in fields(GuardConfig)}
    for name, value in _table(thresholds, bundle).items():
        if name not in known or isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"{bundle}: guard: {name} = {value!r} is no threshold of this rtstream: update it, or mend the bundle"
            raise BundleError(msg)
    return _table(thresholds, bundle)


def _table(given: object, bundle: Path) -> dict[str, Any]:
    if not isinstance(given, dict):
        msg = f"{bundle}: guard: {given!r} are no thresholds by name: mend the bundle"
        raise BundleError(msg)
    return given


def borne_out(text: str, evidence: Evidence, config: GuardConfig, *, sure: bool = False) -> bool:
    """Whether the posteriors of a segment admit ``text``. An empty text always is; ``sure``: see :func:`is_sure`."""
    support = evidence.support(text)
    if support is None:
        return True
    heard = evidence.heard
    if not sure and (heard < config.min_letters or support.letters > config.max_length_ratio * heard + 6):
        return False
    short = sure and support.letters <= config.max_letters_unheard
    worse = max(config.max_excess, config.max_excess_sure) if short else config.max_excess
    return support.excess <= worse * support.letters


def is_sure(voice: Opening | None, certainty: float, config: GuardConfig) -> bool:
    """Whether it is certain that somebody speaks the model's language, and what, though CTC may hear little of it.

    ``voice``: what a head of the model finds, None of one without: of a decoder that writes of nothing it would be
    the decoder's own word. ``certainty``: mean log-probability of the decoder's tokens.
    """
    return (
        voice is not None
        and voice.no_speech <= config.max_no_speech_sure
        and voice.language >= config.min_language_sure
        and certainty >= config.min_certainty_sure
    )


def is_unheard(text: str, evidence: Evidence) -> bool:
    """Whether CTC hears less of a text than it hears nothing."""
    support = evidence.support(text)
    return support is not None and support.gain < 0


def hardly_heard(text: str, opening: Opening, evidence: Evidence, config: GuardConfig, *, certainty: float) -> bool:
    """Whether a text is a short word of which CTC misses the letters and the decoder is sure.

    ``certainty``: mean log-probability of its tokens.
    """
    support = evidence.support(text)
    return (
        support is not None
        and evidence.heard < config.min_letters
        and support.letters <= config.max_letters_unheard
        and support.excess <= config.max_excess_unheard * support.letters
        and certainty - opening.no_speech >= config.min_certainty_unheard
        and may_be_unheard(opening, config)
    )


def may_be_unheard(opening: Opening, config: GuardConfig) -> bool:
    """Whether somebody may have said a word of which CTC hears nothing."""
    return opening.no_speech <= config.max_no_speech_unheard and opening.language >= config.min_language


def spoken(text: str, opening: Opening, evidence: Evidence, config: GuardConfig, *, partial: bool = False) -> bool:
    """Whether a text that is borne out is likely to be somebody's who speaks, not made of noise or another language.

    Digits alone that CTC hears are, whatever the decoder finds: Whisper's often finds that nobody says them, and
    neither noise nor another language makes them.
    """
    support = evidence.support(text)
    if support is not None and _digits_heard(text, evidence.language, support, config):
        return True
    if not addressed(opening, config, partial=partial):
        return False
    least = config.min_confidence_shown if partial else config.min_confidence
    return support is None or support.confidence >= least * opening.no_speech


def _digits_alone(text: str, language: str) -> bool:
    """Whether a text is digits, or words of them, and nothing else."""
    runs = RUN.findall(text)
    return bool(runs) and all(run.isdecimal() or fold(run) in digit_words(language) for run in runs)


def _digits_heard(text: str, language: str, support: Support, config: GuardConfig) -> bool:
    return _digits_alone(text, language) and support.gain > 0 and support.confidence >= config.min_confidence_digits


def spelt(text: str, evidence: Evidence, config: GuardConfig) -> bool:
    """Whether CTC hears the letters of the decoder's text, which then counts whoever the decoder finds speaking.

    Only for a text of the decoder: CTC is sure of its own.
    """
    support = evidence.support(text)
    return support is not None and support.confidence >= config.min_confidence_kept


def addressed(opening: Opening, config: GuardConfig, *, partial: bool = False) -> bool:
    """Whether the decoder finds it likely enough that somebody speaks, and in the model's language."""
    least = config.min_language_shown if partial else config.min_language
    return opening.no_speech <= config.max_no_speech and opening.language >= least


def written_alone(evidence: Evidence, config: GuardConfig, lexicon: Lexicon | None) -> str:
    """CTC's own text, empty where it is too short, too unsure of its letters, or these make no words.

    It is of English alone: of other languages CTC has plain letters, which are not how they are written.
    """
    if evidence.language != "en" or lexicon is None:
        return ""
    text = greedy_text(evidence.log_probs, evidence.letters)
    if len(text) < max(1, config.min_letters) or lexicon.share(text) < config.min_known:
        return ""
    log_probs = evidence.log_probs
    heard = log_probs.max(axis=1)[log_probs.argmax(axis=1) != BLANK]
    return text if float(np.exp(heard.mean())) >= config.min_alone else ""
