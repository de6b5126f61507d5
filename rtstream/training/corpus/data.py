"""Training data: tar shards of encoded clips with a JSONL index, read in place, sampled by source.

Which clips make up a step is a function of the seed and the step alone, so a run that resumes, or that is spread over
processes, sees exactly what it would have seen otherwise.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset, get_worker_info

from rtstream.audio.resample import Resampler
from rtstream.errors import TrainingError
from rtstream.events import SAMPLE_RATE
from rtstream.languages import ENGLISH, known_as, primary
from rtstream.model.config import FOREIGN, KNOWN, NOBODY
from rtstream.training.corpus.augment import Augment, Augmenter
from rtstream.training.corpus.joined import JOINED, join, join_digits
from rtstream.training.corpus.text import letter_ids, normalize, spelt_words
from rtstream.training.corpus.written import alone, in_case, in_style

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.training.speech.teacher_outputs import Taught

T = TypeVar("T")

BATCHES_A_POOL = 16  # batches drawn together, then sorted by length: little padding, still mixed
IGNORED = -100
HALVES = ("choosing", "reporting")
NO_LANGUAGE = "zxx"  # BCP 47
MIN_AGREEMENT = 0.8  # of two teachers, below which a pseudo-label is not used


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording inside a shard; ``text`` is None where there is none to learn from.

    ``taught`` is what the teacher made of it, where that is kept. ``reference`` is the text as the index has it, in
    whatever ``language``, which is one that is learnt or not; ``label`` the index's too, such as the kind of a noise. A
    clip that has ``parts`` is no
    recording of its own: those are heard one after another, ``pauses`` (seconds) between them. ``untaught``: the
    teacher does not know such.
    """

    shard: Path
    offset: int
    size: int
    seconds: float
    text: str | None
    taught: Taught | None = None
    reference: str = ""
    language: str = ENGLISH
    learnt: bool = True
    label: str = ""
    speaker: str = ""
    parts: tuple[Clip, ...] = ()
    pauses: tuple[float, ...] = ()
    untaught: bool = False

    @property
    def kind(self) -> str:
        """What is heard: the label, or else the language."""
        return self.label or self.language

    @property
    def voice(self) -> int:
        """Who speaks."""
        if self.reference == "" and self.language in {ENGLISH, NO_LANGUAGE}:
            return NOBODY
        return KNOWN if self.learnt else FOREIGN

    @property
    def written(self) -> str | None:
        """The text as the decoder shall write it: in the teacher's style, where the teacher wrote one."""
        if self.parts and self.text:
            return f"{', '.join(self.text.split()).capitalize()}."
        theirs = self.taught.written if self.taught is not None else None
        if self.text and self.language not in {ENGLISH, NO_LANGUAGE}:
            return in_case(self.reference, theirs or "")
        if self.untaught and self.text:
            return alone(self.text)
        return self.text if self.text is None or theirs is None else in_style(self.text, theirs)

    def read(self) -> NDArray[np.float32]:
        """Samples, float32 mono at 16 kHz. Raises TrainingError where the shard holds no such audio there."""
        if self.parts:
            return join((part.read() for part in self.parts), self.pauses, self.offset)
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
            samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            msg = f"{self.shard}: the clip at byte {self.offset} cannot be read: {error}"
            raise TrainingError(msg) from error
        if rate != SAMPLE_RATE:
            msg = f"{self.shard}: a clip at {rate} Hz; shards hold {SAMPLE_RATE} Hz"
            raise TrainingError(msg)
        mono = Resampler(SAMPLE_RATE)  # as the service hears it
        return np.concatenate((mono.push(samples), mono.finish()))


