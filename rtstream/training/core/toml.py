"""Strict TOML files."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from rtstream.errors import TrainingError
from rtstream.training.core.schedule import Strict

if TYPE_CHECKING:
    from pathlib import Path

S = TypeVar("S", bound=Strict)


def read_toml(path: Path) -> dict[str, Any]:
    """What the file says. Raises TrainingError where it is none, or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: cannot be read as TOML: {error}"
        raise TrainingError(msg) from error


def validated(kind: type[S], path: Path, data: dict[str, Any], table: str = "") -> S:
    """What ``data``, the ``table`` of the file at ``path``, says. Raises TrainingError naming the first wrong key."""
    try:
        # By way of JSON, for which strict types still let an array be a tuple.
        return kind.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (table, *first["loc"]) if table else first["loc"]))
        got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
        msg = f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}{got}"
        raise TrainingError(msg) from error
