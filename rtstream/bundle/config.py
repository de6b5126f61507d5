"""The model's sizes as plain JSON, read back strictly."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from rtstream.errors import BundleError
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig, StackConfig

ADDED: dict[str, Any] = {
    "whole": False,
    "whole_rank": 0,
    "front_end": "mel",
    "positions": "sinusoid",
    "rotary": 0,
    "mlp": "gelu",
    "voice": False,
    "one_pass": False,
}
"""Sizes that models made before they were thought of have had all along."""


def to_dict(config: ModelConfig) -> dict[str, Any]:
    """Every size, none left to a default."""
    return asdict(config)


def from_dict(data: object) -> ModelConfig:
    """The configuration that ``to_dict`` wrote. Raises BundleError naming the key that is missing, unknown or wrong."""
    known = {field.name for field in fields(ModelConfig)}
    model = table("model", _completed(data, known), known)
    encoder = section(EncoderConfig, "encoder", model["encoder"])
    decoder = decoder_from_dict(model["decoder"])
    if not isinstance(model["letters"], str):
        msg = f"model.letters: must be a string (got {model['letters']!r})"
        raise BundleError(msg)
    for name in ("voice", "one_pass"):
        if type(model[name]) is not bool:
            msg = f"model.{name}: must be true or false (got {model[name]!r})"
            raise BundleError(msg)
    try:
        return ModelConfig(EncoderConfig(**encoder), decoder, model["letters"], model["voice"], model["one_pass"])
    except ValueError as error:
        msg = f"model: {error}"
        raise BundleError(msg) from error


def decoder_from_dict(data: object) -> DecoderConfig:
    """The decoder's sizes. Raises BundleError as ``from_dict`` does."""
    decoder = section(DecoderConfig, "decoder", data)
    decoder["alignment_heads"] = _pairs("model.decoder.alignment_heads", decoder["alignment_heads"])
    try:
        return DecoderConfig(**decoder)
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


def table(where: str, data: object, allowed: set[str]) -> dict[str, Any]:
    """A table of exactly these keys. Raises BundleError naming the one that is missing or unknown."""
    if not isinstance(data, dict):
        msg = f"{where}: must be a table of keys (got {type(data).__name__})"
        raise BundleError(msg)
    for key in sorted(allowed ^ set(data)):
        what = "is missing" if key in allowed else f"is unknown; allowed are {', '.join(sorted(allowed))}"
        msg = f"{where}.{key}: {what}"
        raise BundleError(msg)
    return dict(data)


def _completed(data: object, known: set[str]) -> object:
    """The sizes with those that are newer than the model, as it has had them."""
    return {key: value for key, value in ADDED.items() if key in known} | data if isinstance(data, dict) else data


def section(cls: type[StackConfig | DecoderConfig], name: str, data: object) -> dict[str, Any]:
    """The fields of a part's sizes. Raises BundleError naming the key that is missing, unknown or of another type."""
    known = {field.name for field in fields(cls)}
    values = table(f"model.{name}", _completed(data, known), known)
    for field in fields(cls):
        value = values[field.name]
        if field.type == "int" and (type(value) is not int or value < 0):
            msg = f"model.{name}.{field.name}: must be a count (got {value!r})"
            raise BundleError(msg)
        if field.type.endswith("Name") and not isinstance(values[field.name], str):
            msg = f"model.{name}.{field.name}: must be a name (got {values[field.name]!r})"
            raise BundleError(msg)
        if field.type == "bool" and type(value) is not bool:
            msg = f"model.{name}.{field.name}: must be true or false (got {value!r})"
            raise BundleError(msg)
    return values
