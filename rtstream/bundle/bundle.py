"""A model directory: ``bundle.json``, ``model.safetensors``, ``tokenizer.json``, ``CARD.md``.

Reading checks the format's version, every file's checksum, and every tensor's name, shape and dtype before a weight is
used, so that a broken copy is an error with a name and never a strange transcript.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rtstream.bundle.config import from_dict
from rtstream.bundle.files import WEIGHTS, read_manifest_of
from rtstream.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rtstream.bundle.files import Weights
    from rtstream.model.config import ModelConfig

FORMAT = "rtstream-bundle"
VERSION = 4
TOKENIZER = "tokenizer.json"
ENGLISH = ("en",)
"""The languages of a bundle that names none, as those of before."""


class Manifest(NamedTuple):
    """What a bundle says of itself.

    ``config``: its sizes; ``weights``: how they are held; ``guard``: thresholds, as ``recognizer.guard`` reads them;
    ``languages``: those that it is for, ISO 639-1 codes.
    """

    name: str
    config: ModelConfig
    weights: Weights
    guard: Mapping[str, Any]
    languages: tuple[str, ...]


def read_manifest(path: Path) -> Manifest:
    """The manifest of the bundle at ``path``. Its files' checksums are verified."""
    data = read_manifest_of(path, FORMAT, VERSION, (WEIGHTS, TOKENIZER))
    guard = data.get("guard", {})  # bundles of before have none
    if not isinstance(guard, dict):
        msg = f"{path}: guard: {guard!r} are no thresholds by name: copy the bundle again"
        raise BundleError(msg)
    languages = data.get("languages", [*ENGLISH])
    if not isinstance(languages, list) or not languages or not all(isinstance(each, str) for each in languages):
        msg = f"{path}: languages: {languages!r} is no list of languages: copy the bundle again"
        raise BundleError(msg)
    return Manifest(str(data["name"]), from_dict(data["model"]), data["weights"], guard, tuple(languages))
