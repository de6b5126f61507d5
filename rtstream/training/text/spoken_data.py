"""Training data of speech translation: the recogniser's states of clips, and what to say of them in other languages.

Which clips make up a step, and into which languages they go, is a function of the seed and the step alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset

from rtstream.bundle.pieces import END_ID, PAD_ID
from rtstream.errors import TrainingError
from rtstream.recognizer.context import SEEN_FRAMES
from rtstream.training.corpus.data import IGNORED, batch_numbers, cut_by_seconds, pooled
from rtstream.training.text.data import padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rtstream.bundle.pieces import PieceTokenizer
    from rtstream.training.corpus.data import Clip
    from rtstream.translation.built_in import BuiltInTranslator

BATCHES_A_POOL = 32
"""Batches drawn together, then sorted by length."""


@dataclass(frozen=True, slots=True)
class Said:
    """A clip whose states are kept, its English as written, and its translations: languages to texts, and by whom."""

    clip: Clip
    english: str
    human: Mapping[str, Sequence[str]]
    machine: Mapping[str, str]

    @property
    def frames(self) -> int:
        """States of the clip itself."""
        assert self.clip.taught is not None
        return max(1, self.clip.taught.frames - SEEN_FRAMES)

    def states(self) -> Tensor:
        """(frames, d_model) float32."""
        assert self.clip.taught is not None
        return torch.from_numpy(self.clip.taught.read()[: self.frames]).float()


@dataclass(frozen=True, slots=True)
class SpokenBatch:
    """Clips of about one length, padded.

    ``states`` (batch, n, inputs), of which ``counts`` (batch,) count; ``languages`` (batch,) tokens of the targets;
    ``tokens`` (batch, m) decoder input, language first, ``targets`` (batch, m) with IGNORED past the end; ``pieces``
    of the English, all clips' one after another, ``piece_counts`` (batch,).
    """

    states: Tensor
    counts: Tensor
    languages: Tensor
    tokens: Tensor
    targets: Tensor
    pieces: Tensor
    piece_counts: Tensor


def translated(
    clips: Sequence[Clip],
    translator: BuiltInTranslator,
    languages: Sequence[str],
    path: Path,
    report: Callable[[int, int], object],
) -> list[Said]:
    """The clips that say something, with ``translator``'s text in each language that people gave them none in.

    Texts are kept in ``path``, which is gone on with. Raises TrainingError where that is broken.
    """
    said = [(clip, clip.reference if clip.translations else clip.written or "") for clip in clips]
    said = [(clip, english) for clip, english in said if any(map(str.isalpha, english))]
    known = _read(path)
    missing = {
        language: sorted({text for clip, text in said if language not in clip.translations} - known[language].keys())
        for language in languages
    }
    total, done = sum(map(len, missing.values())), 0
    with path.open("a", encoding="utf-8") as file:
        for language, texts in missing.items():
            for first in range(0, len(texts), 64):
                part = texts[first : first + 64]
                for english, text in zip(part, translator.translate_batch(part, language), strict=True):
                    known[language][english] = text
                    file.write(json.dumps([language, english, text], ensure_ascii=False) + "\n")
                file.flush()
                done += len(part)
                report(done, total)
    machine = {english: {name: known[name].get(english, "") for name in languages} for _, english in said}
    return [
        Said(clip, english, clip.translations, {name: text for name, text in machine[english].items() if text})
        for clip, english in said
    ]


class _Texts(dict[str, dict[str, str]]):
    """English to translation, by language."""

    def __missing__(self, language: str) -> dict[str, str]:
        self[language] = {}
        return self[language]


def _read(path: Path) -> _Texts:
    """What the file holds; a last line that was cut short is taken off it."""
    known = _Texts()
    if not path.exists():
        return known
    data = path.read_text(encoding="utf-8", errors="replace")
    whole = data[: data.rfind("\n") + 1]
    if len(whole) < len(data):
        path.write_text(whole, encoding="utf-8")
    for line in whole.split("\n")[:-1]:
        try:
            language, english, text = json.loads(line)
        except ValueError as error:
            msg = f"{path}: a line is no translation: remove the file, it is made again"
            raise TrainingError(msg) from error
        known[language][english] = text
    return known


class SpokenBatches(IterableDataset[SpokenBatch]):
    """An endless stream of batches of about ``seconds`` of speech from sources by weight (a share of the audio).

    ``human``: how many times as likely as another is a language that people have translated the clip into. ``rank`` of
    ``world`` processes gets every ``world``-th batch. Raises TrainingError where a source has nothing that is said.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[Sequence[Said], float]],
        tokenizer: PieceTokenizer,
        *,
        languages: Sequence[str],
        seconds: float,
        human: float,
        most: int,
        stack: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        self.sources = [
            ([one for one in said if self._fits(one, tokenizer, most, stack)], weight)
            for said, weight in sources.values()
        ]
        for name, (said, _) in zip(sources, self.sources, strict=True):
            if not said:
                msg = f"source {name}: no clip says anything that is translated and short enough"
                raise TrainingError(msg)
        self.tokenizer, self.languages, self.seconds, self.human = tokenizer, tuple(languages), seconds, human
        self.seed, self.start, self.rank, self.world = seed, start, rank, world
        means = [np.mean([one.clip.seconds for one in said]) for said, _ in self.sources]
        odds = np.array([weight / mean for (_, weight), mean in zip(self.sources, means, strict=True)])
        self._odds = odds / odds.sum()

    @staticmethod
    def _fits(said: Said, tokenizer: PieceTokenizer, most: int, stack: int) -> bool:
        texts = [*said.machine.values(), *(text for texts in said.human.values() for text in texts)]
        longest = max((len(tokenizer.encode(text)[0]) for text in texts), default=0)
        return 0 < longest <= most - 2 and -(-said.frames // stack) < most

    def pool(self, index: int) -> list[Sequence[Said]]:
        """The batches of one pool, a function of seed and index."""
        rng = np.random.default_rng([self.seed, index])
        drawn: list[Said] = []
        total = 0.0
        while total < self.seconds * BATCHES_A_POOL:
            choices, _ = self.sources[rng.choice(len(self.sources), p=self._odds)]
            drawn.append(choices[int(rng.integers(len(choices)))])
            total += drawn[-1].clip.seconds
        drawn.sort(key=lambda said: said.frames)
        return cut_by_seconds(drawn, [said.clip.seconds for said in drawn], self.seconds, BATCHES_A_POOL, rng)

    def target(self, said: Said, rng: np.random.Generator) -> tuple[str, str]:
        """A language and the text in it."""
        known = [name for name in self.languages if name in said.human or name in said.machine]
        odds = np.array([self.human if name in said.human else 1.0 for name in known])
        language = known[rng.choice(len(known), p=odds / odds.sum())]
        human = said.human.get(language)
        return language, human[int(rng.integers(len(human)))] if human else said.machine[language]

    def collate(self, batch: Sequence[Said], rng: np.random.Generator) -> SpokenBatch:
        """Read and pad."""
        states = [said.states() for said in batch]
        chosen = [self.target(said, rng) for said in batch]
        symbols = [self.tokenizer.languages[language] for language, _ in chosen]
        texts = [[*self.tokenizer.encode(text)[0], END_ID] for _, text in chosen]
        pieces = [self.tokenizer.encode(said.english)[0] for said in batch]
        inputs = [[symbol, *text[:-1]] for symbol, text in zip(symbols, texts, strict=True)]
        return SpokenBatch(
            states=pad_sequence(states, batch_first=True),
            counts=torch.tensor([len(part) for part in states]),
            languages=torch.tensor(symbols),
            tokens=padded(inputs, PAD_ID),
            targets=padded(texts, IGNORED),
            pieces=torch.tensor([piece for part in pieces for piece in part], dtype=torch.long),
            piece_counts=torch.tensor([len(part) for part in pieces]),
        )

    def __iter__(self) -> Iterator[SpokenBatch]:
        for wanted, said in pooled(self.pool, batch_numbers(self.start, self.rank, self.world)):
            yield self.collate(said, np.random.default_rng([self.seed, 1, wanted]))
