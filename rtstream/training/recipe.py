"""Training recipes: one strict TOML file says everything that a run depends on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rtstream.errors import TrainingError
from rtstream.training.augment import Augment


class Strict(BaseModel):
    """No unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Encoder(Strict):
    """Shape of the student's encoder; sizes not named here are the start's."""

    share: int = Field(1, ge=1, description="K: adjacent layers that share their full-rank matrices")
    rank: int = Field(0, ge=0, description="R of the private low-rank part")
    diagonal: bool = False
    full_rank: bool = True
    grow: int = Field(1, ge=1, description="copies of each layer of the start; with share = grow nothing is lost")
    left_context: int = Field(512, ge=0, description="encoder frames (20 ms) before its chunk that a frame sees")


class Loss(Strict):
    """Weights of the losses. The teacher runs only while ``distance`` counts, until step ``distance_steps``."""

    distance: float = Field(1.0, ge=0)
    distance_steps: int = Field(0, ge=0, description="the distance's weight falls linearly to 0 at this step")
    ctc: float = Field(0.3, ge=0)
    decoder: float = Field(1.0, ge=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)


class Optimizer(Strict):
    """AdamW, linear warm-up, constant rate, then linear decay over the last ``decay`` steps."""

    steps: int = Field(gt=0)
    seconds: float = Field(60.0, gt=0, description="audio in a batch, of each process")
    encoder_lr: float = 2e-4
    decoder_lr: float = 5e-5
    ctc_lr: float = 1e-3
    warmup: int = Field(100, ge=0)
    decay: int = Field(0, ge=0)
    final_lr: float = Field(0.02, ge=0, le=1, description="share of the rate that is left at the last step")
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    average: float = Field(0.998, ge=0, lt=1, description="decay of the moving average of the weights that is exported")


class Vocabulary(Strict):
    """Which tokens of the teacher's table are kept: the commonest of these texts, normalized and as written."""

    texts: tuple[str, ...] = ("english-spoken.train.txt.gz", "english-written.train.txt.gz", "english-commonvoice.txt.gz")
    lower: int = Field(8000, ge=0)
    cased: int = Field(10000, ge=0)


class Recipe(Strict):
    """A whole run."""

    name: str
    seed: int = 0
    encoder: Encoder = Encoder()
    vocabulary: Vocabulary = Vocabulary()
    loss: Loss = Loss()
    optimizer: Optimizer
    augment: Augment = Augment()
    spec_augment: bool = True
    chunks: tuple[int, ...] = Field((0, 16, 32, 32, 64), description="encoder frames a chunk, drawn a batch; 0: full context")
    fade_steps: int = Field(0, ge=0, description="steps over which what sharing leaves out fades to nothing")
    max_clip: float = 20.0
    sources: dict[str, float] = Field(description="shard name to its share of the audio")
    noise: str = "noise"
    precision: Literal["bfloat16", "float32"] = "bfloat16"


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises TrainingError naming the key, the value and what is allowed."""
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: cannot be read as TOML: {error}"
        raise TrainingError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        msg = f"{path}: {key}: {first['msg']} (got {first['input']!r})"
        raise TrainingError(msg) from error
