"""A model directory: ``bundle.json``, ``model.safetensors``, ``tokenizer.json``, ``CARD.md``.

Reading checks the format's version, every file's checksum, and every tensor's name, shape and dtype before a weight is
used, so that a broken copy is an error with a name and never a strange transcript.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.bundle.config import from_dict
from rtstream.bundle.files import WEIGHTS, read_manifest_of
from rtstream.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rtstream.bundle.files import Weights
    from rtstream.model.config import ModelConfig

FORMAT = "rtstream-bundle"
VERSION = 3
TOKENIZER = "tokenizer.json"


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
