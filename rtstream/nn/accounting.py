"""Parameters and bytes of a model by part, from its sizes alone.

The encoder's count is the paper's (arXiv 2310.02489, section 3.2). Of N layers in groups of K, a matrix position of
``inputs`` by ``outputs`` has

    N / K * inputs * outputs  +  N * R * (inputs + outputs)  +  N * min(inputs, outputs)

parameters: full-rank, low-rank and diagonal, each where it is on. q, k and v are three such matrices. An encoder whose
full context has private parts of its own has the last two, biases and norms, twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rtstream.nn.encoder import EncoderConfig
from rtstream.nn.model import ModelConfig
from rtstream.nn.quantized import SCALE

if TYPE_CHECKING:
    from rtstream.nn.decoder import DecoderConfig
    from rtstream.nn.encoder import StackConfig
    from rtstream.nn.text_model import SpeechInputConfig, TextModelConfig

FULL_RANK, LOW_RANK, DIAGONAL, BIAS, CONVOLUTIONS = "full-rank", "low-rank", "diagonal", "bias and norm", "convolutions"
CTC, DECODER, EMBEDDINGS, SPEECH = "CTC", "decoder", "embeddings", "speech input"
CTC_HIDDEN = 256
KERNEL = 3
STARTS = {
    "decoder.embedding": EMBEDDINGS,
    "decoder.": DECODER,
    "ctc.": CTC,
    "speech.": SPEECH,
    "encoder.conv": CONVOLUTIONS,
    "encoder.groups.": FULL_RANK,
}
"""What the names of these parts' tensors start with; the encoder's others are told apart by their ends."""

FLOAT32, INT8 = 4, 1
"""Bytes of a number. A channel of an int8 matrix has a float32 scale besides."""


def part_of(name: str) -> str:
    """The part to which a tensor of a model counts, by its name."""
    where = name.removesuffix(SCALE)
    for start, part in STARTS.items():
        if where.startswith(start):
            return part
    return {"a": LOW_RANK, "b": LOW_RANK, "d": DIAGONAL}.get(where.rpartition(".")[2], BIAS)


def group_parameters(config: StackConfig) -> dict[str, int]:
    """Parameters of one group of layers by part; a learned scale of a branch counts as bias and norm."""
    full_rank = low_rank = diagonal = bias = 0
    for parts, outputs, inputs in config.shapes().values():
        full_rank += parts * inputs * outputs
        low_rank += parts * config.rank * (inputs + outputs)
        diagonal += parts * min(inputs, outputs)
        bias += parts * outputs
    norms = 2 * 2 * config.d_model + (2 * config.d_model if config.layer_scale else 0)
    return {
        FULL_RANK: full_rank if config.full_rank else 0,
        LOW_RANK: config.share * low_rank,
        DIAGONAL: config.share * diagonal if config.diagonal else 0,
        BIAS: config.share * (bias + norms),
    }


def encoder_parameters(config: StackConfig) -> dict[str, int]:
    """Parameters of the encoder by part. The position encodings are computed, so they are none.

    One that reads text has no convolutions: it embeds with the decoder's table, and has its positions.
    """
    parts = {part: config.groups * count for part, count in group_parameters(config).items()}
    parts[BIAS] += 2 * config.d_model
    if not isinstance(config, EncoderConfig):
        return parts
    if config.whole:  # its full-rank matrices are those of the chunks
        own = group_parameters(_whole(config))
        for part in (LOW_RANK, DIAGONAL, BIAS):
            parts[part] += config.groups * own[part]
        parts[BIAS] += 2 * config.d_model
    parts[CONVOLUTIONS] = config.d_model * (KERNEL * config.n_mels + 1) + config.d_model * (KERNEL * config.d_model + 1)
    return parts


def _whole(config: EncoderConfig) -> EncoderConfig:
    """The encoder of full context alone."""
    rank = config.whole_rank
    return replace(config, rank=rank, diagonal=rank > 0, whole=False, whole_rank=0)


def _whole_rank(config: StackConfig) -> int:
    return config.whole_rank if isinstance(config, EncoderConfig) else 0


def unshared(config: StackConfig) -> StackConfig:
    """The plain Transformer of the same depth and width, which sharing is measured against."""
    if isinstance(config, EncoderConfig):
        config = replace(config, whole=False, whole_rank=0)
    return replace(config, share=1, full_rank=True, rank=0, diagonal=False, layer_scale=False)


def model_parameters(config: ModelConfig | TextModelConfig) -> dict[str, int]:
    """Parameters of the whole model by part; one that translates has no CTC."""
    parts = encoder_parameters(config.encoder)
    if isinstance(config, ModelConfig):
        parts[CTC] = _sum(_ctc_matrices(config)) + CTC_HIDDEN + 1 + len(config.letters)
    elif config.speech is not None:
        matrices = _speech_matrices(config.encoder, config.speech)
        ways_in = _sum(matrices) + sum(outputs for outputs, _ in matrices) + 2 * config.speech.inputs
        parts[SPEECH] = ways_in + sum(count for part, count in parts.items() if part != FULL_RANK)
    return parts | {
        DECODER: _sum(_decoder_matrices(config.decoder)) + _decoder_rest(config.decoder),
        EMBEDDINGS: config.decoder.vocabulary * config.decoder.d_model,
    }


def encoder_bytes_int8(config: StackConfig) -> dict[str, int]:
    """Bytes of the encoder by part in memory: U and B int8 with their scales, all else float32.

    Not counted are the position encodings, which are computed, and what torch's engine adds to a packed matrix.
    """
    parts = encoder_parameters(config)
    held = {part: FLOAT32 * count for part, count in parts.items()}
    rank = config.rank + _whole_rank(config)
    channels = low = 0
    for count, outputs, inputs in config.shapes().values():
        channels += count * outputs
        low += count * rank * (FLOAT32 * outputs + INT8 * inputs + FLOAT32)
    held[FULL_RANK] = INT8 * parts[FULL_RANK] + (FLOAT32 * config.groups * channels if config.full_rank else 0)
    held[LOW_RANK] = config.layers * low
    return held


def model_bytes_int8(config: ModelConfig | TextModelConfig) -> dict[str, int]:
    """Bytes of the whole model by part in memory; the token table is there twice, to look up and to score with."""
    parts = model_parameters(config)
    table = [(config.decoder.vocabulary, config.decoder.d_model)]
    matrices = {DECODER: _decoder_matrices(config.decoder), EMBEDDINGS: table}
    held = encoder_bytes_int8(config.encoder)
    if isinstance(config, ModelConfig):
        matrices[CTC] = _ctc_matrices(config)
    elif config.speech is not None:
        own = sum(count for part, count in held.items() if part != FULL_RANK)
        ways_in = _speech_matrices(config.encoder, config.speech)
        outputs = sum(count for count, _ in ways_in)
        # Bias and scale of each output, the norm of what comes in.
        held[SPEECH] = own + INT8 * _sum(ways_in) + FLOAT32 * 2 * (outputs + config.speech.inputs)
    for part, shapes in matrices.items():
        packed = _sum(shapes)
        scales = sum(outputs for outputs, _ in shapes)
        held[part] = INT8 * packed + FLOAT32 * scales + FLOAT32 * (parts[part] - packed)
    held[EMBEDDINGS] *= 2
    return held


def packed_buffers(config: StackConfig) -> dict[str, int]:
    """Distinct packed matrices of the int8 encoder: the shared ones are packed once a group, B once a layer."""
    positions = len(config.shapes())
    return {
        FULL_RANK: positions * config.groups if config.full_rank else 0,
        LOW_RANK: positions * config.layers * ((config.rank > 0) + (_whole_rank(config) > 0)),
    }


def _sum(shapes: list[tuple[int, int]]) -> int:
    return sum(outputs * inputs for outputs, inputs in shapes)


def _ctc_matrices(config: ModelConfig) -> list[tuple[int, int]]:
    return [(CTC_HIDDEN, config.encoder.d_model), (1 + len(config.letters), CTC_HIDDEN)]


def _speech_matrices(layers: StackConfig, config: SpeechInputConfig) -> list[tuple[int, int]]:
    """Those of the states' way in."""
    d = layers.d_model
    return [(2 * d, config.stack * config.inputs), (d, 2 * d)]


def _decoder_matrices(config: DecoderConfig) -> list[tuple[int, int]]:
    d, f = config.d_model, config.ffn
    return config.layers * [(3 * d, d), (d, d), (d, d), (2 * d, d), (d, d), (f, d), (d, f)]


def _decoder_rest(config: DecoderConfig) -> int:
    """Biases, norms and positions."""
    biases = sum(outputs for outputs, _ in _decoder_matrices(config))
    norms = 2 * config.d_model * (3 * config.layers + 1)
    return biases + norms + config.max_tokens * config.d_model
