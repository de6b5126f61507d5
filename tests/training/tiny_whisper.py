"""A Whisper checkpoint of two small layers on each side, written as the two formats that teachers come in."""

import json
import struct

import numpy as np
import torch
from safetensors.torch import save_file

from rtstream.training.speech.vocabulary import SPECIAL
from tests.bundle.tiny_tokenizer import make_tokenizer

D, LAYERS, MAX_TOKENS = 64, 2, 60
HEADS = ((0, 0), (1, 0))
LANGUAGES = tuple(f"<|{code}|>" for code in ("en", "es", "fr", "de", "pt", "ja"))
FULL_SPECIAL = (*SPECIAL, *LANGUAGES, "<|0.00|>")


def full_tokenizer():
    """The tokenizer of the checkpoint: more special tokens than are kept."""
    return make_tokenizer(FULL_SPECIAL)


def make_weights(seed=0):
    """Weights by Hugging Face's names, without ``model.``; keys have no bias."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}

    def tensor(name, *shape):
        weights[name] = torch.randn(*shape, generator=generator) * (0.5 / shape[-1] ** 0.5)

    def linear(name, inputs, outputs, *, bias=True):
        tensor(f"{name}.weight", outputs, inputs)
        if bias:
            tensor(f"{name}.bias", outputs)

    def norm(name):
        weights[f"{name}.weight"] = 1 + 0.1 * torch.randn(D, generator=generator)
        weights[f"{name}.bias"] = 0.1 * torch.randn(D, generator=generator)

    def attention(name):
        linear(f"{name}.k_proj", D, D, bias=False)
        for part in ("q_proj", "v_proj", "out_proj"):
            linear(f"{name}.{part}", D, D)

    tensor("encoder.conv1.weight", D, 80, 3)
    tensor("encoder.conv1.bias", D)
    tensor("encoder.conv2.weight", D, D, 3)
    tensor("encoder.conv2.bias", D)
    tensor("decoder.embed_tokens.weight", len(full_tokenizer()), D)
    tensor("decoder.embed_positions.weight", MAX_TOKENS, D)
    for side in ("encoder", "decoder"):
        norm(f"{side}.layer_norm")
        for index in range(LAYERS):
            name = f"{side}.layers.{index}"
            attention(f"{name}.self_attn")
            norm(f"{name}.self_attn_layer_norm")
            if side == "decoder":
                attention(f"{name}.encoder_attn")
                norm(f"{name}.encoder_attn_layer_norm")
            linear(f"{name}.fc1", D, 4 * D)
            linear(f"{name}.fc2", 4 * D, D)
            norm(f"{name}.final_layer_norm")
    return weights


def write_tokenizer(directory):
    """``tokenizer.json`` as Hugging Face's tokenizers write it."""
    tokenizer = full_tokenizer()
    special = set(tokenizer.special)
    vocabulary = {piece: index for index, piece in enumerate(tokenizer.pieces) if piece not in special}
    added = [{"content": name, "id": index, "special": True} for name, index in tokenizer.special.items()]
    data = {"added_tokens": added, "model": {"type": "BPE", "vocab": vocabulary, "merges": tokenizer.merges}}
    (directory / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")


def write_hugging_face(directory, weights):
    """A checkpoint with ``model.safetensors``."""
    directory.mkdir(parents=True, exist_ok=True)
    write_tokenizer(directory)
    save_file(
        {f"model.{name}": tensor.contiguous() for name, tensor in weights.items()}, directory / "model.safetensors"
    )
    (directory / "config.json").write_text(json.dumps({"d_model": D}))
    (directory / "generation_config.json").write_text(json.dumps({"alignment_heads": HEADS}))


def write_ctranslate2(directory, weights, *, int8=False):
    """A checkpoint with ``model.bin``, laid out as CTranslate2's model_spec.py does.

    Returns the weights that it holds, which differ from those given where ``int8`` rounds them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_tokenizer(directory)
    (directory / "config.json").write_text(json.dumps({"alignment_heads": HEADS}))
    variables = Variables(weights, int8=int8)
    variables.fill()
    (directory / "model.bin").write_bytes(variables.encoded())
    return variables.held


class Variables:
    """The arrays of a CTranslate2 binary, made from weights by Hugging Face's names."""

    def __init__(self, weights, *, int8):
        self.weights, self.int8 = weights, int8
        self.held = dict(weights)
        self.arrays = {}

    def put(self, name, tensor):
        self.arrays[name] = tensor.numpy().astype(np.float32)

    def linear(self, name, sources):
        """One matrix of several that read the same input."""
        matrices = [self.weights[f"{source}.weight"] for source in sources]
        biases = [self.weights.get(f"{s}.bias", torch.zeros(len(m))) for s, m in zip(sources, matrices, strict=True)]
        matrix = torch.cat(matrices)
        self.put(f"{name}/bias", torch.cat(biases))
        if not self.int8:
            self.put(f"{name}/weight", matrix)
            return
        scale = 127 / matrix.abs().amax(dim=1)
        rounded = (matrix * scale[:, None]).round()
        self.arrays[f"{name}/weight"] = rounded.numpy().astype(np.int8)
        self.put(f"{name}/weight_scale", scale)
        parts = (rounded / scale[:, None]).split([len(m) for m in matrices])
        self.held.update({f"{source}.weight": part for source, part in zip(sources, parts, strict=True)})

    def norm(self, name, source):
        self.put(f"{name}/gamma", self.weights[f"{source}.weight"])
        self.put(f"{name}/beta", self.weights[f"{source}.bias"])

    def fill(self):
        for index in (1, 2):
            for kind in ("weight", "bias"):
                self.put(f"encoder/conv{index}/{kind}", self.weights[f"encoder.conv{index}.{kind}"])
        self.put("decoder/embeddings/weight", self.weights["decoder.embed_tokens.weight"])
        self.put("decoder/position_encodings/encodings", self.weights["decoder.embed_positions.weight"])
        for side in ("encoder", "decoder"):
            self.norm(f"{side}/layer_norm", f"{side}.layer_norm")
            for index in range(LAYERS):
                self.layer(side, f"{side}/layer_{index}", f"{side}.layers.{index}")

    def layer(self, side, new, old):
        self.linear(f"{new}/self_attention/linear_0", [f"{old}.self_attn.{part}_proj" for part in "qkv"])
        self.linear(f"{new}/self_attention/linear_1", [f"{old}.self_attn.out_proj"])
        self.norm(f"{new}/self_attention/layer_norm", f"{old}.self_attn_layer_norm")
        if side == "decoder":
            self.linear(f"{new}/attention/linear_0", [f"{old}.encoder_attn.q_proj"])
            self.linear(f"{new}/attention/linear_1", [f"{old}.encoder_attn.{part}_proj" for part in "kv"])
            self.linear(f"{new}/attention/linear_2", [f"{old}.encoder_attn.out_proj"])
            self.norm(f"{new}/attention/layer_norm", f"{old}.encoder_attn_layer_norm")
        self.linear(f"{new}/ffn/linear_0", [f"{old}.fc1"])
        self.linear(f"{new}/ffn/linear_1", [f"{old}.fc2"])
        self.norm(f"{new}/ffn/layer_norm", f"{old}.final_layer_norm")

    def encoded(self):
        """The file: version, kind, revision, variables, aliases."""

        def string(text):
            return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

        codes = {np.dtype(np.float32): 0, np.dtype(np.int8): 1}
        data = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(self.arrays))
        for name, array in self.arrays.items():
            data += string(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
            data += struct.pack("<BI", codes[array.dtype], array.nbytes) + array.tobytes()
        return data + struct.pack("<I", 1) + string("decoder/projection/weight") + string("decoder/embeddings/weight")
