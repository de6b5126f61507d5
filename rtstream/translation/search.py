"""Beam search over a batch of sentences, with guards against what small models do when they are lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.nn.text_model import TextModel

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
    banned: Tensor
    inside: Tensor


@dataclass(slots=True)
class _Sentence:
    """A sentence while it is searched: (score, tokens) of what has ended."""

    task: Task
    most: int
    done: list[tuple[float, list[int]]] = field(default_factory=list)


def forbidden(size: int, tokens: Sequence[int]) -> Tensor:
    """Minus infinity for each of these tokens of a vocabulary, 0 for the others."""
    out = torch.zeros(size)
    out[list(tokens)] = float("-inf")
    return out


def most_tokens(source: int, limit: int) -> int:
    """How long a translation of so many source tokens may get: twice as long and a little, within the model."""
    return min(2 * source + 8, limit)


@torch.inference_mode()
def search(model: TextModel, tasks: Sequence[Task], rules: Rules, beam: int = 1) -> list[list[int]]:
    """The best translation of each task as ids: what comes after ``start``, without the end.

    All tasks' ``start`` must be of one length. Raises ValueError where they are not, or are longer than the model.
    """
    if len({len(task.start) for task in tasks}) > 1:
        msg = "tasks of one batch must begin with as many tokens"
        raise ValueError(msg)
    limit = model.config.decoder.max_tokens
    width = max(len(task.source) for task in tasks)
    source = torch.full((len(tasks), width), rules.pad)
    for row, task in enumerate(tasks):
        source[row, : len(task.source)] = torch.tensor(task.source)
    mask = source != rules.pad
    state = model.decoder.begin(model.encode(source, mask), mask)
    first = len(tasks[0].start)
    sentences = [_Sentence(task, most_tokens(len(task.source), limit - first)) for task in tasks]

    # Live hypotheses: rows of the state, each with its sentence, its score and its tokens after the start.
    owner = list(range(len(tasks)))
    scores = [0.0] * len(tasks)
    texts: list[list[int]] = [[] for _ in tasks]
    tokens = torch.tensor([list(task.start) for task in tasks])
    while owner:
        logits, state = model.decoder.read(tokens, state)
        logs = logits.log_softmax(dim=-1) + rules.banned
        for row, index in enumerate(owner):
            _guard(logs[row], texts[row], sentences[index], rules)
        best, ids = logs.topk(min(beam + 1, logs.shape[-1]), dim=-1)  # one more than the beam: an end takes a place
        best_rows, id_rows = best.tolist(), ids.tolist()
        rows: list[int] = []
        chosen: list[tuple[int, float, list[int]]] = []
        for index in dict.fromkeys(owner):
            mine = [row for row, its in enumerate(owner) if its == index]
            options = [
                (scores[row] + log, row, token)
                for row in mine
                for log, token in zip(best_rows[row], id_rows[row], strict=True)
                if log > float("-inf")
            ]
            options.sort(key=lambda option: -option[0])
            for row, score, text in _advance(sentences[index], options, texts, rules, beam):
                rows.append(row)
                chosen.append((index, score, text))
        owner, scores, texts = [c[0] for c in chosen], [c[1] for c in chosen], [c[2] for c in chosen]
        if owner:
            if rows != list(range(state.keys[0].shape[0])):
                state = state.select(torch.tensor(rows))
            tokens = torch.tensor([[text[-1]] for text in texts])
    return [max(sentence.done, key=lambda pair: pair[0])[1] if sentence.done else [] for sentence in sentences]


def _advance(
    sentence: _Sentence,
    options: Sequence[tuple[float, int, int]],
    texts: Sequence[list[int]],
    rules: Rules,
    beam: int,
) -> list[tuple[int, float, list[int]]]:
    """What goes on, (row, score, tokens); what ends is put to the sentence's, and none goes on when it is decided."""
    live: list[tuple[int, float, list[int]]] = []
    for score, row, token in options[: 2 * beam]:
        if token == rules.end:
            if len(live) < beam:  # an end that is not among the best is none
                sentence.done.append((score / _norm(len(texts[row]) + 1), texts[row]))
            continue
        text = [*texts[row], token]
        if len(text) >= sentence.most:
            sentence.done.append((score / _norm(len(text)), text))
        elif len(live) < beam:
            live.append((row, score, text))
    if sentence.done and live:
        best = max(score for score, _ in sentence.done)
        hope = live[0][1] / _norm(sentence.most)  # what it would be with no further loss, at its longest
        if beam == 1 or hope <= best:
            return []
    return live


def _norm(tokens: int) -> float:
    return float(((5 + tokens) / 6) ** LENGTH_PENALTY)


def _guard(logs: Tensor, text: list[int], sentence: _Sentence, rules: Rules) -> None:
    """Forbid in place what must not come next."""
    if not text and not sentence.task.glue:
        logs += rules.inside
    if text.count(rules.copy) >= sentence.task.copies:
        logs[rules.copy] = float("-inf")
    for length in range(1, LONGEST_CYCLE + 1):
        if len(text) < length * MOST_ROUNDS:
            break
        last = text[-length:]
        if all(text[-length * n : len(text) - length * (n - 1)] == last for n in range(2, MOST_ROUNDS + 1)):
            logs[last[0]] = float("-inf")
