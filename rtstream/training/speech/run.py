"""Putting a run together from a recipe, the data and a start."""

from __future__ import annotations

import copy
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.distributed as dist

from rtstream.bundle.config import from_dict
from rtstream.bundle.files import MANIFEST
from rtstream.bundle.text_bundle import PIECES, holds_text_model
from rtstream.bundle.tokenizer import Tokenizer
from rtstream.engine.open import load_bundle
from rtstream.engine.torch_int8 import speech_model
from rtstream.errors import TrainingError
from rtstream.languages import ENGLISH, primary
from rtstream.model.names import renamed
from rtstream.nn.model import SpeechModel
from rtstream.recognizer.context import AFTER_SECONDS, LEAST_SECONDS, SEEN_FRAMES
from rtstream.training.core.loop import CHECKPOINT, read_checkpoint
from rtstream.training.core.precision import multiplies_bfloat16
from rtstream.training.corpus.data import Batches, clean_clip, find_shard
from rtstream.training.speech.align_layers import align_layers
from rtstream.training.speech.distill import Teacher
from rtstream.training.speech.initialization import (
    as_taught,
    chunks_alone,
    from_teacher,
    mixed,
    narrowed,
    restructure,
    two_passes,
    unshared,
    with_decoder,
    with_languages,
    with_layers,
)
from rtstream.training.speech.surgery import shared_start
from rtstream.training.speech.teacher import load_teacher
from rtstream.training.speech.teacher_outputs import WholeTeacher, teach
from rtstream.training.speech.trainer import Trainer
from rtstream.training.speech.vocabulary import common_words, cut_tokenizer, kept_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from rtstream.model.config import EncoderConfig
    from rtstream.nn.decoder import Decoder
    from rtstream.training.corpus.augment import Augment
    from rtstream.training.corpus.data import Clip
    from rtstream.training.speech.lattice import Lattice
    from rtstream.training.speech.recipe import Encoder, Recipe
    from rtstream.training.speech.teacher import Checkpoint

TOKENIZER = "tokenizer.json"
MEASURED = 150
"""Recordings on which layers that come to share are to lose least."""

TeachingReport = Callable[[str, int, int], object]
"""Told the source, and how many of its clips the teacher has been given of how many."""


def load_checkpoint(path: Path) -> tuple[SpeechModel, Tokenizer]:
    """The averaged model of a run's checkpoint and the tokenizer beside it.

    Raises TrainingError where it is no checkpoint, BundleError where its sizes or tokenizer are broken.
    """
    state = read_checkpoint(path, torch.device("cpu"))
    try:
        model = SpeechModel(from_dict(state["config"]))
        model.load_state_dict(renamed(state["model"] | state["average"]))
    except (RuntimeError, TypeError) as error:
        msg = f"{path}: not a checkpoint of a training run: {error}"
        raise TrainingError(msg) from error
    return model, Tokenizer.load(path.parent / TOKENIZER)


def load_start(path: Path) -> tuple[SpeechModel, Tokenizer]:
    """Model and tokenizer of a run's directory, its checkpoint, or a bundle.

    Raises TrainingError or BundleError naming what is wrong with it.
    """
    if holds_text_model(path):
        msg = f"{path}: a model that translates ({PIECES} is there), not one of speech: name a speech run or bundle"
        raise TrainingError(msg)
    if (path / MANIFEST).exists():
        bundle = load_bundle(path, "float")
        return speech_model(bundle.engine).requires_grad_(requires_grad=True), bundle.tokenizer
    if path.is_dir() and not (path / CHECKPOINT).exists():
        msg = f"{path}: neither a run ({CHECKPOINT}) nor a bundle ({MANIFEST})"
        raise TrainingError(msg)
    return load_checkpoint(path / CHECKPOINT if path.is_dir() else path)


def target_encoder(source: EncoderConfig, wanted: Encoder) -> EncoderConfig:
    """The encoder that a recipe asks for, grown from ``source``."""
    try:
        return replace(
            source,
            layers=source.layers * wanted.grow,
            share=wanted.share,
            rank=wanted.rank,
            diagonal=wanted.diagonal,
            full_rank=wanted.full_rank,
            layer_scale=source.layer_scale or wanted.grow > 1,
            left_context=wanted.left_context,
            whole=wanted.whole,
            whole_rank=wanted.whole_rank,
        )
    except ValueError as error:
        msg = f"encoder: {error}"
        raise TrainingError(msg) from error


