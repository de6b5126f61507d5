"""Text to text: the speech encoder's layers over tokens, and the same decoder, made shallow.

Deep encoder, shallow decoder (arXiv 2006.10369): the encoder reads a sentence in one call, the decoder runs once a
token. One table embeds both sides and scores the output. The target language is a token of both sides, so that the
encoder too can work towards it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.nn.decoder import Decoder
from rtstream.nn.encoder import EncoderLayer, SharedGroup
from rtstream.nn.positions import sinusoids
from rtstream.nn.residual_linear import SharedLinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.model.config import SpeechInputConfig, StackConfig, TextModelConfig


class TextEncoder(nn.Module):
    """A stack of layers that share full-rank matrices by groups, over embedded tokens, all of which see one another."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = cast("Sequence[SharedGroup]", nn.ModuleList(SharedGroup(config) for _ in range(config.groups)))
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, mask: Tensor | None, private: SpeechInput | None = None) -> Tensor:
        """(batch, n, d_model) to the same shape; ``mask`` (batch, n), true where a token counts.

        ``private``: whose layers and norm, beside the shared matrices; its own by default.
        """
        own = self if private is None else private
        keys = None if mask is None else mask[:, None, None, :]
        for index, layer in enumerate(own.layers):
            group = self.groups[index // self.config.share]
            q, k, v = layer.project(x, group)
            x = layer.merge(x, F.scaled_dot_product_attention(q, k, v, attn_mask=keys), group)
        states: Tensor = own.norm(x)
        return states


class SpeechInput(nn.Module):
    """What translates speech has besides what translates text: the states' way in, and private parts of its layers.

    The full-rank matrices of the layers are the text encoder's.
    """

    def __init__(self, config: SpeechInputConfig, layers: StackConfig) -> None:
        super().__init__()
        self.config = config
        width = config.stack * config.inputs
        self.input_norm = nn.LayerNorm(config.inputs)
        self.into = nn.Linear(width, 2 * layers.d_model)
        self.out = nn.Linear(2 * layers.d_model, layers.d_model)
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(layers) for _ in range(layers.layers)))
        self.norm = nn.LayerNorm(layers.d_model)

    def stacked(self, states: Tensor) -> Tensor:
        """(batch, n, inputs) to (batch, ceil(n / stack), d_model), each row of the size of an embedded token's."""
        # Before the norm, as a batch is padded: a last row that is not full is then the same in either.
        x = self.input_norm(F.pad(states, (0, 0, 0, -states.shape[1] % self.config.stack)))
        x = x.unflatten(1, (-1, self.config.stack)).flatten(2)
        x = self.out(F.gelu(self.into(x)))
        return F.layer_norm(x, x.shape[-1:])


class TextModel(nn.Module):
    """Source tokens to scores of target tokens. Holds weights only."""

    def __init__(self, config: TextModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = TextEncoder(config.encoder)
        self.decoder = Decoder(config.decoder)
        # Rows of length 1 give even scores; what is read must not drown in what layers add (arXiv 1706.03762, 3.4).
        nn.init.normal_(self.decoder.embedding.weight, std=config.decoder.d_model**-0.5)
        self.decoder.input_scale = config.decoder.d_model**0.5
        for module in self.modules():
            if isinstance(module, (nn.Linear, SharedLinear)):
                nn.init.xavier_uniform_(module.weight)
        with torch.no_grad():
            self._positions().copy_(sinusoids(config.decoder.max_tokens, config.decoder.d_model))
        self.speech = None if config.speech is None else SpeechInput(config.speech, config.encoder)

    def _positions(self) -> Tensor:
        """Those of the decoder, from which both sides count."""
        assert self.decoder.positions is not None
        return self.decoder.positions

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """States (batch, n, d_model) of ``source`` (batch, n) ids; ``mask`` (batch, n), true where a token counts.

        Raises ValueError for more tokens than there are positions.
        """
        n, most = source.shape[1], self.config.decoder.max_tokens
        if n > most:
            msg = f"{n} tokens are more than the {most} of the model"
            raise ValueError(msg)
        # Both sides count positions from the same table: what it learns of one serves the other.
        states: Tensor = self.encoder(self.decoder.embed(source), mask)
        return states

    def hear(self, stacked: Tensor, languages: Tensor, mask: Tensor | None = None) -> Tensor:
        """States (batch, 1 + n, d_model) of speech: ``stacked`` (batch, n, d_model) is what ``speech`` made of it.

        ``languages`` (batch,): the targets' tokens, which come first; ``mask`` (batch, 1 + n), true where a row counts.
        Raises ValueError for more rows than there are positions.
        """
        n, most = 1 + stacked.shape[1], self.config.decoder.max_tokens
        if n > most:
            msg = f"{n} rows of speech are more than the {most} of the model"
            raise ValueError(msg)
        first = self.decoder.embedding(languages)[:, None] * self.decoder.input_scale
        x = torch.cat([first.to(stacked.dtype), stacked], dim=1) + self._positions()[:n]
        states: Tensor = self.encoder(x, mask, self.speech)
        return states

    def forward(self, source: Tensor, mask: Tensor | None, tokens: Tensor) -> Tensor:
        """The decoder's output (batch, n, d_model) after each of ``tokens`` (batch, n); ``logits`` scores it."""
        return self.decoder.hidden(tokens, self.encode(source, mask), mask)


def set_dropout(model: TextModel, rate: float) -> None:
    """Drop this share of each branch's outputs while the model trains."""
    for layer in model.encoder.layers:
        layer.dropout = rate
    for block in model.decoder.layers:
        block.dropout = rate


def with_speech(model: TextModel, config: SpeechInputConfig | None) -> TextModel:
    """The model with a part for speech of these sizes, or without one; the rest is the model's own.

    One that it has of the same sizes stays; the layers of a new one begin as those for text.
    """
    if model.config.speech == config:
        return model
    whole = TextModel(replace(model.config, speech=config))
    whole.encoder, whole.decoder = model.encoder, model.decoder
    if whole.speech is None:
        return whole
    for layer, origin in zip(whole.speech.layers, model.encoder.layers, strict=True):
        layer.load_state_dict(origin.state_dict())
    whole.speech.norm.load_state_dict(model.encoder.norm.state_dict())
    return whole
