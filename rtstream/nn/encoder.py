"""The streaming ResidualTransformer encoder, of two families: Whisper's and Moonshine's.

Pre-norm layers with GELU over the frames of a front end (see ``front_end``), whose places are told by sinusoids that
are added or by turning queries and keys, with attention by chunk: a frame sees its own chunk and ``left_context``
frames before it, never a later chunk. Norms and matrices always have biases: where a family has none they are zero.
``forward`` computes whole segments under that mask, for training; ``step`` computes the same function chunk by chunk,
its state an explicit value, and on request keeps the newest frames open until they have been seen together with those
that follow them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.nn.front_end import make_front_end
from rtstream.nn.positions import rotate, rotations, sinusoids
from rtstream.nn.residual_linear import ResidualLinear, SharedLinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.model.config import EncoderConfig, StackConfig
    from rtstream.nn.front_end import MelState, WaveState

ROWS = 128
"""Frames that go through a feed-forward branch at a time: what is between its matrices then stays in the cache."""


@dataclass(frozen=True, slots=True)
class EncoderState:
    """What one stream carries from chunk to chunk; never written to in place.

    ``front``: the front end's; ``open``: (n, d) its output for the frames that are to be encoded again; ``keys`` and
    ``values``: (layers, heads, n, d_head) of the last ``left_context`` frames before those; ``frames``: encoder frames
    before those.
    """

    front: MelState | WaveState
    open: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    frames: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """States that a step brings, (n, d_model).

    ``settled`` follow those of earlier steps and are not changed again; ``open`` follow them, until the next step gives
    better ones for the same frames.
    """

    settled: Tensor
    open: Tensor


def chunk_mask(frames: int, chunk: int, left_context: int, device: torch.device | None = None) -> Tensor:
    """Boolean (frames, frames), true where a query (row) may see a key (column)."""
    index = torch.arange(frames, device=device)
    start = index // chunk * chunk
    return (index[None] < start[:, None] + chunk) & (index[None] >= start[:, None] - left_context)


class SharedGroup(nn.Module):
    """The full-rank matrices of one group of layers; each None where ``full_rank`` is off."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        shapes = config.shapes()

        def make(name: str) -> SharedLinear | None:
            parts, outputs, inputs = shapes[name]
            return SharedLinear(inputs, parts * outputs) if config.full_rank else None

        self.qkv, self.out, self.ff1, self.ff2 = make("qkv"), make("out"), make("ff1"), make("ff2")

    def matrix(self, position: str) -> SharedLinear | None:
        """The shared matrix of one of ``POSITIONS``."""
        matrix: SharedLinear | None = getattr(self, position)
        return matrix


class EncoderLayer(nn.Module):
    """The private part of one pre-norm layer; its full-rank matrices come with each call."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = 0.0  # of each branch, in training
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.ffn_norm = nn.LayerNorm(config.d_model)
        shapes = config.shapes()

        def make(name: str) -> ResidualLinear:
            parts, outputs, inputs = shapes[name]
            return ResidualLinear(inputs, outputs, parts=parts, rank=config.rank, diagonal=config.diagonal)

        self.qkv, self.out, self.ff1, self.ff2 = make("qkv"), make("out"), make("ff1"), make("ff2")
        scale = config.layer_scale
        self.attention_scale = nn.Parameter(torch.ones(config.d_model)) if scale else None
        self.ffn_scale = nn.Parameter(torch.ones(config.d_model)) if scale else None

    def private(self, position: str) -> ResidualLinear:
        """The private part at one of ``POSITIONS``."""
        private: ResidualLinear = getattr(self, position)
        return private

    def project(
        self, x: Tensor, group: SharedGroup, turns: Tensor | None = None, under: EncoderLayer | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (..., heads, frames, d_head), the first two turned as ``rotate`` says.

        ``under``: the layer whose private parts this one's add to.
        """
        qkv: Tensor = self.qkv(self.attention_norm(x), group.qkv, _private(under, "qkv"))
        q, k, v = (part.transpose(-3, -2) for part in qkv.unflatten(-1, (3, self.heads, -1)).unbind(-3))
        return (q, k, v) if turns is None else (rotate(q, turns), rotate(k, turns), v)

    def merge(self, x: Tensor, attended: Tensor, group: SharedGroup, under: EncoderLayer | None = None) -> Tensor:
        """Residual stream after attention and feed-forward; ``attended`` is (..., heads, frames, d_head)."""
        branch: Tensor = self.out(attended.transpose(-3, -2).flatten(-2), group.out, _private(under, "out"))
        x = x + self.drop(branch if self.attention_scale is None else branch * self.attention_scale)
        if self.training or x.shape[-2] <= ROWS:
            return self.feed_forward(x, group, under)
        return torch.cat([self.feed_forward(rows, group, under) for rows in x.split(ROWS, dim=-2)], dim=-2)

    def feed_forward(self, x: Tensor, group: SharedGroup, under: EncoderLayer | None = None) -> Tensor:
        """Residual stream after the feed-forward branch."""
        hidden = F.gelu(self.ff1(self.ffn_norm(x), group.ff1, _private(under, "ff1")))
        branch: Tensor = self.ff2(hidden, group.ff2, _private(under, "ff2"))
        return x + self.drop(branch if self.ffn_scale is None else branch * self.ffn_scale)

    def drop(self, branch: Tensor) -> Tensor:
        """The branch after dropout."""
        return F.dropout(branch, self.dropout) if self.training and self.dropout else branch


