"""A translation model's sizes as plain JSON, read back strictly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rtstream.bundle.config import decoder_from_dict, section, table
from rtstream.errors import BundleError
from rtstream.model.config import StackConfig, TextModelConfig

FORMER = "speech"
"""Of models made before: the sizes of a part that translated speech itself, whose tensors nobody reads either."""


def text_config_to_dict(config: TextModelConfig) -> dict[str, Any]:
    """Every size, none left to a default."""
    return asdict(config)


def text_config_from_dict(data: object) -> TextModelConfig:
    """What ``text_config_to_dict`` wrote. Raises BundleError naming the key that is missing, unknown or wrong."""
    if isinstance(data, dict):
        data = {name: part for name, part in data.items() if name != FORMER}
    model = table("model", data, {"encoder", "decoder"})
    encoder = section(StackConfig, "encoder", model["encoder"])
    decoder = decoder_from_dict(model["decoder"])
    try:
        return TextModelConfig(StackConfig(**encoder), decoder)
    except ValueError as error:
        msg = f"model: {error}"
        raise BundleError(msg) from error