def make_tokenizer(recipe: Recipe, teacher: Checkpoint, directory: Path, texts: Path) -> Tokenizer:
    """The run's tokenizer: cut from the teacher's once, then read from the run's directory."""
    path = directory / TOKENIZER
    if not path.exists():
        v = recipe.vocabulary
        files = [texts / name for name in v.texts]
        languages = (v.languages or recipe.languages) if v.words else ()
        words = [word for language in languages for word in common_words(language, v.words)]
        cut_tokenizer(teacher.tokenizer, files, lower=v.lower, cased=v.cased, words=words).save(path)
    return Tokenizer.load(path)


def make_trainer(
    recipe: Recipe,
    *,
    directory: Path,
    audio: Sequence[Path],
    texts: Path,
    teacher_directory: Path,
    taught: Path,
    start: tuple[SpeechModel, Tokenizer] | None = None,
    guide: tuple[SpeechModel, Tokenizer] | None = None,
    lattice: Lattice | None = None,
    rank: int = 0,
    world: int = 1,
    report: TeachingReport = lambda *_: None,
) -> Trainer:
    """A trainer ready to run, resumed where ``directory`` holds a checkpoint of the recipe.

    ``start`` is another run's model and tokenizer, the teacher by default; it counts for a new run only, but for the
    decoder that is imitated where the recipe keeps some of its layers. ``guide``: the model whose decoder is imitated,
    and its tokenizer, where the recipe is guided. ``audio``:
    folders of the shards, the first that has one counts; ``texts`` holds the vocabulary's files; ``taught`` keeps what
    the teacher makes of the clips, where the recipe asks for it, and ``report`` is told how far that has come. ``rank``
    and ``world`` are what ``join_processes`` gave. Raises TrainingError and BundleError naming what is missing or does
    not fit.
    """
    resumed = (directory / CHECKPOINT).exists()
    _check_start(recipe, start, lattice, guide, resumed=resumed)
    deep = _imitated_decoder(recipe, start, guide)
    directory.mkdir(parents=True, exist_ok=True)
    needs_teacher = recipe.taught > 0 or (not resumed and (start is None or recipe.mix > 0 or recipe.decoder.whole))
    teacher = load_teacher(teacher_directory) if needs_teacher else None
    if resumed:
        model, tokenizer = load_checkpoint(directory / CHECKPOINT)
        check_structure(directory / CHECKPOINT, model.config.encoder, recipe.encoder)
    else:
        if start is not None and (recipe.encoder.whole_rank or _goes_on(recipe, start[0])):
            if teacher is not None and not recipe.rounded:
                start = _given(*start, teacher)
            if rank == 0 and not recipe.decoder.whole:
                start[1].save(directory / TOKENIZER)
        if rank == 0 and teacher is not None:
            make_tokenizer(recipe, teacher, directory, texts)
        if world > 1:
            dist.barrier()
        tokenizer = Tokenizer.load(directory / TOKENIZER)
        model = _restructured(_begin(recipe, tokenizer, teacher, start, audio), recipe)
    if recipe.spec_augment and model.config.encoder.front_end == "wave":
        raise TrainingError("spec_augment: must be false: it changes log-mel features, and this model reads the wave")
    if recipe.decoder.layers and not resumed:
        model = with_layers(model, recipe.decoder.layers)
    imitated = _guide(recipe, tokenizer, teacher, deep)
    batches = _batches(recipe, tokenizer, teacher, audio, taught, rank=rank, world=world, report=report)
    trainer = Trainer(recipe, model, imitated, batches, directory, lattice=lattice)
    trainer.resume()
    return trainer


def _imitated_decoder(
    recipe: Recipe, start: tuple[SpeechModel, Tokenizer] | None, guide: tuple[SpeechModel, Tokenizer] | None
) -> Decoder | None:
    """The guide's decoder, or the start's where that is imitated; a copy where the run's own begins as it."""
    if guide is not None:
        return guide[0].decoder
    if start is None or not (recipe.decoder.layers or recipe.lattice):
        return None
    return copy.deepcopy(start[0].decoder) if recipe.lattice else start[0].decoder


def _guide(recipe: Recipe, tokenizer: Tokenizer, teacher: Checkpoint | None, deep: Decoder | None) -> Decoder | None:
    """The decoder that is imitated: ``deep``, else the teacher's; none where nothing is."""
    if deep is not None:
        return deep
    if not recipe.taught or recipe.loss.imitation <= 0:
        return None
    assert teacher is not None
    return _over(tokenizer, teacher, recipe.seed).decoder


