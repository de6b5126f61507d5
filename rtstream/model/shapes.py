"""The tensors of a model: names, shapes and what each is, from its sizes alone."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rtstream.model.config import EncoderConfig, ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.model.config import DecoderConfig, StackConfig, TextModelConfig

CTC_HIDDEN, VOICE_HIDDEN, JUDGEMENTS = 256, 128, 4
SCALE = ".scale"
"""What a tensor's name ends in when it holds the per-channel scales of the int8 tensor of the same name."""
TABLE = "decoder.embedding.weight"
"""The table of tokens, which both embeds them and gives their logits."""


class Kind(Enum):
    """What a tensor is.

    Matrices, tables and low-rank factors are int8 in files and at work, convolutions in files alone.
    """

    MATRIX = "matrix"
    LOW_RANK = "low-rank"
    CONVOLUTION = "convolution"
    SMALL = "small"


class Spec(NamedTuple):
    """A tensor's shape and kind."""

    shape: tuple[int, ...]
    kind: Kind

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def channels(self) -> int:
        """How many scales it has as int8: one for each output, of a convolution or a matrix."""
        return self.shape[0] if self.kind is Kind.CONVOLUTION else math.prod(self.shape[:-1])

    @property
    def quantized(self) -> bool:
        """Whether it is int8 where anything is: every matrix, no bias, norm, diagonal or convolution."""
        return self.kind in (Kind.MATRIX, Kind.LOW_RANK)


Specs = dict[str, Spec]


def tensor_specs(config: ModelConfig | TextModelConfig) -> Specs:
    """All tensors of a model; the position encodings that are computed are none."""
    out: Specs = {}
    if isinstance(config, ModelConfig):
        d = config.encoder.d_model
        out |= dict(_stack("encoder.", config.encoder))
        out |= dict(_mlp("ctc.", (d, CTC_HIDDEN, 1 + len(config.letters)), ("hidden", "output")))
        out |= dict(_decoder(config.decoder))
        if config.voice:
            out |= dict(_mlp("voice.", (d, VOICE_HIDDEN, JUDGEMENTS), ("hidden", "output")))
        return out
    out |= dict(_stack("encoder.", config.encoder))
    out |= dict(_decoder(config.decoder))
    return out


def encoder_specs(config: StackConfig) -> Specs:
    """The tensors of an encoder alone, named as in its model."""
    return dict(_stack("encoder.", config))


def _stack(prefix: str, config: StackConfig) -> Iterator[tuple[str, Spec]]:
    if isinstance(config, EncoderConfig):
        yield from _front_end(f"{prefix}front.", config)
    if config.full_rank:
        for group in range(config.groups):
            for position, (parts, outputs, inputs) in config.shapes().items():
                yield f"{prefix}groups.{group}.{position}.weight", Spec((parts * outputs, inputs), Kind.MATRIX)
    yield from _layers(prefix, config)
    if isinstance(config, EncoderConfig) and config.whole:
        own = replace(config, rank=config.whole_rank, diagonal=config.whole_rank > 0)
        yield from _layers(f"{prefix}whole.", own)


def _front_end(prefix: str, config: EncoderConfig) -> Iterator[tuple[str, Spec]]:
    d = config.d_model
    if config.front_end == "mel":
        for name, inputs in (("conv1", config.n_mels), ("conv2", d)):
            yield f"{prefix}{name}.weight", Spec((d, inputs, 3), Kind.CONVOLUTION)
            yield f"{prefix}{name}.bias", Spec((d,), Kind.SMALL)
        return
    yield f"{prefix}conv1.weight", Spec((d, 1, 127), Kind.CONVOLUTION)
    yield from _norm(f"{prefix}norm", d)
    yield from _linear(f"{prefix}conv2", 7 * d, 2 * d)
    yield from _linear(f"{prefix}conv3", 6 * d, d)


def _layers(prefix: str, config: StackConfig) -> Iterator[tuple[str, Spec]]:
    """The private parts of a stack's layers, and the norm behind them."""
    d = config.d_model
    for index in range(config.layers):
        layer = f"{prefix}layers.{index}."
        for name in ("attention", "ffn"):
            yield from _norm(f"{layer}{name}_norm", d)
            if config.layer_scale:
                yield f"{layer}{name}_scale", Spec((d,), Kind.SMALL)
        for position, (parts, outputs, inputs) in config.shapes().items():
            yield f"{layer}{position}.bias", Spec((parts * outputs,), Kind.SMALL)
            if config.rank:
                yield f"{layer}{position}.a", Spec((parts, outputs, config.rank), Kind.LOW_RANK)
                yield f"{layer}{position}.b", Spec((parts * config.rank, inputs), Kind.LOW_RANK)
            if config.diagonal:
                yield f"{layer}{position}.d", Spec((parts, min(inputs, outputs)), Kind.SMALL)
    yield from _norm(f"{prefix}norm", d)


def _decoder(config: DecoderConfig) -> Iterator[tuple[str, Spec]]:
    d = config.d_model
    yield TABLE, Spec((config.vocabulary, d), Kind.MATRIX)
    if not config.rotary:
        yield "decoder.positions", Spec((config.max_tokens, d), Kind.SMALL)
    gate = 2 if config.mlp == "swiglu" else 1
    matrices = {"qkv": (d, 3 * d), "out": (d, d), "cross_q": (d, d), "cross_kv": (d, 2 * d), "cross_out": (d, d)}
    matrices |= {"ff1": (d, gate * config.ffn), "ff2": (config.ffn, d)}
    for index in range(config.layers):
        layer = f"decoder.layers.{index}."
        for name in ("self", "cross", "ffn"):
            yield from _norm(f"{layer}{name}_norm", d)
        for name, (inputs, outputs) in matrices.items():
            yield from _linear(layer + name, inputs, outputs)
    yield from _norm("decoder.norm", d)


def _mlp(prefix: str, sizes: tuple[int, int, int], names: tuple[str, str]) -> Iterator[tuple[str, Spec]]:
    inputs, hidden, outputs = sizes
    yield from _linear(prefix + names[0], inputs, hidden)
    yield from _linear(prefix + names[1], hidden, outputs)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Spec]]:
    yield f"{name}.weight", Spec((outputs, inputs), Kind.MATRIX)
    yield f"{name}.bias", Spec((outputs,), Kind.SMALL)


def _norm(name: str, width: int) -> Iterator[tuple[str, Spec]]:
    yield f"{name}.weight", Spec((width,), Kind.SMALL)
    yield f"{name}.bias", Spec((width,), Kind.SMALL)
