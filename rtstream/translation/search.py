"""Beam search over a batch of sentences, with guards against what small models do when they are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.engine.beam_search import Beam

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.engine.base import F32, TextEngine

LENGTH_PENALTY = 0.6
"""Scores are divided by ((5 + tokens) / 6) to this power (arXiv 1609.08144, section 7)."""
LONGEST_CYCLE = 8
MOST_ROUNDS = 3
"""A run of up to ``LONGEST_CYCLE`` tokens is said so often in a row at most: "no, no, no", but no loop."""


@dataclass(frozen=True, slots=True)
class Task:
    """One sentence: ``source`` ids with language and end, ``start`` what the output begins with, its language first.

    ``copies``: how many times the copy token may still come. ``glue``: whether the first token may go on with the
    word that ``start`` ends in.
    """

    source: Sequence[int]
    start: Sequence[int]
    copies: int = 0
    glue: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    """Ids with a part of their own.

    ``banned`` (vocabulary,): minus infinity where a token never comes, else 0; ``inside``: the same where it would go
    on with a word. The end is in neither, so there is always something to choose.
    """

    end: int
    copy: int
    pad: int
    banned: F32
    inside: F32


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A translation as the search sees it."""

    task: Task
    rules: Rules
    most: int

    def forbid(self, logs: F32, tokens: list[int]) -> None:
        """Keep to words, to the copies that there are, and out of loops."""
        if not tokens and not self.task.glue:
            logs += self.rules.inside
        if tokens.count(self.rules.copy) >= self.task.copies:
            logs[self.rules.copy] = float("-inf")
        for length in range(1, LONGEST_CYCLE + 1):
            if len(tokens) < length * MOST_ROUNDS:
                break
            last = tokens[-length:]
            if all(tokens[-length * n : len(tokens) - length * (n - 1)] == last for n in range(2, MOST_ROUNDS + 1)):
                logs[last[0]] = float("-inf")

    def cut(self, tokens: list[int]) -> bool:  # noqa: ARG002 - nothing but its length cuts a translation
        """Whether it must not go on."""
        return False


def forbidden(size: int, tokens: Sequence[int]) -> F32:
    """Minus infinity for each of these tokens of a vocabulary, 0 for the others."""
    out = np.zeros(size, np.float32)
    out[list(tokens)] = float("-inf")
    return out


def most_tokens(source: int, limit: int) -> int:
    """How long a translation of so many source tokens may get: twice as long and a little, within the model."""
    return min(2 * source + 8, limit)


def search(engine: TextEngine, tasks: Sequence[Task], rules: Rules, beam: int = 1) -> list[list[int]]:
    """The best translation of each task as ids: what comes after ``start``, without the end.

    All tasks' ``start`` must be of one length. Raises ValueError where they are not, or are longer than the model.
    """
    if len({len(task.start) for task in tasks}) > 1:
        msg = "tasks of one batch must begin with as many tokens"
        raise ValueError(msg)
    counts = [len(task.source) for task in tasks]
    source = np.full((len(tasks), max(counts)), rules.pad)
    for row, task in enumerate(tasks):
        source[row, : counts[row]] = task.source
    limit = engine.config.decoder.max_tokens
    first = len(tasks[0].start)
    sentences = [
        _Sentence(task, rules, most_tokens(count, limit - first)) for task, count in zip(tasks, counts, strict=True)
    ]
    tokens = np.array([list(task.start) for task in tasks])
    found = Beam(beam, rules.end, rules.banned, _norm).search(engine, tokens, engine.encode(source, counts), sentences)
    return [hypotheses[0].tokens if hypotheses else [] for hypotheses in found]


def _norm(tokens: int) -> float:
    return float(((5 + tokens) / 6) ** LENGTH_PENALTY)
