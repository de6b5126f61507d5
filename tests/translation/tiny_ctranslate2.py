"""A CTranslate2 model made by hand that shouts: its translation of "hello you" is "HELLO YOU", letter by letter.

The decoder's cross-attention looks at the source's position that has its own number, and copies what stands there. So
a translation grows with its source, goes on where a prefix ends, and ends where the source ends.
"""

import json
import string

import numpy as np
import sentencepiece
from ctranslate2.specs import TransformerSpec

LETTERS = string.ascii_lowercase + "'.,!?"
POSITIONS = 512
FREQUENCIES = 16
SHARP = 40.0
"""How sure the model is of what it attends to, and of what it writes."""


def save_shouting_model(path, *, family="opus", languages=(), quantization=None):
    """Write the model to a directory. ``family``: "opus" (one language), "opus-many" or "nllb", with ``languages``.

    ``languages``: as the family names them, "spa" or "spa_Latn".
    """
    path.mkdir(parents=True, exist_ok=True)
    if family == "nllb":
        _save_letters(path / "sentencepiece.bpe.model", LETTERS + LETTERS.upper())
        names = list(languages)
    else:
        _save_letters(path / "source.spm", LETTERS)
        _save_letters(path / "target.spm", LETTERS.upper())
        names = [f">>{name}<<" for name in languages]
    letters = ["▁", *LETTERS, *string.ascii_uppercase]
    vocabulary = ["<s>", "</s>", "<unk>", *letters, *names]
    # An OPUS-MT model of several languages has one more token before the source than before the target.
    spec = _spec(vocabulary, shift=1 if family == "opus-many" else 0)
    spec.optimize(quantization)
    spec.save(str(path))
    # As Transformers' models are: the decoder starts with the end, and who calls closes the source.
    settings = json.loads((path / "config.json").read_text())
    settings["decoder_start_token"] = "</s>"  # noqa: S105
    (path / "config.json").write_text(json.dumps(settings))
    return path


def _save_letters(path, letters):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(letters)]),
        model_prefix=str(path.with_suffix("")),
        model_type="char",
        vocab_size=len(set(letters)) + 4,
        character_coverage=1.0,
        minloglevel=2,
    )
    path.with_suffix(".vocab").unlink()
    if path.suffix != ".model":
        path.with_suffix(".model").rename(path)


def _spec(vocabulary, shift):
    count = len(vocabulary)
    places = 4 * FREQUENCIES
    size = -(-(count + places) // 8) * 8
    codes = np.zeros((POSITIONS + 1, size), np.float32)
    angles = np.arange(POSITIONS + 1)[:, None] * np.random.default_rng(0).uniform(0.1, 3.0, FREQUENCIES)
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    codes[:, count : count + places] = np.concatenate([waves, -waves], axis=1)  # no mean that LayerNorm would take away
    look = np.zeros((size, size), np.float32)
    look[range(count, count + places), range(count, count + places)] = SHARP / size**0.25
    copy = np.zeros((size, size), np.float32)
    copy[range(count), range(count)] = SHARP
    tokens = np.eye(count, size, dtype=np.float32)
    shouted = np.zeros((count, size), np.float32)
    for number, token in enumerate(vocabulary):
        shouted[vocabulary.index(token.upper()) if len(token) == 1 else number, number] += SHARP
    nothing = np.zeros((size, size), np.float32)

    spec = TransformerSpec.from_config((1, 1), 1)
    for part, positions in ((spec.encoder, codes[:POSITIONS]), (spec.decoder, codes[shift:][:POSITIONS])):
        part.scale_embeddings = False
        part.position_encodings.encodings = positions
        _norm(part.layer_norm, size)
        (layer,) = part.layer
        for norm in (layer.self_attention.layer_norm, layer.ffn.layer_norm):
            _norm(norm, size)
        _linear(layer.self_attention.linear[0], np.concatenate([nothing] * 3))
        _linear(layer.self_attention.linear[1], nothing)
        _linear(layer.ffn.linear_0, nothing)
        _linear(layer.ffn.linear_1, nothing)
    spec.encoder.embeddings[0].weight = tokens
    spec.decoder.embeddings.weight = tokens
    attention = spec.decoder.layer[0].attention
    _norm(attention.layer_norm, size)
    _linear(attention.linear[0], look)
    _linear(attention.linear[1], np.concatenate([look, np.eye(size, dtype=np.float32)]))
    _linear(attention.linear[2], copy)
    _linear(spec.decoder.projection, shouted)
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    return spec


def _norm(layer, size):
    layer.gamma, layer.beta = np.ones(size, np.float32), np.zeros(size, np.float32)


def _linear(layer, weight):
    layer.weight, layer.bias = weight, np.zeros(len(weight), np.float32)
