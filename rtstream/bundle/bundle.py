"""A model directory: ``bundle.json``, ``model.safetensors``, ``tokenizer.json``, ``CARD.md``.

Reading checks the format's version, every file's checksum, and every tensor's name, shape and dtype before a weight is
used, so that a broken copy is an error with a name and never a strange transcript.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rtstream.bundle.config import from_dict, to_dict
from rtstream.bundle.tokenizer import Tokenizer
from rtstream.errors import BundleError
from rtstream.nn.model import ModelConfig, SpeechModel
from rtstream.nn.quantized import (
    SCALE,
    choose_engine,
    float_model,
    packed_model,
    quantize_state,
    quantized_names,
)

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "rtstream-bundle"
VERSION = 1
MANIFEST, WEIGHTS, TOKENIZER, CARD = "bundle.json", "model.safetensors", "tokenizer.json", "CARD.md"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. ``engine`` names what computes: ``float`` or a torch quantized engine."""

    name: str
    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    model: SpeechModel
    engine: str

    @property
    def bytes(self) -> int:
        """Size of the weights' file."""
        return (self.path / WEIGHTS).stat().st_size


def save_bundle(
    path: Path, name: str, model: SpeechModel, tokenizer: Tokenizer, card: str, *, int8: bool = True
) -> None:
    """Write a bundle, int8 with float16 for the small tensors, or all float16. An old one there is replaced."""
    path.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    if int8:
        state = quantize_state(state, model.config)
    keep = {torch.int8}
    halved = {k: t if t.dtype in keep or k.endswith(SCALE) else t.half() for k, t in state.items()}
    save_file(halved, path / WEIGHTS)
    (path / WEIGHTS).chmod(0o644)  # safetensors makes it the owner's alone; a service has a user of its own
    tokenizer.save(path / TOKENIZER)
    (path / CARD).write_text(card)
    files = {file: _sha256(path / file) for file in (WEIGHTS, TOKENIZER)}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "weights": "int8" if int8 else "float16",
        "model": to_dict(model.config),
        "sha256": files,
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def load_bundle(path: Path, engine: str = "auto") -> Bundle:
    """Read and check a bundle. ``engine``: ``auto`` (the fastest int8 one here), a torch engine's name, or ``float``.

    Raises BundleError naming what is missing, foreign, of another version, truncated or changed.
    """
    name, config, int8 = read_manifest(path)
    tokenizer = Tokenizer.load(path / TOKENIZER)
    if len(tokenizer) != config.decoder.vocabulary:
        msg = (
            f"{path}: {len(tokenizer)} tokens in {TOKENIZER}, {config.decoder.vocabulary} in the decoder: copy it again"
        )
        raise BundleError(msg)
    try:
        state = load_file(path / WEIGHTS)
    except (OSError, SafetensorError) as error:
        msg = f"{path / WEIGHTS}: not readable as safetensors ({error}): copy the bundle again"
        raise BundleError(msg) from error
    _check_tensors(path / WEIGHTS, config, state, int8=int8)
    if engine == "float":
        return Bundle(name, path, config, tokenizer, float_model(config, state), engine)
    try:
        chosen = choose_engine(engine)
    except ValueError as error:
        raise BundleError(str(error)) from error
    if not int8:
        state = quantize_state(state, config)
    return Bundle(name, path, config, tokenizer, packed_model(config, state, chosen), chosen.name)


def read_manifest(path: Path) -> tuple[str, ModelConfig, bool]:
    """Name, sizes, and whether the weights are int8, of the bundle at ``path``, its files' checksums verified."""
    try:
        data: Any = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        msg = f"{path}: no model bundle here ({MANIFEST} is missing): give the directory of a bundle"
        raise BundleError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path / MANIFEST}: not readable ({error}): copy the bundle again"
        raise BundleError(msg) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        msg = f"{path / MANIFEST}: not an rtstream bundle (format {FORMAT!r} expected)"
        raise BundleError(msg)
    if data.get("version") != VERSION:
        msg = f"{path}: bundle version {data.get('version')!r}, this rtstream reads {VERSION}: update the other one"
        raise BundleError(msg)
    missing = {"name", "weights", "model", "sha256"} - set(data)
    if missing or not isinstance(data["sha256"], dict) or data["weights"] not in {"int8", "float16"}:
        msg = f"{path / MANIFEST}: keys missing or wrong ({', '.join(sorted(missing)) or 'weights, sha256'})"
        raise BundleError(msg)
    for file in (WEIGHTS, TOKENIZER):
        if not (path / file).is_file():
            msg = f"{path}: {file} is missing: copy the bundle again"
            raise BundleError(msg)
        if _sha256(path / file) != data["sha256"].get(file):
            msg = f"{path / file}: the checksum differs, the file is truncated or changed: copy the bundle again"
            raise BundleError(msg)
    return str(data["name"]), from_dict(data["model"]), data["weights"] == "int8"


def _check_tensors(path: Path, config: ModelConfig, state: dict[str, Tensor], *, int8: bool) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in SpeechModel(config).state_dict().items()}
    packed = quantized_names(config) if int8 else set()
    dtypes = {name: torch.int8 if name in packed else torch.float16 for name in shapes}
    for name in packed:
        shapes[name + SCALE] = (torch.Size(shapes[name][:-1]).numel(),)
        dtypes[name + SCALE] = torch.float32
    for name in sorted(shapes.keys() | state.keys()):
        if name not in state or name not in shapes:
            problem = "is missing" if name not in state else "is unknown"
        elif tuple(state[name].shape) != shapes[name]:
            problem = f"has shape {tuple(state[name].shape)}, not {shapes[name]}"
        elif state[name].dtype != dtypes[name]:
            problem = f"is {state[name].dtype}, not {dtypes[name]}"
        else:
            continue
        msg = f"{path}: tensor {name} {problem}: the weights are not of this configuration"
        raise BundleError(msg)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
