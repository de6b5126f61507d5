"""A model directory: ``bundle.json``, ``model.safetensors``, ``tokenizer.json``, ``CARD.md``.

Reading checks the format's version, every file's checksum, and every tensor's name, shape and dtype before a weight is
used, so that a broken copy is an error with a name and never a strange transcript.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.bundle.config import from_dict, to_dict
from rtstream.bundle.files import (
    CARD,
    WEIGHTS,
    open_model,
    read_manifest_of,
    read_tensors,
    write_manifest,
    write_weights,
)
from rtstream.bundle.rounding import USUAL, Rounding
from rtstream.bundle.tokenizer import Tokenizer
from rtstream.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rtstream.bundle.files import Weights
    from rtstream.model.config import ModelConfig
    from rtstream.nn.model import SpeechModel

FORMAT = "rtstream-bundle"
VERSION = 3
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. ``engine`` names what computes: ``float`` or a torch quantized engine.

    ``guard``: the thresholds of the guard, by their names, that this model wants otherwise than they usually are.
    """

    name: str
    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    model: SpeechModel
    engine: str
    guard: Mapping[str, float]

    @property
    def bytes(self) -> int:
        """Size of the weights' file."""
        return (self.path / WEIGHTS).stat().st_size


def save_bundle(
    path: Path,
    name: str,
    model: SpeechModel,
    tokenizer: Tokenizer,
    card: str,
    *,
    rounding: Rounding = USUAL,
    guard: Mapping[str, float] | None = None,
) -> None:
    """Write a bundle, its matrices rounded as ``rounding`` says; what is there is replaced.

    ``guard``: thresholds that this model wants otherwise than they usually are.
    """
    path.mkdir(parents=True, exist_ok=True)
    weights = write_weights(path / WEIGHTS, model, rounding)
    tokenizer.save(path / TOKENIZER)
    (path / CARD).write_text(card)
    data = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "weights": weights,
        "model": to_dict(model.config),
        "guard": dict(guard or {}),
    }
    write_manifest(path, data, (WEIGHTS, TOKENIZER))


def load_bundle(path: Path, engine: str = "auto") -> Bundle:
    """Read and check a bundle. ``engine``: ``auto`` (the fastest int8 one here), a torch engine's name, or ``float``.

    Raises BundleError naming what is missing, foreign, of another version, truncated or changed.
    """
    name, config, weights, guard = read_manifest(path)
    tokenizer = Tokenizer.load(path / TOKENIZER)
    if len(tokenizer) != config.decoder.vocabulary:
        msg = (
            f"{path}: {len(tokenizer)} tokens in {TOKENIZER}, {config.decoder.vocabulary} in the decoder: copy it again"
        )
        raise BundleError(msg)
    state = read_tensors(path / WEIGHTS, config, weights)
    model, computes = open_model(config, state, engine, int8=weights != "float16")
    return Bundle(name, path, config, tokenizer, model, computes, guard)


def read_manifest(path: Path) -> tuple[str, ModelConfig, Weights, Mapping[str, float]]:
    """Name, sizes, how the weights are held, and the guard's thresholds, of the bundle at ``path``.

    Its files' checksums are verified.
    """
    data = read_manifest_of(path, FORMAT, VERSION, (WEIGHTS, TOKENIZER))
    guard = data.get("guard", {})  # bundles of before have none
    if not isinstance(guard, dict):
        msg = f"{path}: guard: {guard!r} are no thresholds by name: copy the bundle again"
        raise BundleError(msg)
    return str(data["name"]), from_dict(data["model"]), data["weights"], guard
