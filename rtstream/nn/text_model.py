"""Text to text: the speech encoder's layers over tokens, and the same decoder, made shallow.

Deep encoder, shallow decoder (arXiv 2006.10369): the encoder reads a sentence in one call, the decoder runs once a
token. One table embeds both sides and scores the output. The target language is a token of both sides, so that the
encoder too can work towards it.
"""

from __future__ import annotations

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

    from rtstream.model.config import StackConfig, TextModelConfig


class TextEncoder(nn.Module):
    """A stack of layers that share full-rank matrices by groups, over embedded tokens, all of which see one another."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = cast("Sequence[SharedGroup]", nn.ModuleList(SharedGroup(config) for _ in range(config.groups)))
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, n, d_model) to the same shape; ``mask`` (batch, n), true where a token counts."""
        keys = None if mask is None else mask[:, None, None, :]
        for index, layer in enumerate(self.layers):
            group = self.groups[index // self.config.share]
            q, k, v = layer.project(x, group)
            x = layer.merge(x, F.scaled_dot_product_attention(q, k, v, attn_mask=keys), group)
        states: Tensor = self.norm(x)
        return states


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

    def forward(self, source: Tensor, mask: Tensor | None, tokens: Tensor) -> Tensor:
        """The decoder's output (batch, n, d_model) after each of ``tokens`` (batch, n); ``logits`` scores it."""
        return self.decoder.hidden(tokens, self.encode(source, mask), mask)


def set_dropout(model: TextModel, rate: float) -> None:
    """Drop this share of each branch's outputs while the model trains."""
    for layer in model.encoder.layers:
        layer.dropout = rate
    for block in model.decoder.layers:
        block.dropout = rate
