"""What has come of a plan's run so far: its checkpoint's numbers, and the error rates measured of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rtstream.bundle.config import from_dict
from rtstream.errors import RtstreamError
from rtstream.training.core.loop import CHECKPOINT, read_checkpoint
from rtstream.training.core.plots import METRICS, read_rows
from rtstream.training.speech.run import check_structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.model.config import EncoderConfig
    from rtstream.research.ablation.plan import Run

RESULTS = "results.json"
DISTANCE_STEPS = 50
"""Steps over which the distance to the teacher's states is averaged: one batch has longer chunks than another."""

Row = dict[str, Any]
"""A measurement: ``set``, ``taken`` ``of`` its clips as many as were ``asked`` (None: all), and ``Score.figures``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run as it stands.

    ``step`` 0 and ``encoder`` None: not begun. ``elapsed`` seconds of training, ``hours`` of audio. ``distance`` to the
    teacher's states, relative to their energy, None where it was not given. ``failure``: why it cannot go on.
    """

    run: Run
    step: int = 0
    encoder: EncoderConfig | None = None
    elapsed: float = 0.0
    hours: float = 0.0
    distance: float | None = None
    rows: tuple[Row, ...] = ()
    failure: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the last step of its recipe has been done."""
        return self.failure is None and self.step >= self.run.recipe.optimizer.steps

    @property
    def identity(self) -> Row:
        """What no other checkpoint has."""
        return {"name": self.run.recipe.name, "step": self.step, "elapsed": self.elapsed}

    def measured(self, name: str, asked: int | None) -> Row | None:
        """What was measured on so many clips of a set."""
        for row in self.rows:
            if row["set"] == name and row["taken"] == min(asked or row["of"], row["of"]):
                return row
        return None


def read_outcome(run: Run, directory: Path) -> Outcome:
    """What has come of ``run``, which is kept in ``directory``; what is wrong with that is its failure."""
    path = directory / CHECKPOINT
    if not path.exists():
        return Outcome(run)
    try:
        state = read_checkpoint(path, torch.device("cpu"), mapped=True)
        encoder = from_dict(state["config"]).encoder
        check_structure(path, encoder, run.recipe.encoder)
    except RtstreamError as error:
        return Outcome(run, failure=str(error))
    outcome = Outcome(
        run,
        step=state["step"],
        encoder=encoder,
        elapsed=state.get("elapsed", 0.0),
        hours=state.get("audio_seconds", 0.0) / 3600,
        distance=_distance(read_rows(directory / METRICS), state["step"]),
    )
    return replace(outcome, rows=_read_results(directory, outcome.identity))


def write_results(outcome: Outcome, directory: Path, rows: Sequence[Row]) -> None:
    """Keep what was measured of the run as ``outcome`` says it stands, in place of what was kept before."""
    write_whole(directory / RESULTS, json.dumps(outcome.identity | {"rows": list(rows)}, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _read_results(directory: Path, identity: Row) -> tuple[Row, ...]:
    """The rows; none where they are of another checkpoint, or cannot be read: they are measured again."""
    try:
        data = json.loads((directory / RESULTS).read_text(encoding="utf-8"))
        return tuple(data["rows"]) if data | identity == data else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _distance(rows: Sequence[Row], step: int) -> float | None:
    """The mean over the last steps that had the teacher's states, up to ``step``."""
    given = [row["distance"] for row in rows if row["step"] <= step and row.get("distance")]
    return float(np.mean(given[-DISTANCE_STEPS:])) if given else None
