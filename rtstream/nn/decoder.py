"""The attention decoder, Whisper's or Moonshine's, over a vocabulary cut to the tokens that our texts use.

They differ in how they know places (learnt positions that are added, or turned queries and keys) and in the
feed-forward branch (GELU, or SwiGLU). Norms and matrices always have biases: where a family has none they are zero.

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

from rtstream.nn.positions import rotate, rotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.model.config import DecoderConfig


@dataclass(frozen=True, slots=True)
class DecoderState:
    """Keys and values of each layer, (heads, n, d_head) of the tokens read, and those of the frames attended to.

    ``cross``: keys and values (layers, 2, heads, room, d_head), of which the first ``frames`` are there.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    cross: Tensor
    frames: int

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        return self.keys[0].shape[1]

    def heard(self, layer: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of the frames, each (heads, frames, d_head)."""
        keys, values = self.cross[layer, :, :, : self.frames]
        return keys, values

    def rewound(self, tokens: int) -> DecoderState:
        """The state after the first ``tokens`` tokens, with all frames that have come since."""
        return replace(
            self, keys=tuple(k[:, :tokens] for k in self.keys), values=tuple(v[:, :tokens] for v in self.values)
        )

    def without(self, frames: int) -> DecoderState:
        """The state before its newest ``frames`` frames."""
        return replace(self, frames=self.frames - frames)

    def batch(self) -> BatchState:
        """The same as a batch of one row, from which hypotheses can be selected; no frame is copied."""
        keys, values = (tuple(part[None] for part in parts) for parts in (self.keys, self.values))
        heard = [self.heard(layer) for layer in range(len(self.keys))]
        return BatchState(
            keys, values, tuple(k.transpose(-1, -2)[None] for k, _ in heard), tuple(v[None] for _, v in heard), None
        )


@dataclass(frozen=True, slots=True)
class BatchState:
    """What decoding a batch carries from token to token; never written to in place.

    Keys and values of each layer: of the tokens so far (batch, heads, n, d_head), and of the encoder's states, whose
    keys are laid out for products, (batch, heads, d_head, states). ``mask`` (batch, 1, 1, states), true where a state
    counts; None where all do. A batch of several hypotheses of one text has its states and mask once, in one row.
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

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.keys[0])

    def select(self, rows: Sequence[int]) -> BatchState:
        """The state of a batch made of these rows (indices), which may repeat: hypotheses that go on."""
        index = torch.tensor(rows, dtype=torch.long)

        def take(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(part.index_select(0, index) for part in parts)

        chosen = replace(self, keys=take(self.keys), values=take(self.values))
        if len(self.cross_keys[0]) == 1:
            return chosen
        mask = None if self.mask is None else self.mask[index]
        return replace(chosen, cross_keys=take(self.cross_keys), cross_values=take(self.cross_values), mask=mask)

    def hear(self, layer: int, q: Tensor) -> Tensor:
        """Attention of queries (batch, heads, n, d_head) to the encoder's states."""
        keys, values = self.cross_keys[layer], self.cross_values[layer]
        if len(keys) == len(q):
            return attend(q, keys, values, self.mask)
        # Broadcasting would copy the states for each row: all rows' queries go to them as those of one.
        attended = attend(q.transpose(0, 1).flatten(1, 2)[None], keys, values, self.mask)[0]
        heard: Tensor = attended.unflatten(1, (len(q), -1)).transpose(0, 1)
        return heard


def attention(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Weights (..., n, m) of (..., n, d) queries on (..., d, m) keys; ``mask`` true where a key counts."""
    scores = q @ k / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.softmax(scores, dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of (..., n, d) queries to (..., d, m) keys and (..., m, d) values; ``mask`` true where a key counts.

    For one query a row, over keys laid out for it, plain products take an eighth of fused attention's time.
    """
    return attention(q, k, mask) @ v


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
        self.gated = config.mlp == "swiglu"
        self.ff1 = nn.Linear(d, config.ffn * (2 if self.gated else 1))
        self.ff2 = nn.Linear(config.ffn, d)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(..., n, parts * d) to ``parts`` tensors (..., heads, n, d_head)."""
        return tuple(part.transpose(-3, -2) for part in x.unflatten(-1, (parts, self.heads, -1)).unbind(-3))

    def project(self, x: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens, each (..., heads, n, d_head), the first two turned by ``turns``."""
        q, k, v = self.split(self.qkv(self.self_norm(x)), 3)
        return (q, k, v) if turns is None else (rotate(q, turns), rotate(k, turns), v)

    def read(self, x: Tensor, keys: Tensor, values: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of further tokens, and keys and values of those before and of these, each (..., heads, n, d_head)."""
        q, k, v = self.project(x, turns)
        return q, torch.cat([keys, k], dim=-2), torch.cat([values, v], dim=-2)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The residual stream after the feed-forward branch."""
        hidden = self.ff1(self.ffn_norm(x))
        if self.gated:
            hidden, gate = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * hidden
        else:
            hidden = F.gelu(hidden)
        y: Tensor = x + self.drop(self.ff2(hidden))
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
        self.positions = None if config.rotary else nn.Parameter(torch.zeros(config.max_tokens, config.d_model))
        self.turns: Tensor | None
        self.register_buffer("turns", self.make_turns(), persistent=False)
        # A module list, seen as what it holds.
        self.layers = cast("Sequence[DecoderLayer]", nn.ModuleList(DecoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)
        self.output: nn.Module | None = None  # the embedding packed, in int8 inference

    def make_turns(self) -> Tensor | None:
        """The fixed table of turns, (2, max_tokens, rotary / 2); None where positions are learnt."""
        return rotations(self.config.max_tokens, self.config.rotary) if self.config.rotary else None

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
        return x if self.positions is None else x + self.positions[start : start + tokens.shape[-1]]

    def _turns(self, start: int, n: int) -> Tensor | None:
        return None if self.turns is None else self.turns[:, start : start + n]

    def hidden(self, tokens: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last layer's output (batch, n, d_model), of which ``logits`` makes what ``forward`` gives."""
        return self.follow(tokens, states, mask)[0]

    def follow(self, tokens: Tensor, states: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``hidden``, and the mean cross-attention of the alignment heads (batch, n, frames), zero without any."""
        x, turns = self.embed(tokens), self._turns(0, tokens.shape[-1])
        frames_mask = None if mask is None else mask[:, None, None, :]
        alignment = x.new_zeros(*tokens.shape, states.shape[1])
        for index, layer in enumerate(self.layers):
            q, k, v = layer.project(x, turns)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer.drop(layer.out(attended.transpose(-3, -2).flatten(-2)))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            k, v = layer.split(layer.cross_kv(states), 2)
            heads = [head for following, head in self.config.alignment_heads if following == index]
            if heads:
                followed = attention(q[:, heads], k[:, heads].transpose(-1, -2), frames_mask)
                alignment = alignment + followed.sum(dim=1) / len(self.config.alignment_heads)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=frames_mask)
            x = x + layer.drop(layer.cross_out(attended.transpose(-3, -2).flatten(-2)))
            x = layer.feed_forward(x)
        return x, alignment

    def _causal(self, before: int, n: int) -> Tensor | None:
        """Which tokens each of ``n`` further ones sees, (n, before + n); None for a single one, which sees all.

        Raises ValueError past ``max_tokens``.
        """
        if before + n > self.config.max_tokens:
            msg = f"{before + n} tokens are more than the {self.config.max_tokens} of the decoder"
            raise ValueError(msg)
        if n == 1:
            return None
        return torch.ones(n, before + n, dtype=torch.bool, device=self.norm.weight.device).tril(before)

    def initial_state(self, room: int = 0) -> DecoderState:
        """No tokens, no frames; ``room`` for so many frames, which ``extend`` then need not copy."""
        c = self.config
        like = self.norm.weight
        empty = tuple(like.new_zeros(c.heads, 0, c.d_model // c.heads) for _ in self.layers)
        return DecoderState(empty, empty, like.new_empty(c.layers, 2, c.heads, room, c.d_model // c.heads), 0)

    def extend(self, states: Tensor, state: DecoderState) -> DecoderState:
        """The state with (n, d_model) further encoder states to attend to.

        They are written into the room that ``state`` has left: what extended the same state before is void.
        """
        frames = state.frames + len(states)
        cross = state.cross
        if frames > cross.shape[3]:
            cross = cross.new_empty(*cross.shape[:3], frames, cross.shape[4])
            cross[..., : state.frames, :] = state.cross[..., : state.frames, :]
        for index, layer in enumerate(self.layers):
            k, v = layer.split(layer.cross_kv(states), 2)
            cross[index, 0, :, state.frames : frames] = k
            cross[index, 1, :, state.frames : frames] = v
        return replace(state, cross=cross, frames=frames)

    def step(
        self, tokens: Tensor, state: DecoderState, *, scored: int | None = None
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Read (n,) further tokens.

        Returns logits (n, vocabulary), or those after the last ``scored`` tokens alone, the mean cross-attention of the
        alignment heads (n, frames), which is zero where there are none, and the next state. Raises ValueError past
        ``max_tokens``.
        """
        causal = self._causal(state.tokens, tokens.shape[0])
        x, turns = self.embed(tokens, state.tokens), self._turns(state.tokens, len(tokens))
        alignment = x.new_zeros(len(x), state.frames)
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            q, k, v = layer.read(x, state.keys[index], state.values[index], turns)
            keys.append(k)
            values.append(v)
            attended = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=causal)[0]
            x = x + layer.out(attended.transpose(-3, -2).flatten(-2))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            heard_keys, heard_values = state.heard(index)
            scores = q @ heard_keys.transpose(-2, -1) / (q.shape[-1] ** 0.5)
            weights = scores.softmax(dim=-1)
            for layer_index, head in self.config.alignment_heads:
                if layer_index == index:
                    alignment = alignment + weights[head] / len(self.config.alignment_heads)
            x = x + layer.cross_out((weights @ heard_values).transpose(-3, -2).flatten(-2))
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
        x, turns = self.embed(tokens, state.tokens), self._turns(state.tokens, tokens.shape[1])
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            q, k, v = layer.read(x, state.keys[index], state.values[index], turns)
            keys.append(k)
            values.append(v)
            attended = attend(q, k.transpose(-1, -2), v, causal)
            x = x + layer.out(attended.transpose(-3, -2).flatten(-2))
            (q,) = layer.split(layer.cross_q(layer.cross_norm(x)), 1)
            x = x + layer.cross_out(state.hear(index, q).transpose(-3, -2).flatten(-2))
            x = layer.feed_forward(x)
        return self.logits(x[:, -1]), replace(state, keys=tuple(keys), values=tuple(values))
