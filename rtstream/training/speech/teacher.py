"""Whose weights training starts from, and imitates: a Whisper or a Moonshine, by what lies in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.training.speech.moonshine import TOKENS, MoonshineCheckpoint, load_moonshine
from rtstream.training.speech.whisper import WhisperCheckpoint, load_whisper

if TYPE_CHECKING:
    from pathlib import Path

Checkpoint = WhisperCheckpoint | MoonshineCheckpoint


def load_teacher(directory: Path) -> Checkpoint:
    """The checkpoint in a directory. Raises TrainingError naming what is missing or not understood."""
    return load_moonshine(directory) if (directory / TOKENS).exists() else load_whisper(directory)
