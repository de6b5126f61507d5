"""Putting a run together from a recipe, the data and a start."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from rtstream.bundle.bundle import MANIFEST, load_bundle
from rtstream.bundle.config import from_dict
from rtstream.bundle.tokenizer import Tokenizer
from rtstream.errors import TrainingError
from rtstream.nn.model import SpeechModel
from rtstream.training.align import align_layers
from rtstream.training.data import Batches, load_shard
from rtstream.training.distill import Teacher
from rtstream.training.loop import CHECKPOINT, Trainer, read_checkpoint
from rtstream.training.start import from_teacher, restructure, teacher_encoder, unshared
from rtstream.training.vocabulary import cut_tokenizer, kept_ids
from rtstream.training.whisper import load_whisper

if TYPE_CHECKING:
    from pathlib import Path

    from rtstream.nn.encoder import EncoderConfig
    from rtstream.training.recipe import Encoder, Recipe
    from rtstream.training.whisper import WhisperCheckpoint

TOKENIZER = "tokenizer.json"


def load_checkpoint(path: Path) -> tuple[SpeechModel, Tokenizer]:
    """The averaged model of a run's checkpoint and the tokenizer beside it.

    Raises TrainingError where it is no checkpoint, BundleError where its sizes or tokenizer are broken.
    """
    state = read_checkpoint(path, torch.device("cpu"))
    try:
        model = SpeechModel(from_dict(state["config"]))
        model.load_state_dict(state["model"] | state["average"])
    except (RuntimeError, TypeError) as error:
        msg = f"{path}: not a checkpoint of a training run: {error}"
        raise TrainingError(msg) from error
    return model, Tokenizer.load(path.parent / TOKENIZER)


def load_start(path: Path) -> tuple[SpeechModel, Tokenizer]:
    """Model and tokenizer of a run's directory, its checkpoint, or a bundle.

    Raises TrainingError or BundleError naming what is wrong with it.
    """
    if (path / MANIFEST).exists():
        bundle = load_bundle(path, "float")
        return bundle.model.requires_grad_(requires_grad=True), bundle.tokenizer
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
        )
    except ValueError as error:
        msg = f"encoder: {error}"
        raise TrainingError(msg) from error


def make_tokenizer(recipe: Recipe, teacher: WhisperCheckpoint, directory: Path, texts: Path) -> Tokenizer:
    """The run's tokenizer: cut from the teacher's once, then read from the run's directory."""
    path = directory / TOKENIZER
    if not path.exists():
        files = [texts / name for name in recipe.vocabulary.texts]
        cut = cut_tokenizer(teacher.tokenizer, files, lower=recipe.vocabulary.lower, cased=recipe.vocabulary.cased)
        cut.save(path)
    return Tokenizer.load(path)


def make_trainer(
    recipe: Recipe,
    *,
    directory: Path,
    audio: Path,
    texts: Path,
    teacher_directory: Path,
    start: tuple[SpeechModel, Tokenizer] | None = None,
    rank: int = 0,
    world: int = 1,
) -> Trainer:
    """A trainer ready to run, resumed where ``directory`` holds a checkpoint of the recipe.

    ``start`` is another run's model and tokenizer, the teacher by default; it counts for a new run only. ``audio``
    holds the shards and ``texts`` the vocabulary's files; ``rank`` and ``world`` are what ``join_processes`` gave.
    Raises TrainingError and BundleError naming what is missing or does not fit.
    """
    directory.mkdir(parents=True, exist_ok=True)
    resumed = (directory / CHECKPOINT).exists()
    needs_teacher = recipe.loss.distance > 0 and recipe.loss.distance_steps > 0
    teacher = load_whisper(teacher_directory) if needs_teacher or (start is None and not resumed) else None
    if resumed:
        model, tokenizer = load_checkpoint(directory / CHECKPOINT)
        _check_structure(directory / CHECKPOINT, model.config.encoder, recipe.encoder)
    elif start is not None:
        model, tokenizer = start
        if rank == 0:
            tokenizer.save(directory / TOKENIZER)
        model = _restructured(model, recipe)
    else:
        assert teacher is not None
        if rank == 0:
            make_tokenizer(recipe, teacher, directory, texts)
        if world > 1:
            dist.barrier()
        tokenizer = make_tokenizer(recipe, teacher, directory, texts)
        model = from_teacher(teacher, tokenizer, kept_ids(teacher.tokenizer, tokenizer), recipe.seed)
        model = _restructured(model, recipe)
    batches = Batches(
        {name: (load_shard(audio / name), weight) for name, weight in recipe.sources.items()},
        tokenizer,
        recipe.augment,
        load_shard(audio / recipe.noise),
        seconds=recipe.optimizer.seconds,
        seed=recipe.seed,
        rank=rank,
        world=world,
        max_clip=recipe.max_clip,
    )
    guide = Teacher(teacher_encoder(teacher)) if needs_teacher and teacher is not None else None
    trainer = Trainer(recipe, model, guide, batches, directory)
    trainer.resume()
    return trainer


def _restructured(model: SpeechModel, recipe: Recipe) -> SpeechModel:
    """The model with the encoder that the recipe asks for; one of the same structure keeps its matrices as they are."""
    current = model.config.encoder
    wanted = target_encoder(current, recipe.encoder)
    if wanted == current:
        return model
    if wanted == replace(current, left_context=wanted.left_context):
        return restructure(model, wanted)
    torch.manual_seed(recipe.seed)  # the low-rank parts start at random where there is nothing to keep
    if current.share > 1 or current.rank or current.diagonal:
        model = unshared(model)
        wanted = target_encoder(model.config.encoder, recipe.encoder)
    if wanted.share > recipe.encoder.grow:
        align_layers(model.encoder, wanted.share // recipe.encoder.grow)
    return restructure(model, wanted, fading=recipe.fade_steps > 0)


def _check_structure(path: Path, got: EncoderConfig, wanted: Encoder) -> None:
    for name in ("share", "rank", "diagonal", "full_rank", "left_context"):
        if getattr(got, name) != getattr(wanted, name):
            msg = (
                f"{path}: its encoder has {name} {getattr(got, name)}, the recipe {getattr(wanted, name)}: "
                "give the changed recipe another name or directory"
            )
            raise TrainingError(msg)
