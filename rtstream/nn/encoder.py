"""The streaming ResidualTransformer encoder.

Whisper's shape (two convolutions, 50 frames a second, pre-norm layers, GELU) with attention by chunk: a frame sees its
own chunk and ``left_context`` frames before it, never a later chunk. ``forward`` computes whole segments under that
mask, for training; ``step`` computes the same function chunk by chunk, its state an explicit value, and on request
keeps the newest frames open until they have been seen together with those that follow them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.nn.residual_linear import ResidualLinear, SharedLinear

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAMES_PER_SECOND = 50
ROWS = 128
"""Frames that go through a feed-forward branch at a time: what is between its matrices then stays in the cache."""
POSITIONS = ("qkv", "out", "ff1", "ff2")
"""Matrix positions of a layer; q, k and v read the same input and are held as one matrix of three parts."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Sizes of a stack of encoder layers, whatever its input.

    ``share`` (K of the paper): adjacent layers that share their full-rank matrices; 1 is the plain Transformer.
    ``rank`` (R): of the private low-rank part, 0 for none. ``layer_scale``: a learned scale on each branch, which lets
    a grown layer start at zero.
    """

    d_model: int = 512
    heads: int = 8
    ffn: int = 2048
    layers: int = 6
    share: int = 1
    full_rank: bool = True
    rank: int = 0
    diagonal: bool = False
    layer_scale: bool = False

    def __post_init__(self) -> None:
        for name in ("d_model", "heads", "ffn", "layers", "share"):
            if getattr(self, name) < 1:
                msg = f"{name} ({getattr(self, name)}) must be at least 1"
                raise ValueError(msg)
        if self.d_model < 4 or self.d_model % 2:
            msg = f"d_model ({self.d_model}) must be even and at least 4: half of the positions' channels are cosines"
            raise ValueError(msg)
        if self.layers % self.share:
            msg = f"layers ({self.layers}) must be a multiple of share ({self.share})"
            raise ValueError(msg)
        if self.d_model % self.heads:
            msg = f"d_model ({self.d_model}) must be a multiple of heads ({self.heads})"
            raise ValueError(msg)
        if not 0 <= self.rank <= min(self.d_model, self.ffn):
            msg = f"rank ({self.rank}) must be from 0 to the lesser side of a matrix ({min(self.d_model, self.ffn)})"
            raise ValueError(msg)
        if not self.full_rank and not self.rank and not self.diagonal:
            msg = "at least one of full_rank, rank and diagonal must be on"
            raise ValueError(msg)

    @property
    def groups(self) -> int:
        """Number of groups of layers that share their full-rank matrices."""
        return self.layers // self.share

    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """(parts, outputs of a part, inputs) of each matrix position."""
        d, f = self.d_model, self.ffn
        return {"qkv": (3, d, d), "out": (1, d, d), "ff1": (1, f, d), "ff2": (1, d, f)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig(StackConfig):
    """Sizes of a speech encoder.

    ``left_context``: frames (20 ms) before its chunk that a frame attends to. ``whole``: full context has private parts
    of its own beside those of the chunks, of rank ``whole_rank``; with 0 it is what the shared matrices compute alone.
    """

    n_mels: int = 80
    left_context: int = 512
    max_frames: int = 1500
    whole: bool = False
    whole_rank: int = 0

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)  # super() does not find its class in a dataclass with slots
        if not 0 <= self.whole_rank <= (min(self.d_model, self.ffn) if self.whole else 0):
            msg = f"whole_rank ({self.whole_rank}) must be from 0 to the lesser side of a matrix, and 0 without whole"
            raise ValueError(msg)
        for name in ("n_mels", "max_frames"):
            if getattr(self, name) < 1:
                msg = f"{name} ({getattr(self, name)}) must be at least 1"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class EncoderState:
    """What one stream carries from chunk to chunk; never written to in place.

    ``mel``: frames (n, n_mels) not yet used by the first convolution, ``conv``: (1, d) its last output; ``open``:
    (n, d) output of the convolutions for the frames that are to be encoded again; ``keys`` and ``values``: (layers,
    heads, n, d_head) of the last ``left_context`` frames before those; ``frames``: encoder frames before those.
    """

    mel: Tensor
    conv: Tensor
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


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed position encodings, (length, channels): sines, then cosines, of geometric wavelengths."""
    step = math.log(10_000) / (channels // 2 - 1)
    place, number = torch.arange(length, device="cpu"), torch.arange(channels // 2, device="cpu")
    angles = place[:, None] * torch.exp(-step * number)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def chunk_mask(frames: int, chunk: int, left_context: int, device: torch.device | None = None) -> Tensor:
    """Boolean (frames, frames), true where a query (row) may see a key (column)."""
    index = torch.arange(frames, device=device)
    start = index // chunk * chunk
    return (index[None] < start[:, None] + chunk) & (index[None] >= start[:, None] - left_context)


def _convolved(x: Tensor, convolution: nn.Conv1d, stride: int = 1) -> Tensor:
    """GELU of an unpadded convolution of width 3 over (n, channels) frames, (frames, outputs).

    As one product: for so few frames oneDNN takes longer to lay the weights out than to multiply by them.
    """
    windows = x.unfold(0, 3, stride).flatten(1)
    return F.gelu(F.linear(windows, convolution.weight.flatten(1), convolution.bias))


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

    def project(self, x: Tensor, group: SharedGroup) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (..., heads, frames, d_head)."""
        qkv: Tensor = self.qkv(self.attention_norm(x), group.qkv)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return q.transpose(-3, -2), k.transpose(-3, -2), v.transpose(-3, -2)

    def merge(self, x: Tensor, attended: Tensor, group: SharedGroup) -> Tensor:
        """Residual stream after attention and feed-forward; ``attended`` is (..., heads, frames, d_head)."""
        branch: Tensor = self.out(attended.transpose(-3, -2).flatten(-2), group.out)
        x = x + self.drop(branch if self.attention_scale is None else branch * self.attention_scale)
        if self.training or x.shape[-2] <= ROWS:
            return self.feed_forward(x, group)
        return torch.cat([self.feed_forward(rows, group) for rows in x.split(ROWS, dim=-2)], dim=-2)

    def feed_forward(self, x: Tensor, group: SharedGroup) -> Tensor:
        """Residual stream after the feed-forward branch."""
        branch: Tensor = self.ff2(F.gelu(self.ff1(self.ffn_norm(x), group.ff1)), group.ff2)
        return x + self.drop(branch if self.ffn_scale is None else branch * self.ffn_scale)

    def drop(self, branch: Tensor) -> Tensor:
        """The branch after dropout."""
        return F.dropout(branch, self.dropout) if self.training and self.dropout else branch


class Whole(nn.Module):
    """The private parts of full context: a second set of layers over the same shared matrices."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        own = replace(config, rank=config.whole_rank, diagonal=config.whole_rank > 0)
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(own) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)


class Encoder(nn.Module):
    """Log-mel frames (100 a second) to states (50 a second). Holds weights only, so all streams share one."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.n_mels, config.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, 3, stride=2, padding=1)
        # Module lists, seen as what they hold.
        self.groups = cast("Sequence[SharedGroup]", nn.ModuleList(SharedGroup(config) for _ in range(config.groups)))
        self.layers = cast("Sequence[EncoderLayer]", nn.ModuleList(EncoderLayer(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.d_model)
        self.whole = Whole(config) if config.whole else None
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(config.max_frames, config.d_model), persistent=False)

    def group_of(self, layer: int) -> SharedGroup:
        """The shared matrices of a layer: the same object for each layer of its group."""
        return self.groups[layer // self.config.share]

    def matrix(self, layer: int, position: str) -> Tensor:
        """The whole matrix of a layer at one of ``POSITIONS``, shared and private parts added up."""
        return self.layers[layer].private(position).weight(self.group_of(layer).matrix(position))

    def forward(
        self, mel: Tensor, lengths: Tensor | None = None, chunk: int | None = None, *, wanted: int | None = None
    ) -> Tensor:
        """States of whole segments.

        ``mel`` (batch, mel frames, n_mels); ``lengths`` (batch,) mel frames that count, all by default; ``chunk``
        encoder frames a chunk, None for full context. Returns the first ``wanted`` states, (batch, wanted, d_model),
        by default all ceil(mel frames / 2) of them.
        Raises ValueError for more frames than there are positions.
        """
        x = mel.transpose(1, 2)
        if lengths is not None:  # what lies past the end must be the convolutions' own zero padding, as in a stream
            inside = (torch.arange(mel.shape[1], device=mel.device) < lengths[:, None])[:, None]
            x = x * inside
        x = F.gelu(self.conv1(x))
        if lengths is not None:
            x = x * inside
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        frames = x.shape[1]
        if frames > self.config.max_frames:
            msg = f"{frames} frames are more than the {self.config.max_frames} positions of the encoder"
            raise ValueError(msg)
        x = x + self.positions[:frames]

        mask = None if chunk is None else chunk_mask(frames, chunk, self.config.left_context, mel.device)
        if lengths is not None:
            keys = torch.arange(frames, device=mel.device) < ((lengths + 1) // 2)[:, None]
            padding = keys[:, None, None, :]
            mask = padding.expand(-1, 1, frames, -1) if mask is None else mask & padding
            # A padded query must see something, or its softmax is undefined and poisons the gradient.
            mask = mask | (~keys[:, None, :, None] & (torch.arange(frames, device=mel.device) == 0))
        private = self if chunk is not None or self.whole is None else self.whole
        for index, layer in enumerate(private.layers):
            group = self.group_of(index)
            q, k, v = layer.project(x, group)
            if index == len(private.layers) - 1:  # nothing sees the others' last states
                q, x = q[..., :wanted, :], x[:, :wanted]
                mask = None if mask is None else mask[..., :wanted, :]
            x = layer.merge(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), group)
        states: Tensor = private.norm(x)
        return states

    def initial_state(self) -> EncoderState:
        """The state at the start of a segment."""
        c = self.config
        weight = self.conv1.weight
        empty = tuple(weight.new_zeros(c.heads, 0, c.d_model // c.heads) for _ in self.layers)
        mel, frame = weight.new_zeros(1, c.n_mels), weight.new_zeros(1, c.d_model)
        return EncoderState(mel, frame, frame[:0], empty, empty, 0)

    def step(
        self, mel: Tensor, state: EncoderState, chunk: int, *, ahead: int = 0, last: bool = False
    ) -> tuple[Encoded, EncoderState]:
        """States of the chunks that (n, n_mels) further mel frames complete, and the next state.

        A chunk of C encoder frames needs 2 C + 1 mel frames: the convolutions look one frame ahead. ``last`` ends
        the segment: the remaining frames make a shorter chunk, and all are settled.

        The newest ``ahead`` frames stay open: they are encoded again together with the next chunk, so that each frame
        is settled when it has seen as many that follow it, or more. That is Emformer's look-ahead (arXiv 2010.10759)
        without its delay, for ``ahead`` / ``chunk`` more computing. Without it ``settled`` is what ``forward`` gives.
        """
        state = replace(state, mel=torch.cat([state.mel, mel]))
        settled = [state.open[:0]]
        newest = state.open[:0]
        # state.mel starts one frame before the next chunk's first, so whole chunks need 2 * chunk + 2 frames of it.
        while state.mel.shape[0] >= 2 * chunk + 2:
            x, state = self._convolve(state, chunk)
            encoded, state = self._attend(x, state, ahead)
            settled.append(encoded.settled)
            newest = encoded.open
        if last and (state.mel.shape[0] > 1 or len(state.open)):
            x, state = self._convolve_last(state) if state.mel.shape[0] > 1 else (state.open[:0], state)
            encoded, state = self._attend(x, state, 0)
            settled.append(encoded.settled)
            newest = encoded.open
        return Encoded(torch.cat(settled), newest), state

    def _convolve(self, state: EncoderState, chunk: int) -> tuple[Tensor, EncoderState]:
        used = state.mel[: 2 * chunk + 2]
        hidden = _convolved(used, self.conv1)
        x = _convolved(torch.cat([state.conv, hidden]), self.conv2, stride=2)
        return x, replace(state, mel=state.mel[2 * chunk :], conv=hidden[-1:])

    def _convolve_last(self, state: EncoderState) -> tuple[Tensor, EncoderState]:
        hidden = _convolved(F.pad(state.mel, (0, 0, 0, 1)), self.conv1)
        padded = F.pad(torch.cat([state.conv, hidden]), (0, 0, 0, hidden.shape[0] % 2))
        return _convolved(padded, self.conv2, stride=2), replace(state, mel=state.mel[:0], conv=hidden[-1:])

    def _attend(self, new: Tensor, state: EncoderState, ahead: int) -> tuple[Encoded, EncoderState]:
        frames = torch.cat([state.open, new])
        end = state.frames + frames.shape[0]
        if end > self.config.max_frames:
            msg = f"a segment of more than {self.config.max_frames} frames: cut it sooner"
            raise ValueError(msg)
        x = frames + self.positions[state.frames : end]
        keys, values = [], []
        settled = max(frames.shape[0] - ahead, 0)
        known = state.keys[0].shape[1] + settled
        kept = slice(max(known - self.config.left_context, 0), known)
        for index, layer in enumerate(self.layers):
            group = self.group_of(index)
            q, k, v = layer.project(x, group)
            k = torch.cat([state.keys[index], k], dim=1)
            v = torch.cat([state.values[index], v], dim=1)
            x = layer.merge(x, F.scaled_dot_product_attention(q[None], k[None], v[None])[0], group)
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