def _batches(
    recipe: Recipe,
    tokenizer: Tokenizer,
    teacher: Checkpoint | None,
    audio: Sequence[Path],
    taught: Path,
    *,
    rank: int,
    world: int,
    report: TeachingReport,
) -> Batches:
    """The recipe's batches; of clips that the teacher is given, where the recipe says for how long."""
    unknown = [name for name in recipe.languages if name != ENGLISH and primary(name) not in tokenizer.languages]
    if unknown:
        raise TrainingError(f"languages: the model's tokenizer has no token for {', '.join(unknown)}")
    noise = find_shard(audio, recipe.noise)
    sources = {name: find_shard(audio, name, recipe.languages) for name in recipe.sources}
    if recipe.taught:
        assert teacher is not None
        sources = teach_sources(recipe, sources, teacher, taught, report, untaught=recipe.untaught)
    return Batches(
        {name: (sources[name], weight) for name, weight in recipe.sources.items()},
        tokenizer,
        recipe.augment,
        noise,
        seconds=recipe.optimizer.seconds,
        seed=recipe.seed,
        rank=rank,
        world=world,
        max_clip=recipe.max_clip,
    )


def _over(tokenizer: Tokenizer, teacher: Checkpoint, seed: int) -> SpeechModel:
    """The teacher over the tokens of ``tokenizer``."""
    return from_teacher(teacher, tokenizer, kept_ids(teacher.tokenizer, tokenizer), seed)


def _begin(
    recipe: Recipe,
    tokenizer: Tokenizer,
    teacher: Checkpoint | None,
    start: tuple[SpeechModel, Tokenizer] | None,
    audio: Sequence[Path],
) -> SpeechModel:
    """Where the run begins, before the recipe's structure: the start, the teacher, between them or both."""
    if recipe.decoder.whole and start is not None:
        assert teacher is not None
        return with_decoder(start[0], _over(tokenizer, teacher, recipe.seed))
    if start is not None and _goes_on(recipe, start[0]):
        if recipe.encoder.one_pass and not start[0].config.one_pass:
            return chunks_alone(start[0])
        return start[0]
    assert teacher is not None
    whole = _over(tokenizer, teacher, recipe.seed)
    model = whole if start is None else start[0]
    if recipe.encoder.whole_rank:
        target = target_encoder(whole.config.encoder, recipe.encoder)
        return shared_start(whole, target, _recordings(recipe, audio), None if start is None else start[0])
    if recipe.encoder.whole:
        return two_passes(model, whole, target_encoder(model.config.encoder, recipe.encoder))
    return mixed(model, whole, recipe.mix)


