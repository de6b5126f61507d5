"""Models written as bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.numpy import save_file

from rtstream.bundle.bundle import ENGLISH, FORMAT, TOKENIZER, VERSION
from rtstream.bundle.config import to_dict
from rtstream.bundle.deflate import deflate
from rtstream.bundle.files import CARD, WEIGHTS, write_manifest
from rtstream.bundle.text_bundle import FORMAT as TEXT_FORMAT
from rtstream.bundle.text_bundle import PIECES
from rtstream.bundle.text_bundle import VERSION as TEXT_VERSION
from rtstream.bundle.text_config import text_config_to_dict
from rtstream.export.rounding import USUAL, Rounding, rounded_state
from rtstream.model.shapes import SCALE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from rtstream.bundle.files import Weights
    from rtstream.bundle.pieces import PieceTokenizer
    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.model import SpeechModel
    from rtstream.nn.text_model import TextModel


def save_bundle(
    path: Path,
    name: str,
    model: SpeechModel,
    tokenizer: Tokenizer,
    card: str,
    *,
    rounding: Rounding = USUAL,
    guard: Mapping[str, Any] | None = None,
    languages: Sequence[str] = ENGLISH,
) -> None:
    """Write a bundle, its matrices rounded as ``rounding`` says; what is there is replaced.

    ``guard``: thresholds that this model wants otherwise than they usually are. ``languages``: those that it is for.
    """
    path.mkdir(parents=True, exist_ok=True)
    weights = write_weights(path / WEIGHTS, model, rounding)
    tokenizer.save(path / TOKENIZER)
    (path / CARD).write_text(card)
    data = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "languages": list(languages),
        "weights": weights,
        "model": to_dict(model.config),
        "guard": dict(guard or {}),
    }
    write_manifest(path, data, (WEIGHTS, TOKENIZER))


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
        "format": TEXT_FORMAT,
        "version": TEXT_VERSION,
        "name": name,
        "languages": list(tokenizer.languages),
        "weights": weights,
        "model": text_config_to_dict(model.config),
    }
    write_manifest(path, data, (WEIGHTS, PIECES))


def write_weights(path: Path, model: SpeechModel | TextModel, rounding: Rounding) -> Weights:
    """Write a model's tensors: int8 deflated, all others as float16, but for scales that lose by it.

    Returns how the matrices are held.
    """
    state = rounded_state(model, rounding)
    save_file({name: _stored(name, tensor) for name, tensor in state.items()}, path)
    path.chmod(0o644)  # safetensors makes it the owner's alone; a service has a user of its own
    return "float16" if rounding.bits is None else "int8-deflate"


def _stored(name: str, tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype == torch.int8:
        return deflate(tensor.numpy())
    half = tensor.half()
    held: NDArray[Any] = (tensor if name.endswith(SCALE) and not torch.equal(half.float(), tensor) else half).numpy()
    return held
