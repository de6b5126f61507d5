"""Which model is used where none is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import rtstream
from rtstream.errors import BundleError

VARIABLE = "RTSTREAM_MODEL"
"""Environment variable that names a bundle's directory."""
NAME = "base"
MANIFEST = "bundle.json"
CHECKOUT = (Path(rtstream.__file__).parent / "models").resolve()
INSTALLED = Path("/usr/share/rtstream/models")
"""Folders of the models that ship, each under its name: a checkout's or a wheel's, and the system's."""


def shipped_model(name: str | Path) -> Path | None:
    """Directory of the model that ships under this name, if one does and no folder here has it."""
    wanted = Path(name)
    if len(wanted.parts) != 1 or wanted.is_dir():
        return None
    return _among_shipped(name)


def model_path(explicit: Path | None = None) -> Path:
    """Directory of the bundle to load: ``explicit``, else $RTSTREAM_MODEL, else the shipped model.

    Either may be the mere name of a model that ships, where there is no folder of that name. What else was named is not
    looked for here: loading says what is wrong with it. Raises BundleError, naming every place,
    where nothing was named and there is no shipped model.
    """
    named = os.environ.get(VARIABLE) if explicit is None else explicit
    if named:
        return shipped_model(named) or Path(named)
    if (shipped := _among_shipped(NAME)) is None:
        raise BundleError(
            f"no model: neither {CHECKOUT / NAME} nor {INSTALLED / NAME} exists and {VARIABLE} is not set; "
            "name the directory of a bundle with --model"
        )
    return shipped


def shipped_names(kind: str) -> list[str]:
    """The models that ship, of one kind of bundle."""
    bundles = {path.name: path / MANIFEST for folder in (INSTALLED, CHECKOUT) for path in folder.glob("*/")}
    return sorted(name for name, manifest in bundles.items() if _kind(manifest) == kind)


def _kind(manifest: Path) -> object:
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data.get("format") if isinstance(data, dict) else None


def _among_shipped(name: str | Path) -> Path | None:
    return next((path for path in (CHECKOUT / name, INSTALLED / name) if path.is_dir()), None)
