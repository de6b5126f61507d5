"""A Whisper for CTranslate2, made by hand, that writes one text whatever it hears.

Every weight of its attention is zero; the decoder's positions say which token comes next.
"""

import numpy as np
from ctranslate2.specs import WhisperSpec

from tests.training.tiny_whisper import full_tokenizer, write_tokenizer

PROMPT = 2
"""Tokens before the text, of a model of English alone: start, and no time stamps."""
FRAMES, MOST_TOKENS = 1500, 448


def save_dictating_whisper(path, text, *, sure=True):
    """Write the model to a directory. Not ``sure``: likely no text at all, and "nobody speaks" is certain."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = full_tokenizer()
    tokens = [*tokenizer.encode(text), tokenizer.end]
    size = -(-len(tokenizer) // 8) * 8
    positions = np.zeros((MOST_TOKENS, size), np.float32)
    positions[:, tokenizer.end] = 1.0  # also where a beam has gone on behind the text
    positions[: PROMPT - 1 + len(tokens)] = 0.0
    positions[0, tokenizer.no_speech] = 1.0
    for place, token in enumerate(tokens, start=PROMPT - 1):
        positions[place, token] = 1.0
    written = np.eye(len(tokenizer), size, dtype=np.float32) * (1.0 if sure else 0.1)
    written[tokenizer.no_speech] *= 10.0

    spec = WhisperSpec(1, 1, 1, 1)
    spec.encoder.conv1.weight = np.zeros((size, 80, 3), np.float32)
    spec.encoder.conv2.weight = np.zeros((size, size, 3), np.float32)
    for convolution in (spec.encoder.conv1, spec.encoder.conv2):
        convolution.bias = np.zeros(size, np.float32)
    spec.encoder.position_encodings.encodings = np.zeros((FRAMES, size), np.float32)
    spec.decoder.position_encodings.encodings = positions
    spec.decoder.embeddings.weight = np.zeros((len(tokenizer), size), np.float32)
    _linear(spec.decoder.projection, written)
    for part in (spec.encoder, spec.decoder):
        _norm(part.layer_norm, size)
        (layer,) = part.layer
        _attention(layer.self_attention, size, (3, 1))
        _norm(layer.ffn.layer_norm, size)
        for linear in (layer.ffn.linear_0, layer.ffn.linear_1):
            _linear(linear, np.zeros((size, size), np.float32))
    _attention(spec.decoder.layer[0].attention, size, (1, 2, 1))
    spec.register_vocabulary(list(tokenizer.pieces))
    spec.validate()
    spec.save(str(path))
    write_tokenizer(path)
    return path


def _attention(layer, size, parts):
    _norm(layer.layer_norm, size)
    for linear, count in zip(layer.linear, parts, strict=True):
        _linear(linear, np.zeros((count * size, size), np.float32))


def _norm(layer, size):
    layer.gamma, layer.beta = np.ones(size, np.float32), np.zeros(size, np.float32)


def _linear(layer, weight):
    layer.weight, layer.bias = weight, np.zeros(len(weight), np.float32)