def load_shard(path: Path, kind: str | None = None, languages: Collection[str] = (ENGLISH,)) -> list[Clip]:
    """The usable clips of ``path``.tar by ``path``.jsonl, all or those of a ``kind``, which is a label or a language.

    Of the kind JOINED are strings of the shard's single digits, see ``joined``. Clips of other ``languages`` have no
    text to learn from. Raises TrainingError where either file is missing or broken, or holds none.
    """
    if kind == JOINED:
        singles = load_shard(path)
        try:
            return join_digits(singles)
        except TrainingError as error:
            raise TrainingError(f"{path}: {error}") from None
    tar, index = path.with_suffix(".tar"), path.with_suffix(".jsonl")
    try:
        rows = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
        with tarfile.open(tar) as archive:
            files = [member for member in archive if member.isfile()]
    except (OSError, ValueError, tarfile.TarError) as error:
        msg = f"{path}: no shard (needs .tar and .jsonl): {error}"
        raise TrainingError(msg) from error
    places = {Path(member.name).name: (member.offset_data, member.size) for member in files}
    clips, kinds = [], set[str]()
    for number, row in enumerate(rows, start=1):
        try:
            if row.get("agree", 1.0) < MIN_AGREEMENT or row["file"] not in places:
                continue
            language = row.get("lang", ENGLISH)
            learnt = known_as(language, languages) is not None
            spoken = ENGLISH if language == NO_LANGUAGE else language
            text = normalize(row["text"], spoken) if learnt or language == NO_LANGUAGE else None
            clip = Clip(
                tar,
                *places[row["file"]],
                seconds=float(row["dur"]),
                text=text,
                reference=row.get("text_cased") or row.get("text") or "",
                language=language,
                learnt=learnt,
                label=row.get("label") or "",
                speaker=row.get("speaker") or "",
            )
            kinds.add(clip.kind)
            if kind is None or kind in {clip.language, clip.label}:
                clips.append(clip)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"{index}: line {number} is no clip ({type(error).__name__}: {error}): it needs file, dur and text"
            raise TrainingError(msg) from error
    if not clips:
        of_kind = f" of the kind '{kind}': it has {', '.join(sorted(kinds))}" if kind is not None and kinds else ""
        msg = f"{path}: no usable clip in the shard{of_kind}"
        raise TrainingError(msg)
    return clips


def load_set(folder: Path, name: str, languages: Collection[str] = (ENGLISH,)) -> list[Clip]:
    """The clips of NAME, NAME:KIND, NAME:HALF or NAME:KIND:HALF, as the commands call sets, in ``folder``.

    The HALVES are parted by speaker: what is chosen on one is reported on the other. Where all are of one speaker, or
    of none that is known, they are parted by clip. Raises as ``load_shard``.
    """
    whole, _, half = name.rpartition(":")
    if half not in HALVES:
        whole, half = name, ""
    shard, _, kind = whole.partition(":")
    clips = load_shard(folder / shard, kind or None, languages)
    if not half:
        return clips
    several = len({clip.speaker for clip in clips}) > 1
    speakers = sorted({clip.speaker for clip in clips}, key=lambda speaker: zlib.crc32(speaker.encode()))
    places = {speaker: index for index, speaker in enumerate(speakers)}
    return [
        clip
        for index, clip in enumerate(clips)
        if (places[clip.speaker] if several else index) % 2 == HALVES.index(half)
    ]


def find_shard(folders: Sequence[Path], name: str, languages: Collection[str] = (ENGLISH,)) -> list[Clip]:
    """``load_set`` from the first of the folders that has a shard of this name. Raises TrainingError where none has."""
    shard = name.partition(":")[0]
    for folder in folders:
        if (folder / shard).with_suffix(".jsonl").is_file():
            return load_set(folder, name, languages)
    msg = f"{shard}: no shard (needs .tar and .jsonl) in {', '.join(map(str, folders))}"
    raise TrainingError(msg)


