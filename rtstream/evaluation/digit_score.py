"""How many of the strings of digits that were said are right, however they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jiwer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BETWEEN = re.compile(r"[-–(),;]|[.?!…]+(?=\s|$)")  # noqa: RUF001 typographic on purpose
"""What parts digits, or ends a sentence of them, and is not said."""
RUNS = re.compile(r"\d+|[^\W\d_][^\W\d_' ]*(?: +[^\W\d_][^\W\d_']*)*|\S")
"""Digits; words up to the next digit or mark; any other mark."""


@dataclass(frozen=True, slots=True)
class DigitScore:
    """Clips whose references are digits and nothing else, and how many are ``right`` from first to last.

    ``error_rate``: of the single digits, in per cent, as a word error rate is counted; 0 without clips.
    """

    clips: int
    right: int
    error_rate: float

    def figures(self) -> dict[str, Any] | None:
        """As plain numbers, rounded; None where no clip is digits alone."""
        if not self.clips:
            return None
        accuracy = round(100.0 * self.right / self.clips, 2)
        return {"clips": self.clips, "right": self.right, "accuracy": accuracy, "error_rate": round(self.error_rate, 2)}


def digits_said(text: str, normalize: Callable[[str], str]) -> list[str]:
    """Digits, one by one, of a text that has them as digits ("555-0199"), words, or numbers ("fifty six").

    ``normalize`` makes digits of words, Whisper's for English. Other words and marks stand between the digits as they
    are. Digits are not given to it: it would take leading zeros away, and sentences' marks for decimal points.
    """
    said: list[str] = []
    for run in RUNS.findall(BETWEEN.sub(" ", text.lower())):
        if run.isdecimal():
            said.extend(run)
        elif run[0].isalpha():
            for word in normalize(run).replace("one", "1").split():
                said.extend(word if word.isdecimal() else [word])
        else:
            said.append(run)
    return said


def score_digits(references: Sequence[str], texts: Sequence[str], normalize: Callable[[str], str]) -> DigitScore:
    """Compare texts with references that are digits alone, clip by clip, both as they are written."""
    wanted, found = [], []
    for reference, text in zip(references, texts, strict=True):
        digits = digits_said(reference, normalize)
        if digits and all(map(str.isdecimal, digits)):
            wanted.append(" ".join(digits))
            found.append(" ".join(digits_said(text, normalize)))
    right = sum(one == other for one, other in zip(wanted, found, strict=True))
    return DigitScore(len(wanted), right, 100.0 * float(jiwer.wer(wanted, found)) if wanted else 0.0)
