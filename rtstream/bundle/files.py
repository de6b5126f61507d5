"""What bundles of every kind have in common: a manifest with checksums, and tensors that are checked before use."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from rtstream.bundle import default
from rtstream.bundle.deflate import deflate, inflate
from rtstream.bundle.rounding import rounded_state
from rtstream.errors import BundleError
from rtstream.nn.names import current_name, renamed
from rtstream.nn.quantized import (
    SCALE,
    State,
    choose_engine,
    convolutions,
    float_model,
    packed_model,
    quantize_state,
    quantized_names,
    skeleton,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rtstream.bundle.rounding import Rounding
    from rtstream.model.config import ModelConfig, TextModelConfig
    from rtstream.nn.model import SpeechModel
    from rtstream.nn.text_model import TextModel

MANIFEST, WEIGHTS, CARD = default.MANIFEST, "model.safetensors", "CARD.md"

Weights = Literal["float16", "int8", "int8-deflate"]
"""How a file holds matrices. Plain int8 is what bundles of version 1 have; it is read, and no longer written."""


def write_weights(path: Path, model: SpeechModel | TextModel, rounding: Rounding) -> Weights:
    """Write a model's tensors: int8 deflated, all others as float16. Returns how the matrices are held."""
    state = rounded_state(model, rounding)
    save_file({name: _stored(name, tensor) for name, tensor in state.items()}, path)
    path.chmod(0o644)  # safetensors makes it the owner's alone; a service has a user of its own
    return "float16" if rounding.bits is None else "int8-deflate"


def _stored(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.int8:
        return deflate(tensor)
    return tensor if name.endswith(SCALE) else tensor.half()


def write_manifest(path: Path, data: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write ``data`` and the checksums of ``files`` as the manifest of the bundle at ``path``."""
    sums = {file: sha256(path / file) for file in files}
    (path / MANIFEST).write_text(json.dumps({**data, "sha256": sums}, indent=1) + "\n")


def read_manifest_of(path: Path, kind: str, version: int, files: Sequence[str]) -> dict[str, Any]:
    """The manifest of the bundle at ``path``, which must be of this ``kind``, up to ``version``; checksums verified.

    Raises BundleError naming what is missing, foreign, of another version, truncated or changed.
    """
    try:
        data: Any = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        ship = ", ".join(default.shipped_names(kind))
        names = f", or the name of one that ships: {ship}" if ship else ""
        msg = f"{path}: no model bundle here ({MANIFEST} is missing): give the directory of a bundle{names}"
        raise BundleError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path / MANIFEST}: not readable ({error}): copy the bundle again"
        raise BundleError(msg) from error
    if not isinstance(data, dict) or data.get("format") != kind:
        msg = f"{path / MANIFEST}: not such a bundle of rtstream (format {kind!r} expected)"
        raise BundleError(msg)
    if data.get("version") not in range(1, version + 1):
        found = data.get("version")
        msg = f"{path}: bundle version {found!r}, this rtstream reads 1 to {version}: update the other one"
        raise BundleError(msg)
    missing = {"name", "weights", "model", "sha256"} - set(data)
    if missing or not isinstance(data["sha256"], dict) or data["weights"] not in get_args(Weights):
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


def read_tensors(path: Path, config: ModelConfig | TextModelConfig, weights: Weights) -> State:
    """The tensors of a file, int8 or float16, deflated ones as int8.

    Raises BundleError where one has not the name, shape and dtype that ``config`` makes, or cannot be inflated.
    """
    with _reading(path):
        state = renamed(load_file(path))
    model = skeleton(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    packed = quantized_names(model) if weights != "float16" else set()
    first = convolutions(model)
    if weights == "int8-deflate":  # files of version 2 have them as float16
        packed |= {name for name in first if name + SCALE in state}
    held = torch.int8 if weights == "int8" else torch.uint8
    dtypes = {name: held if name in packed else torch.float16 for name in shapes}
    for name in packed:
        shapes[name + SCALE] = (torch.Size(shapes[name][: 1 if name in first else -1]).numel(),)
        dtypes[name + SCALE] = torch.float32
    for name in sorted(shapes.keys() | state.keys()):
        if name not in state or name not in shapes:
            problem = "is missing" if name not in state else "is unknown"
        elif state[name].dtype != dtypes[name]:
            problem = f"is {state[name].dtype}, not {dtypes[name]}"
        elif dtypes[name] != torch.uint8 and tuple(state[name].shape) != shapes[name]:
            problem = f"has shape {tuple(state[name].shape)}, not {shapes[name]}"
        else:
            continue
        msg = f"{path}: tensor {name} {problem}: the weights are not of this configuration"
        raise BundleError(msg)
    if weights == "int8-deflate":
        try:
            state |= _inflated({name: state[name] for name in sorted(packed)}, shapes)
        except ValueError as error:
            msg = f"{path}: {error}: the weights are not of this configuration"
            raise BundleError(msg) from error
    return state


def _inflated(streams: State, shapes: Mapping[str, tuple[int, ...]]) -> State:
    """The int8 tensors of ``streams``. Raises ValueError naming the one that is broken."""
    sizes = [math.prod(shapes[name]) for name in streams]
    # All in one piece, which the system gets back as a whole; apart they would leave holes between what stays.
    room = torch.empty(sum(sizes), dtype=torch.int8).split(sizes)
    for (name, stream), part in zip(streams.items(), room, strict=True):
        try:
            part.copy_(inflate(stream, len(part)))
        except ValueError as error:
            msg = f"tensor {name}, of shape {shapes[name]}, {error}"
            raise ValueError(msg) from error
    return {name: part.view(shapes[name]) for name, part in zip(streams, room, strict=True)}


def tensor_bytes(path: Path) -> dict[str, int]:
    """Bytes that each tensor of a file takes in it. Raises BundleError where it is not readable."""
    with _reading(path), safe_open(path, "pt") as file:
        return {current_name(name): file.get_tensor(name).nbytes for name in file.keys()}  # noqa: SIM118  # it is no mapping


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Read the tensors of a file within. Raises BundleError where it is not readable."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        msg = f"{path}: not readable as safetensors ({error}): copy the bundle again"
        raise BundleError(msg) from error


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