def _private(layer: EncoderLayer | None, position: str) -> ResidualLinear | None:
    return None if layer is None else layer.private(position)


class Whole(nn.Module):
    """The private parts of full context: a second set of layers over the same shared matrices."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        own = replace(config, rank=config.whole_rank, diagonal=config.whole_rank > 0)
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(own) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)


class Encoder(nn.Module):
    """Features to states: log-mel frames (100 a second), or samples. Holds weights only, so all streams share one."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.front = make_front_end(config)
        # Module lists, seen as what they hold.
        self.groups = cast("Sequence[SharedGroup]", nn.ModuleList(SharedGroup(config) for _ in range(config.groups)))
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)
        self.whole = Whole(config) if config.whole else None
        self.positions: Tensor
        self.register_buffer("positions", self.make_positions(), persistent=False)

    def make_positions(self) -> Tensor:
        """The fixed table of positions: what is added, (max_frames, d_model), or turns, (2, max_frames, rotary / 2)."""
        c = self.config
        return rotations(c.max_frames, c.rotary) if c.rotary else sinusoids(c.max_frames, c.d_model)

    def group_of(self, layer: int) -> SharedGroup:
        """The shared matrices of a layer: the same object for each layer of its group."""
        return self.groups[layer // self.config.share]

    def under(self, layer: int) -> EncoderLayer | None:
        """The layer of full context whose private parts those of the chunks add to, where it has any."""
        return self.whole.layers[layer] if self.whole is not None and self.config.whole_rank else None

    def matrix(self, layer: int, position: str) -> Tensor:
        """The whole matrix of a layer at one of ``POSITIONS``, shared and private parts added up."""
        under = self.under(layer)
        private = self.layers[layer].private(position)
        return private.weight(self.group_of(layer).matrix(position), _private(under, position))

    def forward(
        self, features: Tensor, lengths: Tensor | None = None, chunk: int | None = None, *, wanted: int | None = None
    ) -> Tensor:
        """States of whole segments.

        ``features`` (batch, mel frames, n_mels) or (batch, samples); ``lengths`` (batch,) of them that count, all by
        default; ``chunk`` encoder frames a chunk, None for full context. Returns the first ``wanted`` states, (batch,
        wanted, d_model), by default all of them.
        Raises ValueError for more frames than there are positions.
        """
        x, turns = self._placed(self.front(features, lengths, chunk), 0)
        frames = x.shape[1]

        mask = None if chunk is None else chunk_mask(frames, chunk, self.config.left_context, x.device)
        if lengths is not None:
            keys = torch.arange(frames, device=x.device) < self.front.frames(lengths)[:, None]
            padding = keys[:, None, None, :]
            mask = padding.expand(-1, 1, frames, -1) if mask is None else mask & padding
            # A padded query must see something, or its softmax is undefined and poisons the gradient.
            mask = mask | (~keys[:, None, :, None] & (torch.arange(frames, device=x.device) == 0))
        private = self if chunk is not None or self.whole is None else self.whole
        for index, layer in enumerate(private.layers):
            group, under = self.group_of(index), None if private is self.whole else self.under(index)
            q, k, v = layer.project(x, group, turns, under)
            if index == len(private.layers) - 1:  # nothing sees the others' last states
                q, x = q[..., :wanted, :], x[:, :wanted]
                mask = None if mask is None else mask[..., :wanted, :]
            x = layer.merge(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), group, under)
        states: Tensor = private.norm(x)
        return states

    def _placed(self, x: Tensor, start: int) -> tuple[Tensor, Tensor | None]:
        """Frames (..., n, d_model) told that they stand from ``start`` on, or how their queries and keys are turned."""
        end = start + x.shape[-2]
        if end > self.config.max_frames:
            msg = f"{end} frames are more than the {self.config.max_frames} positions of the encoder: cut sooner"
            raise ValueError(msg)
        if self.config.rotary:
            return x, self.positions[:, start:end]
        return x + self.positions[start:end], None

    def initial_state(self) -> EncoderState:
        """The state at the start of a segment."""
        c = self.config
        weight = self.norm.weight
        empty = tuple(weight.new_zeros(c.heads, 0, c.d_model // c.heads) for _ in self.layers)
        return EncoderState(self.front.initial_state(), weight.new_zeros(0, c.d_model), empty, empty, 0)

    def step(
        self, features: Tensor, state: EncoderState, chunk: int, *, ahead: int = 0, last: bool = False
    ) -> tuple[Encoded, EncoderState]:
        """States of the chunks that further ``features`` complete, (n, n_mels) or (n,), and the next state.

        How much of them a chunk needs is the front end's to say. ``last`` ends the segment: what is left makes a
        shorter chunk, and all are settled.

        The newest ``ahead`` frames stay open: they are encoded again together with the next chunk, so that each frame
        is settled when it has seen as many that follow it, or more. That is Emformer's look-ahead (arXiv 2010.10759)
        without its delay, for ``ahead`` / ``chunk`` more computing. Without it ``settled`` is what ``forward`` gives.
        """
        # One front end's state is never given to the other.
        chunks, front = self.front.step(features, state.front, chunk)  # type: ignore[arg-type]
        state = replace(state, front=front)
        settled = [state.open[:0]]
        newest = state.open[:0]
        for x in chunks:
            encoded, state = self._attend(x, state, ahead)
            settled.append(encoded.settled)
            newest = encoded.open
        if last:
            encoded, state = self._attend(self.front.finish(front), state, 0)  # type: ignore[arg-type]
            settled.append(encoded.settled)
            newest = encoded.open
        return Encoded(torch.cat(settled), newest), state

    def _attend(self, new: Tensor, state: EncoderState, ahead: int) -> tuple[Encoded, EncoderState]:
        frames = torch.cat([state.open, new])
        if not len(frames):
            return Encoded(frames, frames), state
        x, turns = self._placed(frames, state.frames)
        keys, values = [], []
        settled = max(frames.shape[0] - ahead, 0)
        known = state.keys[0].shape[1] + settled
        kept = slice(max(known - self.config.left_context, 0), known)
        for index, layer in enumerate(self.layers):
            group, under = self.group_of(index), self.under(index)
            q, k, v = layer.project(x, group, turns, under)
            k = torch.cat([state.keys[index], k], dim=1)
            v = torch.cat([state.values[index], v], dim=1)
            x = layer.merge(x, F.scaled_dot_product_attention(q[None], k[None], v[None])[0], group, under)
            keys.append(k[:, kept])
            values.append(v[:, kept])
        states = self.norm(x)
        following = replace(
            state,
            open=frames[settled:],
            keys=tuple(keys),
            values=tuple(values),
            frames=state.frames + settled,
        )
        return Encoded(states[:settled], states[settled:]), following
