"""Parameters and bytes of a model by part, from the table of its tensors.

The encoder's full-rank, low-rank and diagonal parts come to the paper's count (arXiv 2310.02489, section 3.2). Of N
layers in groups of K, a matrix position of ``inputs`` by ``outputs`` has

    N / K * inputs * outputs  +  N * R * (inputs + outputs)  +  N * min(inputs, outputs)

parameters, each where it is on. q, k and v are three such matrices. An encoder whose full context has private parts of
its own has the last two, biases and norms, twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rtstream.model.config import EncoderConfig, ModelConfig
from rtstream.model.shapes import SCALE, TABLE, encoder_specs, tensor_specs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtstream.model.config import StackConfig, TextModelConfig
    from rtstream.model.shapes import Specs

FULL_RANK, LOW_RANK, DIAGONAL, BIAS, CONVOLUTIONS = "full-rank", "low-rank", "diagonal", "bias and norm", "convolutions"
CTC, DECODER, EMBEDDINGS, VOICE = "CTC", "decoder", "embeddings", "voice"
ENCODER_PARTS = (FULL_RANK, LOW_RANK, DIAGONAL, BIAS)
STARTS = {
    "decoder.embedding": EMBEDDINGS,
    "decoder.": DECODER,
    "ctc.": CTC,
    "voice.": VOICE,
    "encoder.front.": CONVOLUTIONS,
    "encoder.groups.": FULL_RANK,
}
"""What the names of these parts' tensors start with; the encoder's others are told apart by their ends."""

FLOAT32, INT8 = 4, 1
"""Bytes of a number. A channel of an int8 matrix has a float32 scale besides."""

Counts = dict[str, int]


def part_of(name: str) -> str:
    """The part to which a tensor of a model counts, by its name."""
    where = name.removesuffix(SCALE)
    for start, part in STARTS.items():
        if where.startswith(start):
            return part
    return {"a": LOW_RANK, "b": LOW_RANK, "d": DIAGONAL}.get(where.rpartition(".")[2], BIAS)


def _parts(names: Iterable[tuple[str, int]], parts: Iterable[str]) -> Counts:
    """The (name, count) pairs added up by part; ``parts`` are there even where they are nothing."""
    counts = dict.fromkeys(parts, 0)
    for name, count in names:
        counts[part_of(name)] = counts.get(part_of(name), 0) + count
    return counts


def _encoder_names(config: StackConfig) -> tuple[str, ...]:
    """The encoder's parts; one that reads text has no convolutions: it embeds with the decoder's table."""
    return (*ENCODER_PARTS, CONVOLUTIONS) if isinstance(config, EncoderConfig) else ENCODER_PARTS


def _model_names(config: ModelConfig | TextModelConfig) -> tuple[str, ...]:
    names = (*_encoder_names(config.encoder), DECODER, EMBEDDINGS)
    if isinstance(config, ModelConfig):
        return (*names, CTC, VOICE) if config.voice else (*names, CTC)
    return names


def encoder_parameters(config: StackConfig) -> Counts:
    """Parameters of the encoder by part. The position encodings are computed, so they are none."""
    return _parts(((name, spec.size) for name, spec in encoder_specs(config).items()), _encoder_names(config))


def group_parameters(config: StackConfig) -> Counts:
    """Parameters of one group of layers by part; a learned scale of a branch counts as bias and norm."""
    own = ("encoder.groups.0.", *(f"encoder.layers.{index}." for index in range(config.share)))
    counts = ((name, spec.size) for name, spec in encoder_specs(config).items() if name.startswith(own))
    return _parts(counts, ENCODER_PARTS)


def unshared(config: StackConfig) -> StackConfig:
    """The plain Transformer of the same depth and width, which sharing is measured against."""
    if isinstance(config, EncoderConfig):
        config = replace(config, whole=False, whole_rank=0)
    return replace(config, share=1, full_rank=True, rank=0, diagonal=False, layer_scale=False)


def model_parameters(config: ModelConfig | TextModelConfig) -> Counts:
    """Parameters of the whole model by part; one that translates has no CTC."""
    return _parts(((name, spec.size) for name, spec in tensor_specs(config).items()), _model_names(config))


def _held(specs: Specs) -> Iterable[tuple[str, int]]:
    """(name, bytes) of each tensor in memory: matrices int8 with their scales, but for A of a low-rank part."""
    for name, spec in specs.items():
        if spec.quantized and not name.endswith(".a"):
            size = INT8 * spec.size + FLOAT32 * spec.channels
            yield name, 2 * size if name == TABLE else size
        else:
            yield name, FLOAT32 * spec.size


def encoder_bytes_int8(config: StackConfig) -> Counts:
    """Bytes of the encoder by part in memory: U and B int8 with their scales, all else float32.

    Not counted are the position encodings, which are computed, and what torch's engine adds to a packed matrix.
    """
    return _parts(_held(encoder_specs(config)), _encoder_names(config))


def model_bytes_int8(config: ModelConfig | TextModelConfig) -> Counts:
    """Bytes of the whole model by part in memory; the token table is there twice, to look up and to score with."""
    return _parts(_held(tensor_specs(config)), _model_names(config))


def packed_buffers(config: StackConfig) -> Counts:
    """Distinct packed matrices of the int8 encoder: the shared ones are packed once a group, B once a layer.

    Those of the front end that reads the wave are not counted.
    """
    specs = encoder_specs(config).items()
    names = [part_of(name) for name, spec in specs if spec.quantized and not name.endswith(".a")]
    return {part: names.count(part) for part in (FULL_RANK, LOW_RANK)}
