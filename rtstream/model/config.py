"""Sizes of the models and what they imply, without anything that computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
"""What CTC writes; its symbol i + 1 is LETTERS[i], symbol 0 the blank."""
BLANK = 0
KNOWN, FOREIGN, NOBODY = 0, 1, 2
"""Places of the three judgements of who speaks."""
MEL_FRAME, MEL_LOOK_AHEAD = 320, 200
"""Samples at 16 kHz from one encoder frame to the next behind log-mel features, and those behind a chunk that its last
frame needs: the convolutions look one mel frame ahead, whose window of 400 is centred at the chunk's end."""
WAVE_FRAME, WAVE_SEEN = 384, 895
"""The same of the front end that reads the wave, and the samples that a frame is made of."""
POSITIONS = ("qkv", "out", "ff1", "ff2")
"""Matrix positions of a layer; q, k and v read the same input and are held as one matrix of three parts."""

FrontEndName = Literal["mel", "wave"]
PositionsName = Literal["sinusoid", "rope"]
MLPName = Literal["gelu", "swiglu"]


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

    ``front_end``: ``mel`` or ``wave``, see ``nn.front_end``. ``positions``: ``sinusoid``, or ``rope`` of the first
    ``rotary`` channels of a head. ``left_context``: frames before its chunk that a frame attends to. ``whole``: full
    context has private parts of its own, of rank ``whole_rank``, to which those of the chunks add; with 0 it is what
    the shared matrices compute alone. Biases and norms each has its own.
    """

    front_end: FrontEndName = "mel"
    positions: PositionsName = "sinusoid"
    rotary: int = 0
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
        for name, known in (("front_end", get_args(FrontEndName)), ("positions", get_args(PositionsName))):
            if getattr(self, name) not in known:
                msg = f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}"
                raise ValueError(msg)
        check_rotary(self.rotary, self.d_model // self.heads, wanted=self.positions == "rope")

    @property
    def frame_samples(self) -> int:
        """Samples at 16 kHz from one frame to the next."""
        return MEL_FRAME if self.front_end == "mel" else WAVE_FRAME

    def frames(self, rows: int) -> int:
        """Encoder frames of so many rows of features: mel frames, or samples."""
        return (rows + 1) // 2 if self.front_end == "mel" else max((rows - WAVE_SEEN) // WAVE_FRAME + 1, 0)

    @property
    def look_ahead(self) -> int:
        """Samples behind a chunk that its last frame needs."""
        return MEL_LOOK_AHEAD if self.front_end == "mel" else WAVE_SEEN - WAVE_FRAME


def check_rotary(rotary: int, head: int, *, wanted: bool) -> None:
    """Raise ValueError where so many channels of a head's cannot be turned, or none are to be."""
    if rotary % 2 or not (0 < rotary <= head if wanted else rotary == 0):
        msg = f"rotary ({rotary}) must be even and from 2 to a head's {head} channels with rope, and 0 without"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes of a decoder.

    ``alignment_heads``: (layer, head) pairs whose cross-attention follows the speech. ``rotary``: channels of a head
    that rotary position embedding turns; 0: positions are learnt and added. ``mlp``: what is between the matrices of
    the feed-forward branch; SwiGLU (arXiv 2002.05202) has a gate as wide as ``ffn`` beside it.
    """

    vocabulary: int
    d_model: int = 512
    heads: int = 8
    ffn: int = 2048
    layers: int = 6
    max_tokens: int = 448
    alignment_heads: tuple[tuple[int, int], ...] = ()
    rotary: int = 0
    mlp: MLPName = "gelu"

    def __post_init__(self) -> None:
        for name in ("vocabulary", "d_model", "heads", "ffn", "layers", "max_tokens"):
            if getattr(self, name) < 1:
                msg = f"{name} ({getattr(self, name)}) must be at least 1"
                raise ValueError(msg)
        if self.d_model % self.heads:
            msg = f"d_model ({self.d_model}) must be a multiple of heads ({self.heads})"
            raise ValueError(msg)
        if self.rotary % 2 or not 0 <= self.rotary <= self.d_model // self.heads:
            msg = f"rotary ({self.rotary}) must be even and from 0 to a head's {self.d_model // self.heads} channels"
            raise ValueError(msg)
        if self.mlp not in get_args(MLPName):
            msg = f"mlp ({self.mlp!r}) must be one of {', '.join(get_args(MLPName))}"
            raise ValueError(msg)
        for layer, head in self.alignment_heads:
            if not (0 <= layer < self.layers and 0 <= head < self.heads):
                msg = f"alignment_heads: there is no head {head} in layer {layer}"
                raise ValueError(msg)


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


@dataclass(frozen=True, slots=True)
class TextModelConfig:
    """Sizes of both parts; the decoder's ``max_tokens`` bounds both sides."""

    encoder: StackConfig
    decoder: DecoderConfig

    def __post_init__(self) -> None:
        if self.encoder.d_model != self.decoder.d_model:
            msg = f"encoder and decoder differ in d_model ({self.encoder.d_model}, {self.decoder.d_model})"
            raise ValueError(msg)
        if self.decoder.rotary:
            msg = f"rotary ({self.decoder.rotary}) must be 0: both sides count positions from one table"
            raise ValueError(msg)
