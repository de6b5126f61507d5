"""A translation model's directory: ``bundle.json``, ``model.safetensors``, ``sentencepiece.model``, ``CARD.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.bundle.files import (
    CARD,
    WEIGHTS,
    open_model,
    read_manifest_of,
    read_tensors,
    write_manifest,
    write_weights,
)
from rtstream.bundle.pieces import PieceTokenizer
from rtstream.bundle.rounding import USUAL, Rounding
from rtstream.bundle.text_config import text_config_from_dict, text_config_to_dict
from rtstream.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from rtstream.bundle.files import Weights
    from rtstream.model.config import TextModelConfig
    from rtstream.nn.text_model import TextModel

FORMAT = "rtstream-translation"
VERSION = 3
PIECES = "sentencepiece.model"


def holds_text_model(path: Path) -> bool:
    """Whether what lies at ``path``, a bundle or a run's directory or checkpoint, translates: it has pieces."""
    return path.exists() and ((path if path.is_dir() else path.parent) / PIECES).is_file()


@dataclass(frozen=True)
class TextBundle:
    """A loaded bundle. ``engine`` names what computes: ``float`` or a torch quantized engine."""

    name: str
    tokenizer: PieceTokenizer
    model: TextModel
    engine: str


def save_text_bundle(
    path: Path,
    name: str,
    model: TextModel,
    tokenizer: PieceTokenizer,
    card: str,
    *,
    rounding: Rounding = USUAL,
) -> None:
    """Write a bundle, its matrices rounded as ``rounding`` says; what is there is replaced."""
    path.mkdir(parents=True, exist_ok=True)
    weights = write_weights(path / WEIGHTS, model, rounding)
    tokenizer.save(path / PIECES)
    (path / CARD).write_text(card, encoding="utf-8")
    data = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "languages": list(tokenizer.languages),
        "weights": weights,
        "model": text_config_to_dict(model.config),
    }
    write_manifest(path, data, (WEIGHTS, PIECES))


def load_text_bundle(path: Path, engine: str = "auto") -> TextBundle:
    """Read and check a bundle. ``engine``: ``auto`` (the fastest int8 one here), a torch engine's name, or ``float``.

    Raises BundleError naming what is missing, foreign, of another version, truncated or changed.
    """
    name, config, weights = read_text_manifest(path)
    tokenizer = PieceTokenizer.load(path / PIECES)
    if len(tokenizer) != config.decoder.vocabulary:
        msg = f"{path}: {len(tokenizer)} pieces in {PIECES}, {config.decoder.vocabulary} in the model: copy it again"
        raise BundleError(msg)
    state = read_tensors(path / WEIGHTS, config, weights)
    model, computes = open_model(config, state, engine, int8=weights != "float16")
    return TextBundle(name, tokenizer, model, computes)


def read_text_manifest(path: Path) -> tuple[str, TextModelConfig, Weights]:
    """Name, sizes, and how the weights are held, of the bundle at ``path``, its files' checksums verified."""
    data = read_manifest_of(path, FORMAT, VERSION, (WEIGHTS, PIECES))
    return str(data["name"]), text_config_from_dict(data["model"]), data["weights"]