def _recordings(recipe: Recipe, audio: Sequence[Path]) -> list[Tensor]:
    """Some recordings of each source, as many as its share has of ``MEASURED``; the same each time."""
    total = sum(recipe.sources.values())
    chosen: list[Clip] = []
    for name, share in recipe.sources.items():
        clips = [clip for clip in find_shard(audio, name) if 0.5 < clip.seconds <= recipe.max_clip]
        wanted = max(1, round(MEASURED * share / total))
        chosen += clips[:: max(1, len(clips) // wanted)][:wanted]
    return [torch.from_numpy(clip.read()) for clip in chosen]


def _check_start(
    recipe: Recipe,
    start: tuple[SpeechModel, Tokenizer] | None,
    lattice: Lattice | None,
    guide: tuple[SpeechModel, Tokenizer] | None,
    *,
    resumed: bool,
) -> None:
    """Raise TrainingError where a recipe has not the start, lattice or guide that it needs."""
    if recipe.decoder.guided != (guide is not None):
        raise TrainingError("--guide: a recipe with decoder.guided = true needs a model to imitate, no other has one")
    if guide is not None and start is not None and guide[1].pieces != start[1].pieces:
        raise TrainingError("--guide: its tokens are not those of --from: name the model that this was made of")
    if recipe.lattice != (lattice is not None):
        raise TrainingError("--lattice: a recipe with lattice = true needs a bundle of few bits, no other has one")
    if (recipe.decoder.layers or recipe.lattice) and start is None:
        what = "decoder.layers" if recipe.decoder.layers else "lattice"
        msg = f"--from: a recipe with {what} needs the run or bundle whose decoder is imitated"
        raise TrainingError(msg)
    if not recipe.rounded or resumed:
        return
    if start is None:
        raise TrainingError("--from: a recipe that is rounded needs the bundle whose rounding it makes up for")
    own = start[0].config.encoder
    if not _narrower(own, target_encoder(own, recipe.encoder)):
        check_structure(Path("--from"), own, recipe.encoder)


def _given(model: SpeechModel, tokenizer: Tokenizer, teacher: Checkpoint) -> tuple[SpeechModel, Tokenizer]:
    """A start that is gone on with, with what a bundle lacks or has rounded of the teacher."""
    model, tokenizer = with_languages(model, tokenizer, teacher)
    if model.config.encoder.whole and model.config.encoder.share == 1:
        as_taught(model, teacher)
    return model, tokenizer


def _goes_on(recipe: Recipe, start: SpeechModel) -> bool:
    """Whether a run takes its start as it is: without the teacher's weights, over the tokens that the start has."""
    if recipe.encoder.whole_rank and not start.config.encoder.whole_rank:
        return False  # its layers are to come to share: from the teacher's
    return not recipe.mix and (start.config.encoder.whole or not recipe.encoder.whole)


class TaughtRecipe(Protocol):
    """What of a recipe says which clips the teacher is given, and how they are heard."""

    @property
    def taught(self) -> float:
        """Hours of audio."""
        ...

    @property
    def sources(self) -> Mapping[str, float]:
        """Shards and their shares of it."""
        ...

    @property
    def max_clip(self) -> float:
        """Seconds; longer clips are left out."""
        ...

    @property
    def augment(self) -> Augment:
        """What is done to clips, the teacher's too."""
        ...


def teach_sources(
    recipe: TaughtRecipe,
    sources: Mapping[str, Sequence[Clip]],
    teacher: Checkpoint,
    directory: Path,
    report: TeachingReport,
    *,
    untaught: Sequence[str] = (),
) -> dict[str, list[Clip]]:
    """Of each source as many clips as its share of the recipe's hours has, with what the teacher makes of them.

    That is kept under a name for what it was made with. The teacher is not given the sources ``untaught``.
    """
    tokenizer = teacher.tokenizer
    student = from_teacher(teacher, tokenizer, list(range(len(tokenizer))), 0).eval()
    if multiplies_bfloat16(torch.device("cpu")):  # once, where autocast would convert its weights for every token
        student.decoder.to(torch.bfloat16)
    whole = WholeTeacher(Teacher(student.encoder), student.decoder, tokenizer)
    made_with = f"{recipe.augment.heard()} {teacher.fingerprint} {LEAST_SECONDS} {AFTER_SECONDS} {SEEN_FRAMES}"
    directory /= hashlib.sha256(made_with.encode()).hexdigest()[:12]
    total = sum(recipe.sources.values())
    chosen = {}
    for shard, clips in sources.items():
        seconds = recipe.taught * 3600 * recipe.sources[shard] / total
        usable = [clip for clip in clips if 0.1 < clip.seconds <= recipe.max_clip]
        mixed = sorted(usable, key=lambda clip: zlib.crc32(str(clip.offset).encode()))
        before = np.cumsum([0.0, *(clip.seconds for clip in mixed)])
        some = [clip for clip, start in zip(mixed, before, strict=False) if start < seconds]
        hear = partial(clean_clip, recipe.augment)
        # The teacher hardly writes anything of joined digits: they are learnt from their texts alone.
        own = [replace(clip, untaught=True) for clip in some if clip.parts or shard in untaught]
        others = [clip for clip in some if not clip.parts and shard not in untaught]
        given = teach(others, directory / shard, whole, hear, partial(report, shard)) if others else []
        chosen[shard] = [*given, *own]
    return chosen


def _restructured(model: SpeechModel, recipe: Recipe) -> SpeechModel:
    """The model with the encoder that the recipe asks for; one of the same structure keeps its matrices as they are."""
    current = model.config.encoder
    wanted = target_encoder(current, recipe.encoder)
    if wanted == current:
        return model
    if wanted == replace(current, left_context=wanted.left_context):
        return restructure(model, wanted)
    torch.manual_seed(recipe.seed)  # the low-rank parts start at random where there is nothing to keep
    if _narrower(current, wanted):
        return narrowed(model, wanted.rank)
    if current.share > 1 or current.rank or current.diagonal:
        model = unshared(model)
        wanted = target_encoder(model.config.encoder, recipe.encoder)
    if wanted.share > recipe.encoder.grow:
        align_layers(model.encoder, wanted.share // recipe.encoder.grow)
    return restructure(model, wanted, fading=recipe.fade_steps > 0)


def _narrower(current: EncoderConfig, wanted: EncoderConfig) -> bool:
    """Whether the one wanted is the other but for private parts of a lower rank."""
    return 0 < wanted.rank < current.rank and wanted == replace(current, rank=wanted.rank)


def check_structure(path: Path, got: EncoderConfig, wanted: Encoder) -> None:
    """Raise TrainingError where the encoder of the checkpoint at ``path`` is not the one that the recipe asks for."""
    for name in ("share", "rank", "diagonal", "full_rank", "left_context", "whole", "whole_rank"):
        if getattr(got, name) != getattr(wanted, name):
            msg = (
                f"{path}: its encoder has {name} {getattr(got, name)}, the recipe {getattr(wanted, name)}: "
                "give the changed recipe another name or directory"
            )
            raise TrainingError(msg)
