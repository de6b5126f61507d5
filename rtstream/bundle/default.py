"""Which model is used where none is named."""

from __future__ import annotations

import os
from pathlib import Path

import rtstream
from rtstream.errors import BundleError

VARIABLE = "RTSTREAM_MODEL"
"""Environment variable that names a bundle's directory."""
CHECKOUT = Path(rtstream.__file__).parent.parent / "models" / "base"
INSTALLED = Path("/usr/share/rtstream/models/base")


def model_path(explicit: Path | None = None) -> Path:
    """Directory of the bundle to load: ``explicit``, else $RTSTREAM_MODEL, else the shipped model.

    What was named is not looked for here: loading says what is wrong with it. Raises BundleError, naming every place,
    where nothing was named and there is no shipped model.
    """
    if explicit is not None:
        return explicit
    if named := os.environ.get(VARIABLE):
        return Path(named)
    for shipped in (CHECKOUT, INSTALLED):
        if shipped.is_dir():
            return shipped
    raise BundleError(
        f"no model: neither {CHECKOUT} nor {INSTALLED} exists and {VARIABLE} is not set; "
        "name the directory of a bundle with --model"
    )
