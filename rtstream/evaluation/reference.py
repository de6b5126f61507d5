"""The model that another one is measured beside, by what lies in its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.evaluation.moonshine_reference import MoonshineReference
from rtstream.evaluation.whisper_reference import WhisperReference
from rtstream.training.speech.moonshine import TOKENS

if TYPE_CHECKING:
    from pathlib import Path


def open_reference(directory: Path, *, threads: int, beam: int) -> MoonshineReference | WhisperReference:
    """Moonshine, which always searches greedily, or Whisper. Raises TrainingError where it is neither."""
    if (directory / TOKENS).exists():
        return MoonshineReference.open(directory)
    return WhisperReference.open(directory, threads=threads, beam=beam)
