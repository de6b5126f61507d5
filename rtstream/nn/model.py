"""The whole recognition network: encoder, and over the same states CTC head, decoder, and who speaks."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from rtstream.nn.ctc import CTCHead
from rtstream.nn.decoder import Decoder, DecoderConfig
from rtstream.nn.encoder import Encoder, EncoderConfig
from rtstream.nn.voice import VoiceHead

LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
"""What CTC writes; its symbol i + 1 is LETTERS[i], symbol 0 the blank."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of the parts.

    ``voice``: whether a head of its own says who speaks; else the decoder does. ``one_pass``: whether finals are made
    of the chunks' states, as partials are, since the encoder knows no full context.
    """

    encoder: EncoderConfig
    decoder: DecoderConfig
    letters: str = field(default=LETTERS)
    voice: bool = False
    one_pass: bool = False


class SpeechModel(nn.Module):
    """Encoder, CTC head, decoder. Features come from ``rtstream.features``; no stream state is held here."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder)
        self.ctc = CTCHead(config.encoder.d_model, 1 + len(config.letters))
        self.decoder = Decoder(config.decoder)
        self.voice = VoiceHead(config.encoder.d_model) if config.voice else None
