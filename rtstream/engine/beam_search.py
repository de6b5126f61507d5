"""Beam search over a batch of texts: the best of several hypotheses by their log-probability, set against their length.

As Whisper (``whisper/decoding.py``) and CTranslate2 (``src/decoding.cc``) have it, but where they stop once as many
hypotheses are over as the beam is wide, the best of these must also be better than what goes on: an unlikely end that
comes early cuts no text short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rtstream.engine.scores import best, log_softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtstream.engine.base import F32, BatchDecoder, BatchState, Ids


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a text may be: ``tokens`` without the end.

    ``ended``: by itself, else it was cut. ``score``: log-probability of the tokens, and of the end if it ``ended``,
    over the norm of their number.
    """

    tokens: list[int]
    score: float
    ended: bool


class Text(Protocol):
    """What a text of the batch may become. ``most``: its greatest length in tokens, at which it is cut."""

    @property
    def most(self) -> int: ...  # noqa: D102 - as above

    def forbid(self, logs: F32, tokens: list[int]) -> None:
        """Put minus infinity in place of the log-probability (vocabulary,) of what must not follow these tokens."""

    def cut(self, tokens: list[int]) -> bool:
        """Whether these tokens, fewer than ``most``, must not go on."""


@dataclass(frozen=True, slots=True)
class Beam:
    """How to search. ``width``: hypotheses that go on at a time; one is greedy search.

    ``end``: the token that ends a text. ``banned`` (vocabulary,): minus infinity where a token never comes, else 0; the
    end is not banned, so there is always something to choose. ``norm``: what the log-probability of so many tokens is
    divided by; it grows with them.
    """

    width: int
    end: int
    banned: F32
    norm: Callable[[int], float]

    def search(
        self, decoder: BatchDecoder, tokens: Ids, state: BatchState, texts: Sequence[Text]
    ) -> list[list[Hypothesis]]:
        """Hypotheses for each of ``texts``, the best first: what follows its row of ``tokens`` (texts, n)."""
        found: list[list[Hypothesis]] = [[] for _ in texts]
        # Hypotheses that go on: rows of the state, each with its text, its score and its tokens.
        owner = list(range(len(texts)))
        scores = [0.0] * len(texts)
        said: list[list[int]] = [[] for _ in texts]
        while owner:
            logits, state = decoder.decode_batch(tokens, state)
            logs = log_softmax(logits + self.banned)
            for row, index in enumerate(owner):
                texts[index].forbid(logs[row], said[row])
            # One more than the beam: an end takes a place.
            likeliest, ids = best(logs, self.width + 1)
            best_rows, id_rows = likeliest.tolist(), ids.tolist()
            rows: list[int] = []
            chosen: list[tuple[int, float, list[int]]] = []
            for index in dict.fromkeys(owner):
                mine = [row for row, its in enumerate(owner) if its == index]
                options = [
                    (scores[row] + log, [*said[row], token], row)
                    for row in mine
                    for log, token in zip(best_rows[row], id_rows[row], strict=True)
                    if log > float("-inf")
                ]
                options.sort(key=lambda option: -option[0])
                for score, text, row in self._advance(texts[index], options, found[index]):
                    rows.append(row)
                    chosen.append((index, score, text))
            owner, scores, said = [c[0] for c in chosen], [c[1] for c in chosen], [c[2] for c in chosen]
            if owner:
                if rows != list(range(state.rows)):
                    state = state.select(rows)
                tokens = np.array([[text[-1]] for text in said])
        return [sorted(hypotheses, key=lambda hypothesis: -hypothesis.score) for hypotheses in found]

    def _advance(
        self, text: Text, options: Sequence[tuple[float, list[int], int]], found: list[Hypothesis]
    ) -> list[tuple[float, list[int], int]]:
        """The options that go on, (score, tokens, row), none once the text is decided; ``found`` gets what is over."""
        live: list[tuple[float, list[int], int]] = []
        for score, tokens, row in options[: 2 * self.width]:
            if len(live) == self.width:  # what is not among the best is over, too
                break
            if tokens[-1] == self.end:
                found.append(Hypothesis(tokens[:-1], score / self.norm(len(tokens)), ended=True))
            elif len(tokens) >= text.most or text.cut(tokens):
                found.append(Hypothesis(tokens, score / self.norm(len(tokens)), ended=False))
            else:
                live.append((score, tokens, row))
        if not (found and live):
            return live
        best = max(hypothesis.score for hypothesis in found)
        score, tokens, _ = live[0]
        # Until there are enough what goes on counts as if it were as long as can be with no further loss.
        length = len(tokens) if len(found) >= self.width else text.most
        return live if score / self.norm(length) > best else []
