"""Whisper checkpoints as teachers: Hugging Face safetensors or CTranslate2, read into one form."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rtstream.bundle.tokenizer import LANGUAGE, Tokenizer
from rtstream.errors import TrainingError
from rtstream.features.log_mel import HOP, N_FFT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from rtstream.nn.features import LogMel

ENGLISH_END = 50_256
"""The end in Whisper's models for English alone, which is GPT-2's; in those for many languages it comes later."""
RENAMED = {"<|nocaptions|>": "<|nospeech|>"}
TASKS = frozenset({"<|translate|>", "<|transcribe|>"})

CT2_DTYPES: dict[int, type[np.generic]] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class Weights(dict[str, Tensor]):
    """Tensors by name; one that is missing is a TrainingError."""

    def __missing__(self, name: str) -> Tensor:
        msg = f"the Whisper checkpoint lacks the weight {name}: it is incomplete or of another architecture"
        raise TrainingError(msg)


@dataclass(frozen=True)
class WhisperCheckpoint:
    """Weights by their Hugging Face names without the ``model.`` prefix, float32; sizes; the full tokenizer."""

    weights: Weights
    tokenizer: Tokenizer
    alignment_heads: tuple[tuple[int, int], ...]

    @property
    def d_model(self) -> int:
        """Width of the model."""
        return self.weights["encoder.layer_norm.weight"].shape[0]

    @property
    def heads(self) -> int:
        """Attention heads of a layer; every Whisper has 64 channels a head."""
        return self.d_model // 64

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, whatever format they came in."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(self.weights[name].half().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def layers(self, side: str) -> int:
        """Number of layers of ``encoder`` or ``decoder``; 0 where there are none."""
        prefix = f"{side}.layers."
        return max((1 + int(n[len(prefix) :].split(".")[0]) for n in self.weights if n.startswith(prefix)), default=0)


def whisper_features(features: LogMel, audio: Tensor, samples: int) -> Tensor:
    """Log-mel of (batch, n) audio padded to ``samples``, clamped by each recording's maximum as Whisper does.

    Returns (batch, samples / 160, n_mels).
    """
    log = features.energies(F.pad(audio, (N_FFT // 2, samples - audio.shape[1] + N_FFT // 2 - HOP)))
    return (torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0


def load_whisper(directory: Path) -> WhisperCheckpoint:
    """Read a checkpoint directory: ``model.safetensors`` (Hugging Face) or ``model.bin`` (CTranslate2).

    Both need ``tokenizer.json`` beside them. Raises TrainingError naming what is missing or not understood.
    """
    try:
        if (directory / "model.safetensors").exists():
            raw = load_file(directory / "model.safetensors")
            weights = Weights((name.removeprefix("model."), tensor.float()) for name, tensor in raw.items())
        elif (directory / "model.bin").exists():
            weights = _from_ctranslate2(_read_ctranslate2(directory / "model.bin"))
        else:
            msg = f"{directory}: no Whisper checkpoint: it needs model.safetensors or a CTranslate2 model.bin"
            raise TrainingError(msg)
        tokenizer = read_tokenizer(directory / "tokenizer.json")
        return WhisperCheckpoint(weights, tokenizer, _read_alignment_heads(directory))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, struct.error) as error:
        msg = f"{directory}: the Whisper checkpoint cannot be read ({type(error).__name__}): {error}"
        raise TrainingError(msg) from error


def _read_alignment_heads(directory: Path) -> tuple[tuple[int, int], ...]:
    """CTranslate2 names them in config.json, Hugging Face in generation_config.json; older checkpoints nowhere."""
    for name in ("config.json", "generation_config.json"):
        path = directory / name
        heads = json.loads(path.read_text(encoding="utf-8")).get("alignment_heads") if path.exists() else None
        if heads:
            return tuple((int(layer), int(head)) for layer, head in heads)
    return ()


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``. Raises OSError, KeyError, TypeError or ValueError where it is none.

    Models for English alone list languages and tasks too, but have never seen them: here they have none.
    """
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = data["model"]["vocab"]
    special = {RENAMED.get(token["content"], token["content"]): int(token["id"]) for token in data["added_tokens"]}
    pieces = [""] * (1 + max([*vocabulary.values(), *special.values()]))
    for piece, index in (vocabulary | special).items():
        pieces[index] = piece
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"])
    tokenizer = Tokenizer(tuple(pieces), tuple(merges), special)
    if special.get("<|endoftext|>") != ENGLISH_END:
        return tokenizer
    return tokenizer.select_special([name for name in special if name not in TASKS and not LANGUAGE.fullmatch(name)])


