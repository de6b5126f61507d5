"""What the runs of speech recipes have in common: features, sizes in the checkpoint, and a count of the audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rtstream.bundle.config import to_dict
from rtstream.events import SAMPLE_RATE
from rtstream.nn.features import make_features
from rtstream.training.core.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rtstream.nn.model import SpeechModel
    from rtstream.training.corpus.data import Batch, Batches
    from rtstream.training.speech.recipe import Recipe


class SpeechLoop(Loop):
    """One run of a speech recipe; ``groups`` as for ``Loop``."""

    recipe: Recipe
    model: SpeechModel
    batches: Batches

    def __init__(
        self,
        recipe: Recipe,
        model: SpeechModel,
        batches: Batches,
        directory: Path,
        groups: Sequence[tuple[Iterable[nn.Parameter], float]],
        *,
        save_seconds: float,
    ) -> None:
        super().__init__(recipe, model, batches, directory, groups, save_seconds=save_seconds)
        self.features = make_features(model.config.encoder).to(self.device)
        self.audio_seconds = 0.0

    def own_state(self) -> dict[str, Any]:
        """Sizes and seconds of audio."""
        return {"config": to_dict(self.model.config), "audio_seconds": self.audio_seconds}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Take ``own_state`` back. Raises KeyError where something is missing."""
        self.audio_seconds = state["audio_seconds"]

    def draw(self) -> tuple[torch.Generator, int]:
        """The step's generator, and its chunk length in encoder frames, 0 for full context.

        Every choice is drawn from the step, so that a resumed run makes the same ones; processes draw alike.
        """
        r = self.recipe
        generator = torch.Generator().manual_seed(r.seed * 1_000_003 + self.step)
        return generator, r.chunks[int(torch.randint(len(r.chunks), (1,), generator=generator))]

    def count(self, batch: Batch) -> dict[str, float]:
        """Seconds of audio in the batches of all processes."""
        seconds = float(batch.samples.sum()) / SAMPLE_RATE * self.batches.world
        self.audio_seconds += seconds
        return {"seconds": seconds}

    def totals(self) -> dict[str, float]:
        """Hours of audio."""
        return {"hours": self.audio_seconds / 3600}

    @property
    def progress(self) -> str:
        """Hours of audio, for a person."""
        return f"{self.audio_seconds / 3600:.2f} h of audio"
