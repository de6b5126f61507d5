"""Text to text: the speech encoder's layers over tokens, and the same decoder, made shallow.

Deep encoder, shallow decoder (arXiv 2006.10369): the encoder reads a sentence in one call, the decoder runs once a
token. One table embeds both sides and scores the output. The target language is a token of both sides, so that the
encoder too can work towards it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.nn.decoder import Decoder, DecoderConfig
from rtstream.nn.encoder import EncoderLayer, SharedGroup, StackConfig, sinusoids
from rtstream.nn.residual_linear import SharedLinear

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class TextModelConfig:
    """Sizes of both parts; the decoder's ``max_tokens`` bounds both sides."""

    encoder: StackConfig
    decoder: DecoderConfig

    def __post_init__(self) -> None:
        if self.encoder.d_model != self.decoder.d_model:
            msg = f"encoder and decoder differ in d_model ({self.encoder.d_model}, {self.decoder.d_model})"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class TextState:
    """What decoding a batch carries from token to token; never written to in place.

    Keys and values of each layer, (batch, heads, n, d_head): of the tokens so far, and of the encoder's states;
    ``mask`` (batch, 1, 1, source tokens), true where a state counts.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    cross_keys: tuple[Tensor, ...]
    cross_values: tuple[Tensor, ...]
    mask: Tensor

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        return self.keys[0].shape[2]

    def select(self, rows: Tensor) -> TextState:
        """The state of a batch made of these rows (indices), which may repeat: hypotheses that go on."""

        def take(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(part.index_select(0, rows) for part in parts)

        return TextState(
            take(self.keys), take(self.values), take(self.cross_keys), take(self.cross_values), self.mask[rows]
        )


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
            self.decoder.positions.copy_(sinusoids(config.decoder.max_tokens, config.decoder.d_model))

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

    def begin(self, states: Tensor, mask: Tensor) -> TextState:
        """No tokens yet, and these states (batch, n, d_model) to attend to; ``mask`` (batch, n)."""
        c = self.config.decoder
        empty = tuple(states.new_zeros(states.shape[0], c.heads, 0, c.d_model // c.heads) for _ in self.decoder.layers)
        pairs = [layer.split(layer.cross_kv(states), 2) for layer in self.decoder.layers]
        return TextState(empty, empty, tuple(k for k, _ in pairs), tuple(v for _, v in pairs), mask[:, None, None, :])

    def step(self, tokens: Tensor, state: TextState) -> tuple[Tensor, TextState]:
        """Read (batch, n) further tokens; scores (batch, vocabulary) of the token after the last, and the next state.

        Raises ValueError past ``max_tokens``.
        """
        decoder = self.decoder
        start, n = state.tokens, tokens.shape[1]
        if start + n > self.config.decoder.max_tokens:
            msg = f"{start + n} tokens are more than the {self.config.decoder.max_tokens} of the model"
            raise ValueError(msg)
        x = decoder.embed(tokens, start)
        causal = None if n == 1 else torch.ones(n, start + n, dtype=torch.bool, device=x.device).tril(start)
        keys, values = [], []
        for index, layer in enumerate(decoder.layers):
            q, k, v = layer.split(layer.qkv(layer.self_norm(x)), 3)
            k = torch.cat([state.keys[index], k], dim=2)
            v = torch.cat([state.values[index], v], dim=2)
            keys.append(k)
            values.append(v)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=causal)
            x = x + layer.out(attended.transpose(-3, -2).flatten(-2))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            attended = F.scaled_dot_product_attention(
                q, state.cross_keys[index], state.cross_values[index], attn_mask=state.mask
            )
            x = x + layer.cross_out(attended.transpose(-3, -2).flatten(-2))
            x = layer.feed_forward(x)
        return decoder.logits(x[:, -1]), replace(state, keys=tuple(keys), values=tuple(values))


def set_dropout(model: TextModel, rate: float) -> None:
    """Drop this share of each branch's outputs while the model trains."""
    for layer in model.encoder.layers:
        layer.dropout = rate
    for block in model.decoder.layers:
        block.dropout = rate
