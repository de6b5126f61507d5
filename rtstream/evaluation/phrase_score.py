"""How often phrases are found where they were said, invented where not, and what that does to all other words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jiwer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhraseScore:
    """``said``, ``found`` and ``invented``: phrases in the references, in the texts too, and in the texts alone.

    ``other_words`` and ``other_errors``: words of the references outside of phrases, and how many were not recognised;
    words too many count among these errors, unless they stand beside a phrase.
    """

    said: int
    found: int
    invented: int
    other_words: int
    other_errors: int

    @property
    def other_wer(self) -> float:
        """Word error rate outside of phrases in per cent."""
        return 100.0 * self.other_errors / max(1, self.other_words)


def score_phrases(references: Sequence[str], texts: Sequence[str], phrases: Collection[str]) -> PhraseScore:
    """Compare texts with references, clip by clip; all of them, and the phrases, normalized alike."""
    listed = {tuple(phrase.split()) for phrase in phrases}
    said = found = invented = other_words = other_errors = 0
    for reference, text in zip(references, texts, strict=True):
        there, here = _count(reference.split(), listed), _count(text.split(), listed)
        said += there.total()
        found += (there & here).total()
        invented += (here - there).total()
        inside = _inside(reference.split(), listed)
        other_words += inside.count(False)
        other_errors += _other_errors(reference, text, inside)
    return PhraseScore(said, found, invented, other_words, other_errors)


def _places(words: Sequence[str], phrases: set[Words]) -> list[tuple[int, Words]]:
    lengths = {len(phrase) for phrase in phrases}
    runs = [(at, tuple(words[at : at + n])) for at in range(len(words)) for n in lengths if at + n <= len(words)]
    return [(at, run) for at, run in runs if run in phrases]


def _count(words: Sequence[str], phrases: set[Words]) -> Counter[Words]:
    return Counter(run for _, run in _places(words, phrases))


def _inside(words: Sequence[str], phrases: set[Words]) -> list[bool]:
    covered = {at + offset for at, run in _places(words, phrases) for offset in range(len(run))}
    return [index in covered for index in range(len(words))]


def _other_errors(reference: str, text: str, inside: Sequence[bool]) -> int:
    if not reference:
        return len(text.split())
    errors = 0
    for chunk in jiwer.process_words(reference, text).alignments[0]:
        begin, end = chunk.ref_start_idx, chunk.ref_end_idx
        if chunk.type == "insert":
            beside = any(inside[max(0, begin - 1) : begin + 1])
            errors += 0 if beside else chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            errors += sum(not phrase for phrase in inside[begin:end])
    return errors
