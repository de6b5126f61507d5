"""What bundles of every kind have in common: a manifest with checksums, and tensors that are checked before use."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rtstream.errors import BundleError
from rtstream.nn.quantized import (
    SCALE,
    State,
    choose_engine,
    float_model,
    packed_model,
    quantize_state,
    quantized_names,
    skeleton,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from rtstream.nn.model import ModelConfig, SpeechModel
    from rtstream.nn.text_model import TextModel, TextModelConfig

MANIFEST, WEIGHTS, CARD = "bundle.json", "model.safetensors", "CARD.md"


def write_weights(path: Path, model: nn.Module, config: ModelConfig | TextModelConfig, *, int8: bool) -> None:
    """Write a model's tensors, int8 with float16 for the small ones, or all float16."""
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    if int8:
        state = quantize_state(state, config)
    keep = {torch.int8}
    save_file({k: t if t.dtype in keep or k.endswith(SCALE) else t.half() for k, t in state.items()}, path)
    path.chmod(0o644)  # safetensors makes it the owner's alone; a service has a user of its own


def write_manifest(path: Path, data: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write ``data`` and the checksums of ``files`` as the manifest of the bundle at ``path``."""
    sums = {file: sha256(path / file) for file in files}
    (path / MANIFEST).write_text(json.dumps({**data, "sha256": sums}, indent=1) + "\n")


def read_manifest_of(path: Path, kind: str, version: int, files: Sequence[str]) -> dict[str, Any]:
    """The manifest of the bundle at ``path``, which must be of this ``kind`` and ``version``; checksums verified.

    Raises BundleError naming what is missing, foreign, of another version, truncated or changed.
    """
    try:
        data: Any = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        msg = f"{path}: no model bundle here ({MANIFEST} is missing): give the directory of a bundle"
        raise BundleError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path / MANIFEST}: not readable ({error}): copy the bundle again"
        raise BundleError(msg) from error
    if not isinstance(data, dict) or data.get("format") != kind:
        msg = f"{path / MANIFEST}: not such a bundle of rtstream (format {kind!r} expected)"
        raise BundleError(msg)
    if data.get("version") != version:
        msg = f"{path}: bundle version {data.get('version')!r}, this rtstream reads {version}: update the other one"
        raise BundleError(msg)
    missing = {"name", "weights", "model", "sha256"} - set(data)
    if missing or not isinstance(data["sha256"], dict) or data["weights"] not in {"int8", "float16"}:
        msg = f"{path / MANIFEST}: keys missing or wrong ({', '.join(sorted(missing)) or 'weights, sha256'})"
        raise BundleError(msg)
    for file in files:
        if not (path / file).is_file():
            msg = f"{path}: {file} is missing: copy the bundle again"
            raise BundleError(msg)
        if sha256(path / file) != data["sha256"].get(file):
            msg = f"{path / file}: the checksum differs, the file is truncated or changed: copy the bundle again"
            raise BundleError(msg)
    return data


def read_tensors(path: Path, config: ModelConfig | TextModelConfig, *, int8: bool) -> dict[str, Tensor]:
    """The tensors of a file; each must have the name, shape and dtype that ``config`` makes. Raises BundleError."""
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        msg = f"{path}: not readable as safetensors ({error}): copy the bundle again"
        raise BundleError(msg) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in skeleton(config).state_dict().items()}
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
    return state


@overload
def open_model(config: ModelConfig, state: State, engine: str, *, int8: bool) -> tuple[SpeechModel, str]: ...
@overload
def open_model(config: TextModelConfig, state: State, engine: str, *, int8: bool) -> tuple[TextModel, str]: ...
def open_model(
    config: ModelConfig | TextModelConfig, state: State, engine: str, *, int8: bool
) -> tuple[SpeechModel | TextModel, str]:
    """The model of tensors that are ``int8`` or float16, and the name of what computes it.

    ``engine``: ``auto`` (the fastest int8 one here), a torch engine's name, or ``float``. Raises BundleError where no
    such engine works here.
    """
    if engine == "float":
        return float_model(config, state), engine
    try:
        chosen = choose_engine(engine)
    except ValueError as error:
        raise BundleError(str(error)) from error
    return packed_model(config, state if int8 else quantize_state(state, config), chosen), chosen.name


def sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
