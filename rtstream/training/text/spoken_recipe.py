"""Recipes of models that translate speech without a transcript between: ``task = "speech-translation"``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rtstream.training.core.schedule import Positive, Precision, Schedule, Share, Strict
from rtstream.training.corpus.augment import Augment


class SpokenOptimizer(Schedule):
    """The schedule, the size of a batch, the full rate."""

    seconds: Positive = Field(150.0, description="of speech in a batch")
    lr: float = Field(1e-3, gt=0)
    label_smoothing: Share = 0.1


class SpokenRecipe(Strict):
    """A whole run. What translates text, whose private speech part this makes, comes from ``--from``."""

    task: Literal["speech-translation"]
    name: str = Field(pattern=r"^[\w.-]+$", description="also of the run's directory")
    seed: int = Field(0, ge=0)
    stack: int = Field(6, gt=0, description="the recogniser's states (50 a second) that become one row")
    dropout: Share = 0.1
    pieces: float = Field(0.3, ge=0, description="weight of CTC, by which the rows learn to be like embedded pieces")
    human: float = Field(3.0, gt=0, description="times as likely as by machine is a language that people translated to")
    optimizer: SpokenOptimizer
    taught: float = Field(gt=0, description="hours of audio whose states are computed once and kept")
    augment: Augment = Field(Augment(), description="of which only what the teacher hears too counts: speed, trimming")
    max_clip: float = Field(20.0, gt=0, description="seconds; longer clips are left out")
    sources: dict[str, Positive] = Field(min_length=1, description="shard name to its share of the audio")
    precision: Precision = "bfloat16"
    compile: bool = False
