"""A translation model's sizes as plain JSON, read back strictly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rtstream.bundle.config import decoder_from_dict, section, table
from rtstream.errors import BundleError
from rtstream.model.config import SpeechInputConfig, StackConfig, TextModelConfig


def text_config_to_dict(config: TextModelConfig) -> dict[str, Any]:
    """Every size, none left to a default; ``speech`` only where there is such a part."""
    return {name: part for name, part in asdict(config).items() if part is not None}


def text_config_from_dict(data: object) -> TextModelConfig:
    """What ``text_config_to_dict`` wrote. Raises BundleError naming the key that is missing, unknown or wrong."""
    hears = isinstance(data, dict) and "speech" in data
    model = table("model", data, {"encoder", "decoder"} | ({"speech"} if hears else set()))
    encoder = section(StackConfig, "encoder", model["encoder"])
    decoder = decoder_from_dict(model["decoder"])
    try:
        speech = SpeechInputConfig(**section(SpeechInputConfig, "speech", model["speech"])) if hears else None
        return TextModelConfig(StackConfig(**encoder), decoder, speech)
    except ValueError as error:
        msg = f"model: {error}"
        raise BundleError(msg) from error
