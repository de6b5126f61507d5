"""A translation model's directory: ``bundle.json``, ``model.safetensors``, ``sentencepiece.model``, ``CARD.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.bundle.files import WEIGHTS, read_manifest_of
from rtstream.bundle.text_config import text_config_from_dict

if TYPE_CHECKING:
    from pathlib import Path

    from rtstream.bundle.files import Weights
    from rtstream.model.config import TextModelConfig

FORMAT = "rtstream-translation"
VERSION = 4
PIECES = "sentencepiece.model"


def holds_text_model(path: Path) -> bool:
    """Whether what lies at ``path``, a bundle or a run's directory or checkpoint, translates: it has pieces."""
    return path.exists() and ((path if path.is_dir() else path.parent) / PIECES).is_file()


def read_text_manifest(path: Path) -> tuple[str, TextModelConfig, Weights]:
    """Name, sizes, and how the weights are held, of the bundle at ``path``, its files' checksums verified."""
    data = read_manifest_of(path, FORMAT, VERSION, (WEIGHTS, PIECES))
    return str(data["name"]), text_config_from_dict(data["model"]), data["weights"]
