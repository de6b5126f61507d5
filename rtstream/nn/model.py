"""The whole recognition network: encoder, and over the same states CTC head, decoder, and who speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from rtstream.nn.ctc import CTCHead
from rtstream.nn.decoder import Decoder
from rtstream.nn.encoder import Encoder
from rtstream.nn.voice import VoiceHead

if TYPE_CHECKING:
    from rtstream.model.config import ModelConfig


class SpeechModel(nn.Module):
    """Encoder, CTC head, decoder. Features come from ``rtstream.features``; no stream state is held here."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder)
        self.ctc = CTCHead(config.encoder.d_model, 1 + len(config.letters))
        self.decoder = Decoder(config.decoder)
        self.voice = VoiceHead(config.encoder.d_model) if config.voice else None
