"""BLEU and chrF of a translator on text dev sets: the English as written, as it is spoken, and as it is misheard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import sacrebleu

from rtstream.training.text.asr_noise import AsrNoise, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtstream.training.corpus.pairs import References

INPUTS = ("clean", "spoken", "misheard")
"""As written; lower case, without punctuation, numbers in words; the same with words in error."""
SEED = 11


@dataclass(frozen=True, slots=True)
class TranslationScore:
    """Scores of one language and input. ``words``: in the first references."""

    bleu: float
    chrf: float
    sentences: int
    words: int
    translations: list[str]


def inputs(rows: Sequence[References], kind: str, error_rate: float) -> list[str]:
    """The English of ``rows`` as one of ``INPUTS``; the errors are the same each time."""
    if kind == "clean":
        return [row.english for row in rows]
    said = [spoken(row.english) for row in rows]
    if kind == "spoken":
        return said
    mishearing = AsrNoise.of(said, least=2)
    rng = np.random.default_rng(SEED)
    return [mishearing(text, error_rate, rng) for text in said]


def score(rows: Sequence[References], translations: list[str]) -> TranslationScore:
    """SacreBLEU's BLEU (13a) and chrF2 over the whole set, against all references of each sentence."""
    most = max(len(row.translations) for row in rows)
    streams = [[row.translations[i] if i < len(row.translations) else None for row in rows] for i in range(most)]
    return TranslationScore(
        bleu=float(sacrebleu.corpus_bleu(translations, streams).score),  # type: ignore[arg-type]  # None: no such one
        chrf=float(sacrebleu.corpus_chrf(translations, streams).score),  # type: ignore[arg-type]
        sentences=len(rows),
        words=sum(len(row.translations[0].split()) for row in rows),
        translations=translations,
    )


def tokens_per_second(translate: Callable[[str], str], count: Callable[[str], int], texts: Sequence[str]) -> float:
    """Target tokens a CPU second, one sentence after another, as a service translates them."""
    translate(texts[0])  # what is made at first use does not count
    began = time.process_time()
    made = [translate(text) for text in texts]
    return sum(map(count, made)) / max(time.process_time() - began, 1e-9)
