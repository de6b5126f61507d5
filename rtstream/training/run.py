"""Putting a run together from a recipe, the data and a start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from rtstream.bundle.config import from_dict
from rtstream.bundle.tokenizer import Tokenizer
from rtstream.errors import TrainingError
from rtstream.nn.encoder import EncoderConfig
from rtstream.nn.model import SpeechModel
from rtstream.training.data import Batches, load_shard
from rtstream.training.distill import Teacher
from rtstream.training.loop import Trainer
from rtstream.training.recipe import Encoder, Recipe
from rtstream.training.start import from_teacher, restructure, teacher_encoder
from rtstream.training.vocabulary import cut_tokenizer, kept_ids
from rtstream.training.whisper import WhisperCheckpoint, load_whisper

TOKENIZER = "tokenizer.json"


def load_checkpoint(path: Path) -> tuple[SpeechModel, Tokenizer]:
    """The averaged model of a run's checkpoint and the tokenizer beside it. Raises TrainingError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model = SpeechModel(from_dict(state["config"]))
        model.load_state_dict(state["model"] | state["average"])
    except (OSError, RuntimeError, KeyError) as error:
        msg = f"{path}: not a checkpoint of a training run: {error}"
        raise TrainingError(msg) from error
    return model, Tokenizer.load(path.parent / TOKENIZER)


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
            layer_scale=wanted.grow > 1,
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

    ``start`` is another run's model and tokenizer, the teacher by default. ``audio`` holds the shards and ``texts`` the
    vocabulary's files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    teacher = load_whisper(teacher_directory)
    if start is None:
        tokenizer = make_tokenizer(recipe, teacher, directory, texts)
        model = from_teacher(teacher, tokenizer, kept_ids(teacher.tokenizer, tokenizer), recipe.seed)
    else:
        model, tokenizer = start
        tokenizer.save(directory / TOKENIZER)
    wanted = target_encoder(model.config.encoder, recipe.encoder)
    if start is None or wanted != model.config.encoder:
        torch.manual_seed(recipe.seed)  # the low-rank parts start at random where there is nothing to keep
        model = restructure(model, wanted, fading=recipe.fade_steps > 0)
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
    needs_teacher = recipe.loss.distance > 0 and recipe.loss.distance_steps > 0
    trainer = Trainer(recipe, model, Teacher(teacher_encoder(teacher)) if needs_teacher else None, batches, directory)
    trainer.resume()
    return trainer
