"""The attention decoder: Whisper's, over a vocabulary cut to the tokens that our texts use.

``forward`` scores whole texts, for training. ``extend`` and ``step`` decode a stream with an explicit state:
cross-attention keys of the frames that have come so far, self-attention keys of the tokens so far. ``begin`` and
``read`` do so for a batch whose frames are all there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes of a decoder. ``alignment_heads``: (layer, head) pairs whose cross-attention follows the speech."""

    vocabulary: int
    d_model: int = 512
    heads: int = 8
    ffn: int = 2048
    layers: int = 6
    max_tokens: int = 448
    alignment_heads: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name in ("vocabulary", "d_model", "heads", "ffn", "layers", "max_tokens"):
            if getattr(self, name) < 1:
                msg = f"{name} ({getattr(self, name)}) must be at least 1"
                raise ValueError(msg)
        if self.d_model % self.heads:
            msg = f"d_model ({self.d_model}) must be a multiple of heads ({self.heads})"
            raise ValueError(msg)
        for layer, head in self.alignment_heads:
            if not (0 <= layer < self.layers and 0 <= head < self.heads):
                msg = f"alignment_heads: there is no head {head} in layer {layer}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class DecoderState:
    """Keys and values of each layer, (heads, n, d_head): of the tokens read, and of the frames attended to."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    cross_keys: tuple[Tensor, ...]
    cross_values: tuple[Tensor, ...]

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        return self.keys[0].shape[1]

    @property
    def frames(self) -> int:
        """Number of encoder frames that can be attended to."""
        return self.cross_keys[0].shape[1]

    def rewound(self, tokens: int) -> DecoderState:
        """The state after the first ``tokens`` tokens, with all frames that have come since."""
        return replace(
            self, keys=tuple(k[:, :tokens] for k in self.keys), values=tuple(v[:, :tokens] for v in self.values)
        )


@dataclass(frozen=True, slots=True)
class BatchState:
    """What decoding a batch carries from token to token; never written to in place.

    Keys and values of each layer: of the tokens so far (batch, heads, n, d_head), and of the encoder's states, whose
    keys are laid out for products, (batch, heads, d_head, states). ``mask`` (batch, 1, 1, states), true where a state
    counts; None where all do.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    cross_keys: tuple[Tensor, ...]
    cross_values: tuple[Tensor, ...]
    mask: Tensor | None

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        return self.keys[0].shape[2]

    def select(self, rows: Tensor) -> BatchState:
        """The state of a batch made of these rows (indices), which may repeat: hypotheses that go on."""

        def take(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(part.index_select(0, rows) for part in parts)

        mask = None if self.mask is None else self.mask[rows]
        return BatchState(take(self.keys), take(self.values), take(self.cross_keys), take(self.cross_values), mask)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of (..., n, d) queries to (..., d, m) keys and (..., m, d) values; ``mask`` true where a key counts.

    For one query a row, over keys laid out for it, plain products take an eighth of fused attention's time.
    """
    scores = q @ k / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.softmax(scores, dim=-1) @ v


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and feed-forward."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        d = config.d_model
        self.heads = config.heads
        self.dropout = 0.0  # of each branch, in training
        self.self_norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.cross_norm = nn.LayerNorm(d)
        self.cross_q = nn.Linear(d, d)
        self.cross_kv = nn.Linear(d, 2 * d)
        self.cross_out = nn.Linear(d, d)
        self.ffn_norm = nn.LayerNorm(d)
        self.ff1 = nn.Linear(d, config.ffn)
        self.ff2 = nn.Linear(config.ffn, d)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(..., n, parts * d) to ``parts`` tensors (..., heads, n, d_head)."""
        return tuple(part.transpose(-3, -2) for part in x.unflatten(-1, (parts, self.heads, -1)).unbind(-3))

    def read(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of further tokens, and keys and values of those before and of these, each (..., heads, n, d_head)."""
        q, k, v = self.split(self.qkv(self.self_norm(x)), 3)
        return q, torch.cat([keys, k], dim=-2), torch.cat([values, v], dim=-2)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The residual stream after the feed-forward branch."""
        y: Tensor = x + self.drop(self.ff2(F.gelu(self.ff1(self.ffn_norm(x)))))
        return y

    def drop(self, branch: Tensor) -> Tensor:
        """The branch after dropout."""
        return F.dropout(branch, self.dropout) if self.training and self.dropout else branch


class Decoder(nn.Module):
    """Tokens and encoder states to the logits of the next token; input and output embeddings are one table."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.d_model)
        self.input_scale = 1.0  # of the embeddings where they are read; the output takes them as they are
        self.positions = nn.Parameter(torch.zeros(config.max_tokens, config.d_model))
        # A module list, seen as what it holds.
        self.layers = cast("Sequence[DecoderLayer]", nn.ModuleList(DecoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)
        self.output: nn.Module | None = None  # the embedding packed, in int8 inference

    def logits(self, x: Tensor) -> Tensor:
        """Scores of each token, (..., vocabulary), from the last layer's output."""
        x = self.norm(x)
        scores: Tensor = F.linear(x, self.embedding.weight) if self.output is None else self.output(x)
        return scores

    def forward(self, tokens: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (batch, n, vocabulary) of the token after each of ``tokens`` (batch, n).

        ``states`` (batch, frames, d_model); ``mask`` (batch, frames), true where a frame counts.
        """
        return self.logits(self.hidden(tokens, states, mask))

    def embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Tokens (..., n) at positions from ``start`` on, (..., n, d_model)."""
        x: Tensor = self.embedding(tokens)
        if self.input_scale != 1.0:
            x = x * self.input_scale
        return x + self.positions[start : start + tokens.shape[-1]]

    def hidden(self, tokens: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last layer's output (batch, n, d_model), of which ``logits`` makes what ``forward`` gives."""
        x = self.embed(tokens)
        frames_mask = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            q, k, v = layer.split(layer.qkv(layer.self_norm(x)), 3)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer.drop(layer.out(attended.transpose(-3, -2).flatten(-2)))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            k, v = layer.split(layer.cross_kv(states), 2)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=frames_mask)
            x = x + layer.drop(layer.cross_out(attended.transpose(-3, -2).flatten(-2)))
            x = layer.feed_forward(x)
        return x

    def _causal(self, before: int, n: int) -> Tensor | None:
        """Which tokens each of ``n`` further ones sees, (n, before + n); None for a single one, which sees all.

        Raises ValueError past ``max_tokens``.
        """
        if before + n > self.config.max_tokens:
            msg = f"{before + n} tokens are more than the {self.config.max_tokens} of the decoder"
            raise ValueError(msg)
        if n == 1:
            return None
        return torch.ones(n, before + n, dtype=torch.bool, device=self.positions.device).tril(before)

    def initial_state(self) -> DecoderState:
        """No tokens, no frames."""
        c = self.config
        empty = tuple(self.positions.new_zeros(c.heads, 0, c.d_model // c.heads) for _ in self.layers)
        return DecoderState(empty, empty, empty, empty)

    def extend(self, states: Tensor, state: DecoderState) -> DecoderState:
        """The state with (frames, d_model) further encoder states to attend to."""
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            k, v = layer.split(layer.cross_kv(states), 2)
            keys.append(torch.cat([state.cross_keys[index], k], dim=1))
            values.append(torch.cat([state.cross_values[index], v], dim=1))
        return replace(state, cross_keys=tuple(keys), cross_values=tuple(values))

    def step(
        self, tokens: Tensor, state: DecoderState, *, scored: int | None = None
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Read (n,) further tokens.

        Returns logits (n, vocabulary), or those after the last ``scored`` tokens alone, the mean cross-attention of the
        alignment heads (n, frames), which is zero where there are none, and the next state. Raises ValueError past
        ``max_tokens``.
        """
        causal = self._causal(state.tokens, tokens.shape[0])
        x = self.embed(tokens, state.tokens)
        alignment = x.new_zeros(len(x), state.frames)
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            q, k, v = layer.read(x, state.keys[index], state.values[index])
            keys.append(k)
            values.append(v)
            attended = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=causal)[0]
            x = x + layer.out(attended.transpose(-3, -2).flatten(-2))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            scores = q @ state.cross_keys[index].transpose(-2, -1) / (q.shape[-1] ** 0.5)
            weights = scores.softmax(dim=-1)
            for layer_index, head in self.config.alignment_heads:
                if layer_index == index:
                    alignment = alignment + weights[head] / len(self.config.alignment_heads)
            x = x + layer.cross_out((weights @ state.cross_values[index]).transpose(-3, -2).flatten(-2))
            x = layer.feed_forward(x)
        return (
            self.logits(x if scored is None else x[-scored:]),
            alignment,
            replace(state, keys=tuple(keys), values=tuple(values)),
        )

    def begin(self, states: Tensor, mask: Tensor | None = None) -> BatchState:
        """No tokens yet, and these states (batch, n, d_model) to attend to; ``mask`` (batch, n), all by default."""
        c = self.config
        empty = tuple(states.new_zeros(states.shape[0], c.heads, 0, c.d_model // c.heads) for _ in self.layers)
        pairs = [layer.split(layer.cross_kv(states), 2) for layer in self.layers]
        cross_keys = tuple(k.transpose(-1, -2).contiguous() for k, _ in pairs)
        cross_values = tuple(v.contiguous() for _, v in pairs)
        return BatchState(empty, empty, cross_keys, cross_values, None if mask is None else mask[:, None, None, :])

    def read(self, tokens: Tensor, state: BatchState) -> tuple[Tensor, BatchState]:
        """Read (batch, n) further tokens; logits (batch, vocabulary) after the last, and the next state.

        Raises ValueError past ``max_tokens``.
        """
        causal = self._causal(state.tokens, tokens.shape[1])
        x = self.embed(tokens, state.tokens)
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            q, k, v = layer.read(x, state.keys[index], state.values[index])
            keys.append(k)
            values.append(v)
            attended = attend(q, k.transpose(-1, -2), v, causal)
            x = x + layer.out(attended.transpose(-3, -2).flatten(-2))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            attended = attend(q, state.cross_keys[index], state.cross_values[index], state.mask)
            x = x + layer.cross_out(attended.transpose(-3, -2).flatten(-2))
            x = layer.feed_forward(x)
        return self.logits(x[:, -1]), replace(state, keys=tuple(keys), values=tuple(values))
