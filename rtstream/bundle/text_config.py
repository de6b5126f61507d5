"""A translation model's sizes as plain JSON, read back strictly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rtstream.bundle.config import decoder_from_dict, section, table
from rtstream.errors import BundleError
from rtstream.nn.encoder import StackConfig
from rtstream.nn.text_model import TextModelConfig


def text_config_to_dict(config: TextModelConfig) -> dict[str, Any]:
    """Every size, none left to a default."""
    return asdict(config)


def text_config_from_dict(data: object) -> TextModelConfig:
    """What ``text_config_to_dict`` wrote. Raises BundleError naming the key that is missing, unknown or wrong."""
    model = table("model", data, {"encoder", "decoder"})
    encoder = section(StackConfig, "encoder", model["encoder"])
    decoder = decoder_from_dict(model["decoder"])
    try:
        return TextModelConfig(StackConfig(**encoder), decoder)
    except ValueError as error:
        msg = f"model: {error}"
        raise BundleError(msg) from error