PADDED_FRAMES = 64
"""Encoder frames that the length of a batch is a multiple of; so are its samples, of frames of 24 ms."""
PADDED_SAMPLES = 384 * PADDED_FRAMES
PADDED_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of about one length, padded.

    ``audio`` (batch, samples) after augmentation; ``samples`` (batch,) that count. ``tokens`` (batch, n) decoder input,
    ``targets`` (batch, n) with IGNORED where nothing is learnt; ``letters`` all CTC targets one after another,
    ``letter_counts`` (batch,), -1 for clips without a text. ``word_tokens`` (batch, words): text tokens up to the end
    of each word, 0 past the last. ``goals`` (batch, frames, d_model) the teacher's kept states, float16, of which
    ``goal_counts`` (batch,) count; (batch, 0, 0) where none are kept. ``voices`` (batch,) who speaks, as ``nn.voice``
    numbers it.
    """

    audio: Tensor
    samples: Tensor
    tokens: Tensor
    targets: Tensor
    letters: Tensor
    letter_counts: Tensor
    word_tokens: Tensor
    goals: Tensor
    goal_counts: Tensor
    voices: Tensor

    def rounded_up(self) -> Batch:
        """The same, with audio, goals and tokens padded on to lengths that come again.

        Kernels are made anew for each shape: on a processor with AMX that took a third of a step.
        """

        def longer(rows: Tensor, step: int, value: int = 0) -> Tensor:
            missing = -rows.shape[1] % step
            behind = (0, missing) if rows.dim() == 2 else (0, 0, 0, missing)
            return F.pad(rows, behind, value=value) if missing else rows

        return replace(
            self,
            audio=longer(self.audio, PADDED_SAMPLES),
            goals=longer(self.goals, PADDED_FRAMES),
            tokens=longer(self.tokens, PADDED_TOKENS),
            targets=longer(self.targets, PADDED_TOKENS, IGNORED),
        )

    def first(self, rows: int) -> Batch:
        """The first ``rows`` clips."""
        letters = int(self.letter_counts[:rows].clamp(min=0).sum())
        cut = {name: getattr(self, name)[: letters if name == "letters" else rows] for name in self.__slots__}
        return Batch(**cut)


class Batches(IterableDataset[Batch]):
    """An endless stream of batches of about ``seconds`` of audio from sources by weight (a share of the audio).

    ``rank`` of ``world`` processes gets every ``world``-th batch. ``start`` skips to a step without reading a clip.
    Raises TrainingError where a source has no clip of more than 0.1 s and at most ``max_clip``.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[Sequence[Clip], float]],
        tokenizer: Tokenizer,
        augment: Augment,
        noise: Sequence[Clip],
        *,
        seconds: float,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        max_clip: float = 20.0,
    ) -> None:
        super().__init__()
        self.sources: list[tuple[list[Clip], float]] = []
        for name, (clips, weight) in sources.items():
            usable = [clip for clip in clips if 0.1 < clip.seconds <= max_clip]
            if not usable:
                msg = f"source {name}: no clip is longer than 0.1 s and at most {max_clip:g} s long"
                raise TrainingError(msg)
            self.sources.append((usable, weight))
        self.tokenizer = tokenizer
        self.augment = augment
        self.noise = noise
        self.seconds, self.seed, self.start, self.rank, self.world = seconds, seed, start, rank, world
        means = [np.mean([clip.seconds for clip in clips]) for clips, _ in self.sources]
        odds = np.array([weight / mean for (_, weight), mean in zip(self.sources, means, strict=True)])
        self._odds = odds / odds.sum()

    def pool(self, index: int) -> list[Sequence[Clip]]:
        """The batches of one pool, a function of seed and index."""
        rng = np.random.default_rng([self.seed, index])
        clips: list[Clip] = []
        total = 0.0
        while total < self.seconds * BATCHES_A_POOL:
            choices, _ = self.sources[rng.choice(len(self.sources), p=self._odds)]
            clips.append(choices[int(rng.integers(len(choices)))])
            total += clips[-1].seconds
        clips.sort(key=lambda clip: clip.seconds)
        return cut_by_seconds(clips, [clip.seconds for clip in clips], self.seconds, BATCHES_A_POOL, rng)

    def collate(self, clips: Sequence[Clip], rng: np.random.Generator) -> Batch:
        """Read, augment and pad."""
        augmenter = Augmenter(self.augment, self.noise, rng)
        # What the teacher's states were made of must be heard again.
        clean = [augmenter.clean(c.read()) if c.taught is None else clean_clip(self.augment, c) for c in clips]
        heard = [augmenter.dirty(samples) for samples in clean]
        width = max((clip.taught.d_model for clip in clips if clip.taught is not None), default=0)
        nothing = np.zeros((0, width), np.float16)
        goals = [clip.taught.read() if clip.taught is not None else nothing for clip in clips]
        longest = max(map(len, heard))
        audio = torch.zeros(len(clips), longest)
        for row, samples in enumerate(heard):
            audio[row, : len(samples)] = torch.from_numpy(samples)

        prompts = [self.tokenizer.prompt(self._prompted(clip)) for clip in clips]
        written = [clip.written for clip in clips]
        texts = [[*self.tokenizer.encode(f" {text}" if text else ""), self.tokenizer.end] for text in written]
        width = len(prompts[0]) + max(map(len, texts)) - 1
        tokens = torch.full((len(clips), width), self.tokenizer.end)
        targets = torch.full((len(clips), width), IGNORED)
        letters: list[int] = []
        counts: list[int] = []
        for row, (clip, prompt, text) in enumerate(zip(clips, prompts, texts, strict=True)):
            tokens[row, : len(prompt) + len(text) - 1] = torch.tensor([*prompt, *text[:-1]])
            # After the first token Whisper's decoder says the language, or that there is no speech.
            if self.tokenizer.no_speech is not None:
                spoken = self.tokenizer.languages.get(primary(clip.language), IGNORED)
                targets[row, 0] = self.tokenizer.no_speech if clip.text == "" else spoken
            if clip.text is None:
                counts.append(-1)
                continue
            targets[row, len(prompt) - 1 : len(prompt) - 1 + len(text)] = torch.tensor(text)
            letters.extend(letter_ids(clip.text))
            counts.append(len(clip.text))
        return Batch(
            audio=audio,
            samples=torch.tensor([len(samples) for samples in heard]),
            tokens=tokens,
            targets=targets,
            letters=torch.tensor(letters, dtype=torch.long),
            letter_counts=torch.tensor(counts),
            word_tokens=pad_sequence(list(map(self._word_tokens, written, clips)), batch_first=True),
            goals=pad_sequence([torch.from_numpy(states) for states in goals], batch_first=True),
            goal_counts=torch.tensor([len(states) for states in goals]),
            voices=torch.tensor([clip.voice for clip in clips]),
        )

    def _prompted(self, clip: Clip) -> str:
        """The language that the decoder is told; where there is no text it learns nothing behind that."""
        return primary(clip.language) if clip.text and clip.language != NO_LANGUAGE else ENGLISH

    def _word_tokens(self, text: str | None, clip: Clip) -> Tensor:
        # Words are encoded one by one, so their tokens add up to those of the text.
        ends: list[int] = []
        count = 0
        for word, spelt in zip((text or "").split(), spelt_words(text or "", clip.language), strict=True):
            before, count = ends[-1] if ends else 0, count + len(self.tokenizer.encode(f" {word}"))
            ends += [*[before] * (spelt - 1), count][:spelt]
        if ends:
            ends[-1] = count  # with a dash behind the last word
        return torch.tensor(ends, dtype=torch.long)

    def __iter__(self) -> Iterator[Batch]:
        for wanted, clips in pooled(self.pool, batch_numbers(self.start, self.rank, self.world)):
            yield self.collate(clips, np.random.default_rng([self.seed, 1, wanted]))


