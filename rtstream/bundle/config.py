"""The model's sizes as plain JSON, read back strictly."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from rtstream.errors import BundleError
from rtstream.nn.decoder import DecoderConfig
from rtstream.nn.encoder import EncoderConfig
from rtstream.nn.model import ModelConfig


def to_dict(config: ModelConfig) -> dict[str, Any]:
    """Every size, none left to a default."""
    return asdict(config)


def from_dict(data: object) -> ModelConfig:
    """The configuration that ``to_dict`` wrote. Raises BundleError naming the key that is missing, unknown or wrong."""
    model = _table("model", data, {"encoder", "decoder", "letters"})
    encoder = _section(EncoderConfig, "encoder", model["encoder"])
    decoder = _section(DecoderConfig, "decoder", model["decoder"])
    decoder["alignment_heads"] = _pairs("model.decoder.alignment_heads", decoder["alignment_heads"])
    if not isinstance(model["letters"], str):
        msg = f"model.letters: must be a string (got {model['letters']!r})"
        raise BundleError(msg)
    try:
        return ModelConfig(EncoderConfig(**encoder), DecoderConfig(**decoder), model["letters"])
    except ValueError as error:
        msg = f"model: {error}"
        raise BundleError(msg) from error


def _pairs(where: str, data: object) -> tuple[tuple[int, int], ...]:
    pairs: list[tuple[int, int]] = []
    for row in data if isinstance(data, (list, tuple)) else [None]:
        if not isinstance(row, (list, tuple)) or [type(n) for n in row] != [int, int]:
            msg = f"{where}: must be a list of [layer, head] pairs (got {data!r})"
            raise BundleError(msg)
        pairs.append((row[0], row[1]))
    return tuple(pairs)


def _table(where: str, data: object, allowed: set[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        msg = f"{where}: must be a table of keys (got {type(data).__name__})"
        raise BundleError(msg)
    for key in sorted(allowed ^ set(data)):
        what = "is missing" if key in allowed else f"is unknown; allowed are {', '.join(sorted(allowed))}"
        msg = f"{where}.{key}: {what}"
        raise BundleError(msg)
    return dict(data)


def _section(cls: type[EncoderConfig | DecoderConfig], name: str, data: object) -> dict[str, Any]:
    section = _table(f"model.{name}", data, {field.name for field in fields(cls)})
    for field in fields(cls):
        value = section[field.name]
        if field.type == "int" and (type(value) is not int or value < 0):
            msg = f"model.{name}.{field.name}: must be a count (got {value!r})"
            raise BundleError(msg)
        if field.type == "bool" and type(value) is not bool:
            msg = f"model.{name}.{field.name}: must be true or false (got {value!r})"
            raise BundleError(msg)
    return section
