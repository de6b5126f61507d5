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


def from_dict(data: Any) -> ModelConfig:
    """The configuration that ``to_dict`` wrote. Raises BundleError naming the key that is missing, unknown or wrong."""
    _check_keys("model", data, {"encoder", "decoder", "letters"})
    decoder = dict(_section(DecoderConfig, "decoder", data["decoder"]))
    heads = decoder["alignment_heads"]
    if not isinstance(heads, (list, tuple)) or not all(isinstance(h, (list, tuple)) and len(h) == 2 for h in heads):  # noqa: PLR2004 a pair
        msg = f"model.decoder.alignment_heads: must be a list of [layer, head] pairs (got {heads!r})"
        raise BundleError(msg)
    decoder["alignment_heads"] = tuple((int(layer), int(head)) for layer, head in heads)
    if not isinstance(data["letters"], str):
        msg = f"model.letters: must be a string (got {data['letters']!r})"
        raise BundleError(msg)
    try:
        encoder = EncoderConfig(**_section(EncoderConfig, "encoder", data["encoder"]))
    except ValueError as error:
        msg = f"model.encoder: {error}"
        raise BundleError(msg) from error
    return ModelConfig(encoder, DecoderConfig(**decoder), data["letters"])


def _check_keys(where: str, data: Any, allowed: set[str]) -> None:
    if not isinstance(data, dict):
        msg = f"{where}: must be a table of keys (got {type(data).__name__})"
        raise BundleError(msg)
    for key in sorted(allowed ^ set(data)):
        what = "is missing" if key in allowed else f"is unknown; allowed are {', '.join(sorted(allowed))}"
        msg = f"{where}.{key}: {what}"
        raise BundleError(msg)


def _section(cls: type, name: str, data: Any) -> dict[str, Any]:
    _check_keys(f"model.{name}", data, {field.name for field in fields(cls)})
    for field in fields(cls):
        value = data[field.name]
        kind = {"int": int, "bool": bool}.get(str(field.type))
        if kind is None:
            continue
        if type(value) is not kind or (kind is int and value < 0):
            msg = f"model.{name}.{field.name}: must be a {'count' if kind is int else 'true or false'} (got {value!r})"
            raise BundleError(msg)
    return dict(data)
