"""Recipes of translation models: ``task = "translation"``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rtstream.training.core.schedule import Positive, Precision, Schedule, Share, Strict
from rtstream.training.corpus.pairs import SHIPPABLE

Probability = Annotated[float, Field(ge=0, le=1)]


class Sizes(Strict):
    """Shape of the model."""

    d_model: int = Field(320, gt=0)
    heads: int = Field(5, gt=0)
    ffn: int = Field(1280, gt=0)
    encoder_layers: int = Field(6, gt=0)
    decoder_layers: int = Field(2, gt=0)
    share: int = Field(2, ge=1, description="K: adjacent encoder layers that share their full-rank matrices")
    rank: int = Field(16, ge=0, description="R of the private low-rank part")
    diagonal: bool = True
    full_rank: bool = True
    vocabulary: int = Field(8000, gt=0, description="pieces of all languages together")
    max_tokens: int = Field(256, gt=2, description="of a source, and of a translation")
    dropout: Share = 0.1


class Noise(Strict):
    """What the English goes through before it is learnt from."""

    as_written: Probability = Field(0.5, description="share that stays as written; the rest is as a recogniser writes")
    misheard: Probability = Field(0.6, description="share of the rest that has words misheard")
    error_rate: Probability = Field(0.15, description="the most words in error; drawn evenly from 0")
    join: Probability = Field(0.08, description="share that another pair of the language is put after")
    copy_names: Probability = Field(0.02, description="share of which a name becomes the token that is copied")


class Optimizer(Schedule):
    """The schedule, the size of a batch, the full rate."""

    pairs: int = Field(300, gt=0, description="pairs in a batch in the mean, of each process")
    lr: float = Field(1.5e-3, gt=0)
    label_smoothing: Share = 0.1


class Data(Strict):
    """The pairs: files of each language, looked for in the folders that are given."""

    files: dict[str, tuple[str, ...]] = Field(min_length=1, description="language to the names of its files")
    sources: tuple[str, ...] = Field(
        tuple(sorted(SHIPPABLE)), description="those of the files' third column that are learnt from"
    )
    temperature: Positive = Field(2.0, description="languages' shares: pairs to the power of 1 / temperature")
    least_share: Share = Field(0.2, description="the least share of a language")


class TranslationRecipe(Strict):
    """A whole run."""

    task: Literal["translation"]
    name: str = Field(pattern=r"^[\w.-]+$", description="also of the run's directory")
    seed: int = Field(0, ge=0)
    model: Sizes = Sizes()
    data: Data
    noise: Noise = Noise()
    optimizer: Optimizer
    precision: Precision = "bfloat16"
    compile: bool = Field(
        default=False, description="let torch compile a step: minutes at the start, then half as fast again; needs g++"
    )
