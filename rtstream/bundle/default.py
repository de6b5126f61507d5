"""Which model is used where none is named."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
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
PACKAGES = {"multi": ("rtstream-multi", "rtstream-bundle")}
"""Models that are a Python package each, which has the bundle in a folder of the model's name; and their kinds."""


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
    """The models that ship, of one kind of bundle; of those that are a package of their own also what brings them."""
    bundles = {path.name: path for folder in (INSTALLED, CHECKOUT) for path in folder.glob("*/")}
    bundles |= {name: path for name in PACKAGES for path in _in_package(name)}
    names = sorted(name for name, path in bundles.items() if _kind(path / MANIFEST) == kind)
    others = {name: how_to_get(name) for name, (_, its) in PACKAGES.items() if its == kind}
    return names + [f"{name} ({how})" for name, how in others.items() if how]


def how_to_get(name: str | Path) -> str | None:
    """What brings a model that is a package of its own and is not here; None for all others."""
    if str(name) not in PACKAGES or _among_shipped(name):
        return None
    return f"pip install {PACKAGES[str(name)][0]}"


def _kind(manifest: Path) -> object:
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data.get("format") if isinstance(data, dict) else None


def _among_shipped(name: str | Path) -> Path | None:
    places = (CHECKOUT / name, *_in_package(name), INSTALLED / name)
    return next((path for path in places if path.is_dir()), None)


def _in_package(name: str | Path) -> list[Path]:
    package, _ = PACKAGES.get(str(name), ("", ""))
    spec = find_spec(package.replace("-", "_")) if package else None
    return [Path(folder) / name for folder in spec.submodule_search_locations or ()] if spec else []
