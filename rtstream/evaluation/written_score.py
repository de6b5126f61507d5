"""How well texts are written: punctuation and case, against references that have them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jiwer

from rtstream.training.corpus.text import SPOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKS = {".": ".", "…": ".", "!": ".", ";": ".", ",": ",", ":": ",", "?": "?"}
"""Marks, and as which of the three they count: the mapping is punctuator2's (Tilk and Alumäe, Interspeech 2016)."""

Word = tuple[str, str]
"""A word as it is written, letters, digits and apostrophes alone, and the mark after it or nothing."""


@dataclass(frozen=True, slots=True)
class MarkScore:
    """Places that have a mark in the references, in the texts, and in both."""

    wanted: int
    written: int
    right: int

    @property
    def precision(self) -> float | None:
        """In per cent; None where the texts have no such mark."""
        return 100.0 * self.right / self.written if self.written else None

    @property
    def recall(self) -> float | None:
        """In per cent; None where the references have no such mark."""
        return 100.0 * self.right / self.wanted if self.wanted else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall in per cent; None where neither side has such a mark."""
        return 200.0 * self.right / (self.wanted + self.written) if self.wanted + self.written else None

    def figures(self) -> dict[str, float | None]:
        """All of it as plain numbers, rounded."""
        rates = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: _rounded(rate) for name, rate in rates.items()} | {"wanted": self.wanted, "written": self.written}


@dataclass(frozen=True, slots=True)
class CaseScore:
    """Words that both sides have, and of how many all letters agree in case too; the same of those with a capital."""

    words: int
    right: int
    capitals: int
    capitals_right: int

    @property
    def accuracy(self) -> float | None:
        """In per cent; None where the two sides share no word."""
        return 100.0 * self.right / self.words if self.words else None

    def figures(self) -> dict[str, float | None]:
        """All of it as plain numbers, rounded."""
        counts = {"words": self.words, "capitals": self.capitals, "capitals_right": self.capitals_right}
        return {"accuracy": _rounded(self.accuracy)} | counts


@dataclass(frozen=True, slots=True)
class WrittenScore:
    """``punctuation`` by mark, and of ``all`` three; None where no reference has any.

    ``case``: None where the references are in one case throughout.
    """

    punctuation: dict[str, MarkScore] | None
    case: CaseScore | None

    def figures(self) -> dict[str, Any]:
        """All of it as plain numbers, rounded."""
        marks, case = self.punctuation, self.case
        return {
            "punctuation": marks and {mark: each.figures() for mark, each in marks.items()},
            "case": case and case.figures(),
        }


@dataclass(slots=True)
class _Counts:
    wanted: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    case: Counter[str] = field(default_factory=Counter)


def score_written(references: Sequence[str], texts: Sequence[str]) -> WrittenScore:
    """Compare texts with references, clip by clip, both as they are written.

    Precision, recall and F1 of each mark as in punctuation restoration (Tilk and Alumäe, Interspeech 2016): every word
    is a place that has a full stop, a comma, a question mark or nothing after it. Recognised words differ from the
    reference's, so places are paired as word error rate pairs words (jiwer's alignment, in lower case and without
    punctuation), after LibriSpeech-PC (arXiv 2310.02943): a mark after a word in error may be right, one after a word
    too few or too many is not. A full stop that ends an abbreviation counts as any other.

    Case is compared of the words that are equal but for it.
    """
    counts = _Counts()
    for reference, text in zip(references, texts, strict=True):
        _count(list(written_words(reference)), list(written_words(text)), counts)
    total = MarkScore(counts.wanted.total(), counts.written.total(), counts.right.total())
    marks = {mark: MarkScore(counts.wanted[mark], counts.written[mark], counts.right[mark]) for mark in ".,?"}
    together = "".join(references)
    case = CaseScore(*(counts.case[name] for name in ("words", "right", "capitals", "capitals right")))
    return WrittenScore(
        punctuation=marks | {"all": total} if total.wanted else None,
        case=case if together.upper() != together != together.lower() else None,
    )


def written_words(text: str) -> Iterator[Word]:
    """The words of a text with their marks; hyphens part words, quotation marks and brackets are passed over."""
    for mark, spoken in SPOKEN.items():
        text = text.replace(mark, spoken)
    for run in text.split():
        pieces = re.match(r"([^\w]*)(.*?)([^\w]*)$", run, re.DOTALL)
        assert pieces is not None, "the pattern takes anything"
        word = re.sub(r"[^\w']", "", pieces[2])
        if word:
            yield word, next((MARKS[c] for c in pieces[3] if c in MARKS), "")


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)


def _count(reference: Sequence[Word], text: Sequence[Word], counts: _Counts) -> None:
    counts.wanted.update(mark for _, mark in reference if mark)
    counts.written.update(mark for _, mark in text if mark)
    said, found = (" ".join(word.lower() for word, _ in words) for words in (reference, text))
    for chunk in jiwer.process_words(said, found).alignments[0]:
        if chunk.type not in {"equal", "substitute"}:
            continue
        theirs = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        ours = text[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for (wanted, mark), (written, ours_mark) in zip(theirs, ours, strict=True):
            if mark and mark == ours_mark:
                counts.right[mark] += 1
            if chunk.type == "equal":
                same, capital = wanted == written, wanted != wanted.lower()
                names = {"words": True, "right": same, "capitals": capital, "capitals right": capital and same}
                counts.case.update(name for name, holds in names.items() if holds)