def _read_ctranslate2(path: Path) -> dict[str, NDArray[Any]]:
    """Variables of a CTranslate2 binary (its model_spec.py: counted strings, shapes, raw little-endian data)."""
    data = path.read_bytes()
    offset = 0

    def read(layout: str) -> tuple[Any, ...]:
        nonlocal offset
        values = struct.unpack_from("<" + layout, data, offset)
        offset += struct.calcsize("<" + layout)
        return values

    def string() -> str:
        (length,) = read("H")
        (raw,) = read(f"{length}s")
        return bytes(raw[:-1]).decode()

    read("I")
    kind = string()
    if kind != "WhisperSpec":
        msg = f"a CTranslate2 {kind} is not a Whisper"
        raise ValueError(msg)
    _, count = read("II")
    variables: dict[str, NDArray[Any]] = {}
    for _ in range(count):
        name = string()
        (rank,) = read("B")
        shape = read(f"{rank}I")
        code, size = read("BI")
        dtype = np.dtype(CT2_DTYPES[code])
        variables[name] = np.frombuffer(data, dtype, size // dtype.itemsize, offset).reshape(shape)
        offset += size
    (aliases,) = read("I")
    for _ in range(aliases):
        alias = string()
        variables[alias] = variables[string()]
    return variables


def _from_ctranslate2(variables: dict[str, NDArray[Any]]) -> Weights:
    weights = Weights()

    def get(name: str) -> Tensor:
        value = torch.from_numpy(np.array(variables[name], dtype=np.float32))
        scale = variables.get(name + "_scale")
        return value if scale is None else value / torch.from_numpy(np.array(scale, dtype=np.float32)).reshape(-1, 1)

    def linear(name: str, source: str, parts: tuple[str, ...] = ("",)) -> None:
        weight, bias = get(source + "/weight").chunk(len(parts)), get(source + "/bias").chunk(len(parts))
        for part, w, b in zip(parts, weight, bias, strict=True):
            weights[f"{name}{part}.weight"] = w
            weights[f"{name}{part}.bias"] = b

    def norm(name: str, source: str) -> None:
        weights[name + ".weight"], weights[name + ".bias"] = get(source + "/gamma"), get(source + "/beta")

    for index in (1, 2):
        weights[f"encoder.conv{index}.weight"] = get(f"encoder/conv{index}/weight")
        weights[f"encoder.conv{index}.bias"] = get(f"encoder/conv{index}/bias")
    weights["decoder.embed_tokens.weight"] = get("decoder/embeddings/weight")
    weights["decoder.embed_positions.weight"] = get("decoder/position_encodings/encodings")
    for side in ("encoder", "decoder"):
        norm(f"{side}.layer_norm", f"{side}/layer_norm")
        index = 0
        while f"{side}/layer_{index}/ffn/linear_0/weight" in variables:
            source, name = f"{side}/layer_{index}", f"{side}.layers.{index}"
            linear(f"{name}.self_attn", f"{source}/self_attention/linear_0", (".q_proj", ".k_proj", ".v_proj"))
            linear(f"{name}.self_attn.out_proj", f"{source}/self_attention/linear_1")
            norm(f"{name}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
            if side == "decoder":
                linear(f"{name}.encoder_attn.q_proj", f"{source}/attention/linear_0")
                linear(f"{name}.encoder_attn", f"{source}/attention/linear_1", (".k_proj", ".v_proj"))
                linear(f"{name}.encoder_attn.out_proj", f"{source}/attention/linear_2")
                norm(f"{name}.encoder_attn_layer_norm", f"{source}/attention/layer_norm")
            linear(f"{name}.fc1", f"{source}/ffn/linear_0")
            linear(f"{name}.fc2", f"{source}/ffn/linear_1")
            norm(f"{name}.final_layer_norm", f"{source}/ffn/layer_norm")
            index += 1
    return weights
