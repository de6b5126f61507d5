"""What bundles of every kind have in common: a manifest with checksums, and tensors that are checked before use."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from rtstream.bundle import default
from rtstream.bundle.deflate import inflate
from rtstream.errors import BundleError
from rtstream.model.names import DROPPED, current_name
from rtstream.model.shapes import SCALE, Kind, tensor_specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rtstream.model.config import ModelConfig, TextModelConfig

MANIFEST, WEIGHTS, CARD = default.MANIFEST, "model.safetensors", "CARD.md"

State = Mapping[str, NDArray[Any]]
Weights = Literal["float16", "int8", "int8-deflate"]
"""How a file holds matrices. Plain int8 is what bundles of version 1 have; it is read, and no longer written."""


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
        if not path.is_dir() and (how := default.how_to_get(path)):
            raise BundleError(f"{path}: this model is a package of its own, which is not installed: {how}") from error
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


def checksum(path: Path, file: str) -> str:
    """What the manifest of the bundle at ``path``, which has been read before, says of one of its files."""
    return str(json.loads((path / MANIFEST).read_text())["sha256"][file])


class Tensors(Mapping[str, NDArray[Any]]):
    """The tensors of a file by their present names: each is read, and inflated, whenever it is asked for, and not kept.

    Raises BundleError where one cannot be inflated.
    """

    def __init__(self, path: Path, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """``names``: what the file calls each tensor. ``shapes``: of those that are deflated in it."""
        self._path, self._names, self._shapes = path, names, shapes
        with _reading(path):
            self._file: Any = safe_open(path, "np")

    def __getitem__(self, name: str) -> NDArray[Any]:
        held = self._names[name]
        with _reading(self._path):
            tensor: NDArray[Any] = self._file.get_tensor(held)
        if name not in self._shapes:
            return tensor.astype(np.float32, copy=False) if name.endswith(SCALE) else tensor
        shape = self._shapes[name]
        try:
            return inflate(tensor, math.prod(shape)).reshape(shape)
        except ValueError as error:
            msg = f"{self._path}: tensor {name}, of shape {shape}, {error}: the weights are not of this configuration"
            raise BundleError(msg) from error

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_tensors(path: Path, config: ModelConfig | TextModelConfig, weights: Weights) -> Tensors:
    """The tensors of a file, int8 or float16, deflated ones as int8.

    Raises BundleError where one has not the name, shape and dtype that ``config`` makes.
    """
    names, found = {}, {}
    with _reading(path), safe_open(path, "np") as file:
        for held in file.keys():  # noqa: SIM118  # it is no mapping
            if not held.startswith(DROPPED):
                part, name = file.get_slice(held), current_name(held)
                names[name], found[name] = held, (_dtype(name, part.get_dtype()), tuple(part.get_shape()))
    specs = tensor_specs(config)
    shapes = {name: spec.shape for name, spec in specs.items()}
    packed = {name for name, spec in specs.items() if spec.quantized and weights != "float16"}
    if weights == "int8-deflate":  # files of version 2 have convolutions as float16
        packed |= {name for name, spec in specs.items() if spec.kind is Kind.CONVOLUTION and name + SCALE in names}
    held_as = "int8" if weights == "int8" else "uint8"
    dtypes = {name: held_as if name in packed else "float16" for name in shapes}
    for name in packed:
        shapes[name + SCALE], dtypes[name + SCALE] = (specs[name].channels,), "float32"
    for name in sorted(shapes.keys() | names.keys()):
        dtype, shape = found.get(name, ("", ()))
        if name not in names or name not in shapes:
            problem = "is missing" if name not in names else "is unknown"
        elif dtype != dtypes[name]:
            problem = f"is {dtype}, not {dtypes[name]}"
        elif dtype != "uint8" and shape != shapes[name]:
            problem = f"has shape {shape}, not {shapes[name]}"
        else:
            continue
        msg = f"{path}: tensor {name} {problem}: the weights are not of this configuration"
        raise BundleError(msg)
    return Tensors(path, names, {name: shapes[name] for name in packed} if weights == "int8-deflate" else {})


def _dtype(name: str, code: str) -> str:
    """NumPy's name of the dtype of a tensor that is read, by what safetensors calls that which the file has."""
    if name.endswith(SCALE) and code == "F16":  # those that lose nothing by it
        code = "F32"
    return {"I8": "int8", "U8": "uint8", "F16": "float16", "F32": "float32"}.get(code, code)


def tensor_bytes(path: Path) -> dict[str, int]:
    """Bytes that each tensor of a file that is read takes in it. Raises BundleError where it is not readable."""
    with _reading(path), safe_open(path, "np") as file:
        names = [name for name in file.keys() if not name.startswith(DROPPED)]  # noqa: SIM118  # it is no mapping
        return {current_name(name): file.get_tensor(name).nbytes for name in names}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Read the tensors of a file within. Raises BundleError where it is not readable."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        msg = f"{path}: not readable as safetensors ({error}): copy the bundle again"
        raise BundleError(msg) from error


def sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