def cut_by_seconds(
    items: Sequence[T], lengths: Sequence[float], seconds: float, parts: int, rng: np.random.Generator
) -> list[Sequence[T]]:
    """At most ``parts`` runs of items of about ``seconds`` each, in any order; ``lengths`` of the items in seconds."""
    bounds = np.searchsorted(np.cumsum(lengths), np.arange(1, parts) * seconds)
    runs = [items[a:b] for a, b in zip([0, *bounds], [*bounds, len(items)], strict=True)]
    return [runs[i] for i in rng.permutation(len(runs)) if runs[i]]


def pooled(pool: Callable[[int], Sequence[T]], numbers: Iterable[int]) -> Iterator[tuple[int, T]]:
    """The batches of these numbers, which rise, each with its number; ``pool`` gives pools of them by index."""
    index = seen = 0
    batches: Sequence[T] = ()
    for wanted in numbers:
        while wanted >= seen + len(batches):
            seen += len(batches)
            batches = pool(index)
            index += 1
        yield wanted, batches[wanted - seen]


def batch_numbers(start: int, rank: int, world: int) -> Iterator[int]:
    """Numbers of the batches that this process makes: of steps from ``start`` on, for ``rank`` of ``world``."""
    worker = get_worker_info()  # the loader takes from its workers in turn, so each makes every n-th batch
    first, stride = (start, 1) if worker is None else (start + worker.id, worker.num_workers)
    for step in itertools.count(first, stride):
        yield step * world + rank


def clean_clip(augment: Augment, clip: Clip) -> NDArray[np.float32]:
    """A clip before noise, rooms and gain, always the same: what the teacher is given."""
    return Augmenter(augment, (), np.random.default_rng([clip.offset, clip.size])).clean(clip.read())
