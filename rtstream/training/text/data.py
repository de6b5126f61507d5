"""Training data of a translation model: pairs by language, as written and as a recogniser writes them.

Which pairs make up a step, and what befalls them, is a function of the seed and the step alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from rtstream.bundle.pieces import COPY, END_ID, PAD_ID
from rtstream.errors import TrainingError
from rtstream.training.corpus.data import IGNORED, batch_numbers
from rtstream.training.text.asr_noise import AsrNoise, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtstream.bundle.pieces import PieceTokenizer
    from rtstream.training.text.recipe import Noise

BATCHES_A_POOL = 64
"""Batches drawn together, then sorted by length: both sides of a batch are then of about one length."""
BATCHES_A_GROUP = 8
"""So many take pairs of about one target length, and are told apart by the source's."""
NAME = re.compile(r"\b[A-Z][a-z]+\b")

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Pairs of about one length, padded.

    ``source`` (batch, n) ids, language first and end last, ``mask`` of the same shape, true where an id counts;
    ``tokens`` (batch, m) decoder input, language first, ``targets`` (batch, m) with IGNORED past the end.
    """

    source: Tensor
    mask: Tensor
    tokens: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """A pair as ids: ``source`` with its language and end, ``target`` with its language and end."""

    source: list[int]
    target: list[int]


def shares(sizes: Mapping[str, int], temperature: float, least: float) -> dict[str, float]:
    """Each language's share of the pairs: sizes to the power of 1 / temperature, none below ``least``.

    Raises TrainingError where there are too many languages for that.
    """
    if least * len(sizes) > 1.0:
        msg = f"least_share {least:g} is too much for {len(sizes)} languages"
        raise TrainingError(msg)
    free = {language: size ** (1.0 / temperature) for language, size in sizes.items()}
    fixed: dict[str, float] = {}
    while True:
        left = 1.0 - sum(fixed.values())
        total = sum(free.values())
        below = [language for language, value in free.items() if left * value / total < least]
        if not below:
            return fixed | {language: left * value / total for language, value in free.items()}
        for language in below:
            fixed[language] = least
            del free[language]


class TextBatches(IterableDataset[TextBatch]):
    """An endless stream of batches of ``pairs`` pairs in the mean, each of about the same number of tokens.

    ``rank`` of ``world`` processes gets every ``world``-th batch; ``start`` skips to a step.
    Raises TrainingError for a language that has no pair or no token.
    """

    def __init__(
        self,
        data: Mapping[str, Sequence[Pair]],
        tokenizer: PieceTokenizer,
        noise: Noise,
        mishearing: AsrNoise,
        *,
        pairs: int,
        share: Mapping[str, float],
        seed: int,
        max_tokens: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        for language, rows in data.items():
            if not rows or language not in tokenizer.languages:
                msg = f"language {language}: {'no token for it' if rows else 'no pairs'}"
                raise TrainingError(msg)
        self.data, self.tokenizer, self.noise, self.mishearing = data, tokenizer, noise, mishearing
        self.share, self.seed, self.max_tokens = share, seed, max_tokens
        self.start, self.rank, self.world = start, rank, world
        self.pool_pairs = {name: max(1, round(pairs * BATCHES_A_POOL * share[name])) for name in data}

    def drawn(self, language: str, index: int) -> list[Pair]:
        """A pool's pairs of a language: each of its pairs comes once before any comes again."""
        rows, count = self.data[language], self.pool_pairs[language]
        first = index * count
        out = []
        for turn in range(first // len(rows), (first + count - 1) // len(rows) + 1):
            order = np.random.default_rng([self.seed, 2, len(language), *language.encode(), turn])
            permutation = order.permutation(len(rows))
            low, high = max(first - turn * len(rows), 0), min(first + count - turn * len(rows), len(rows))
            out += [rows[i] for i in permutation[low:high]]
        return out

    def example(self, pair: Pair, other: Pair, language: str, rng: np.random.Generator) -> Example | None:
        """A pair after what chance does to it; None where it has become too long. ``other`` may be joined to it."""
        n = self.noise
        english, translation = pair
        if rng.random() < n.join:
            english, translation = f"{english} {other[0]}", f"{translation} {other[1]}"
        parts = [english]
        if rng.random() < n.copy_names:
            common = sorted(set(NAME.findall(english)) & set(NAME.findall(translation)))
            if common:
                name = rf"\b{common[int(rng.integers(len(common)))]}\b"
                parts = re.split(name, english)
                translation = re.sub(name, f" {COPY} ", translation)
        if rng.random() >= n.as_written:
            parts = [spoken(part) for part in parts]
            if rng.random() < n.misheard:
                rate = n.error_rate * rng.random()
                parts = [self.mishearing(part, rate, rng) for part in parts]
        symbol = self.tokenizer.languages[language]
        source, _ = self.tokenizer.encode(f" {COPY} ".join(parts))
        target, _ = self.tokenizer.encode(translation)
        if not source or not target or max(len(source), len(target)) + 2 > self.max_tokens:
            return None
        return Example([symbol, *source, END_ID], [symbol, *target, END_ID])

    def pool(self, index: int) -> list[Sequence[Example]]:
        """The ``BATCHES_A_POOL`` batches of one pool, a function of seed and index."""
        rng = np.random.default_rng([self.seed, 3, index])
        examples: list[Example] = []
        for language in self.data:
            pairs = self.drawn(language, index)
            for position, pair in enumerate(pairs):
                example = self.example(pair, pairs[position - 1], language, rng)
                if example is not None:
                    examples.append(example)
        examples = [examples[i] for i in rng.permutation(len(examples))]
        batches = []
        for group in cut(sorted(examples, key=lambda e: len(e.target)), BATCHES_A_POOL // BATCHES_A_GROUP):
            batches += cut(sorted(group, key=lambda e: len(e.source)), BATCHES_A_GROUP)
        return [batches[i] for i in rng.permutation(BATCHES_A_POOL)]

    def __iter__(self) -> Iterator[TextBatch]:
        index = -1
        pool: list[Sequence[Example]] = []
        for wanted in batch_numbers(self.start, self.rank, self.world):
            if wanted // BATCHES_A_POOL != index:
                index = wanted // BATCHES_A_POOL
                pool = self.pool(index)
            yield collate(pool[wanted % BATCHES_A_POOL])


def cut(examples: Sequence[Example], parts: int) -> list[Sequence[Example]]:
    """``parts`` runs of examples of about the same number of tokens; one that would be empty repeats an example."""
    ends = np.cumsum([len(e.source) + len(e.target) for e in examples])
    bounds = np.searchsorted(ends, np.arange(1, parts) * ends[-1] / parts)
    pairs = zip([0, *bounds], [*bounds, len(examples)], strict=True)
    return [examples[a:b] or examples[:1] for a, b in pairs]


def collate(examples: Sequence[Example]) -> TextBatch:
    """Pad a batch."""
    source = padded([e.source for e in examples], PAD_ID)
    return TextBatch(
        source=source,
        mask=source != PAD_ID,
        tokens=padded([e.target[:-1] for e in examples], PAD_ID),
        targets=padded([e.target[1:] for e in examples], IGNORED),
    )


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of ids as one tensor (rows, longest)."""
    out = torch.full((len(rows), max(map(len, rows))), fill)
    for index, row in enumerate(rows):
        out[index, : len(row)] = torch.tensor(row)
    return out
