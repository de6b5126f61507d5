"""What recipes of every task have in common: strictness, and the course of the learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["bfloat16", "float32"]
"""What a step is computed in; bfloat16 is used where the machine multiplies it."""


class Strict(BaseModel):
    """No unknown keys, no strings for numbers, nothing infinite, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Schedule(Strict):
    """AdamW, linear warm-up, constant rate, then linear decay over the last ``decay`` steps."""

    steps: int = Field(gt=0)
    warmup: int = Field(100, ge=0)
    decay: int = Field(0, ge=0)
    final_lr: float = Field(0.02, ge=0, le=1, description="share of the rate that is left at the last step")
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.98)
    clip: Positive = 1.0
    average: float = Field(0.998, ge=0, lt=1, description="decay of the moving average of the weights that is exported")
