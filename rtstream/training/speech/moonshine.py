"""Moonshine as a teacher: its weights by Hugging Face's names, and what of ours computes the same (arXiv 2410.15608).

    python -m rtstream.training.speech.moonshine MODELS/base-en DIRECTORY

makes of the files that PyPI's moonshine-cpp carries (``.ort``: flatbuffers of ONNX Runtime) a directory that training
reads: ``model.safetensors``, float32, and ``tokens.json``, each token as a list of its bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor

from rtstream.bundle.tokenizer import Tokenizer, byte_characters
from rtstream.errors import TrainingError
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WEIGHTS, TOKENS = "model.safetensors", "tokens.json"
HEADS = 8
TURNED = 0.62
"""Share of a head's channels that are turned, Hugging Face's partial_rotary_factor: 32 of 52."""
MAX_FRAMES = 1280
"""Encoder frames (24 ms): a bit more than the longest segment, 30 s. Turns have no last place; a table has."""
MAX_TOKENS = 448
START, END = 1, 2
BYTES = 3
"""The first of the 256 tokens that are single bytes."""
SPACE = "\u2581".encode()
ALIGNMENT_HEADS: tuple[tuple[int, int], ...] = ((4, 2), (5, 5), (6, 0), (6, 4))
"""Those nearest to where words were said, by ``alignment_heads``: each 0.2 s off on average, together steadier."""


@dataclass(frozen=True)
class MoonshineCheckpoint:
    """Weights by their Hugging Face names without the ``model.`` prefix, float32, and the full tokenizer."""

    weights: dict[str, Tensor]
    tokenizer: Tokenizer

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(self.weights[name].contiguous().numpy().tobytes())
        return digest.hexdigest()

    def layers(self, side: str) -> int:
        """Number of layers of ``encoder`` or ``decoder``."""
        prefix = f"{side}.layers."
        return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in self.weights if name.startswith(prefix))

    def model(self, tokenizer: Tokenizer, kept: list[int], seed: int) -> SpeechModel:
        """The same functions as one of ours, nothing shared, over the tokens ``kept`` of the old ids; CTC is random."""
        w = self.weights
        d = w["encoder.layer_norm.weight"].shape[0]
        encoder = EncoderConfig(
            d_model=d,
            heads=HEADS,
            ffn=w["encoder.layers.0.mlp.fc1.weight"].shape[0],
            layers=self.layers("encoder"),
            front_end="wave",
            positions="rope",
            rotary=self.rotary,
            n_mels=1,
            max_frames=MAX_FRAMES,
        )
        decoder = DecoderConfig(
            vocabulary=len(tokenizer),
            d_model=d,
            heads=HEADS,
            ffn=w["decoder.layers.0.mlp.fc2.weight"].shape[1],
            layers=self.layers("decoder"),
            max_tokens=MAX_TOKENS,
            alignment_heads=tuple(head for head in ALIGNMENT_HEADS if head[0] < self.layers("decoder")),
            rotary=self.rotary,
            mlp="swiglu",
        )
        torch.manual_seed(seed)
        model = SpeechModel(ModelConfig(encoder, decoder, voice=True))
        state = model.state_dict()
        for name in state:
            if not name.startswith(("ctc.", "voice.")):
                state[name] = torch.zeros_like(state[name])  # biases that Moonshine does without
        state |= self._encoder() | self._decoder(kept)
        model.load_state_dict(state)
        return model

    def _encoder(self) -> dict[str, Tensor]:
        w = self.weights
        state = {
            "front.conv1.weight": w["encoder.conv1.weight"],
            "front.norm.weight": w["encoder.groupnorm.weight"],
            "front.norm.bias": w["encoder.groupnorm.bias"],
            "front.conv2.weight": w["encoder.conv2.weight"].transpose(1, 2).flatten(1),
            "front.conv2.bias": w["encoder.conv2.bias"],
            "front.conv3.weight": w["encoder.conv3.weight"].transpose(1, 2).flatten(1),
            "front.conv3.bias": w["encoder.conv3.bias"],
            "norm.weight": w["encoder.layer_norm.weight"],
        }
        for index in range(self.layers("encoder")):
            old, shared, own = f"encoder.layers.{index}.", f"groups.{index}.", f"layers.{index}."
            state[shared + "qkv.weight"] = self._qkv(old + "self_attn.")
            state[shared + "out.weight"] = w[old + "self_attn.o_proj.weight"]
            for name, source in (("ff1", "mlp.fc1"), ("ff2", "mlp.fc2")):
                state[f"{shared}{name}.weight"] = w[f"{old}{source}.weight"]
                state[f"{own}{name}.bias"] = w[f"{old}{source}.bias"]
            state[own + "attention_norm.weight"] = w[old + "input_layernorm.weight"]
            state[own + "ffn_norm.weight"] = w[old + "post_attention_layernorm.weight"]
        return {f"encoder.{name}": tensor for name, tensor in state.items()}

    def _decoder(self, kept: list[int]) -> dict[str, Tensor]:
        w = self.weights
        state = {"embedding.weight": w["decoder.embed_tokens.weight"][kept], "norm.weight": w["decoder.norm.weight"]}
        for index in range(self.layers("decoder")):
            old, new = f"decoder.layers.{index}.", f"layers.{index}."
            state[new + "qkv.weight"] = self._qkv(old + "self_attn.")
            state[new + "out.weight"] = w[old + "self_attn.o_proj.weight"]
            state[new + "cross_q.weight"] = w[old + "encoder_attn.q_proj.weight"]
            state[new + "cross_kv.weight"] = torch.cat([w[f"{old}encoder_attn.{part}_proj.weight"] for part in "kv"])
            state[new + "cross_out.weight"] = w[old + "encoder_attn.o_proj.weight"]
            for name, source in (("ff1", "mlp.fc1"), ("ff2", "mlp.fc2")):
                state |= {f"{new}{name}.{kind}": w[f"{old}{source}.{kind}"] for kind in ("weight", "bias")}
            for name, source in (("self", "input_"), ("cross", "post_attention_"), ("ffn", "final_")):
                state[f"{new}{name}_norm.weight"] = w[f"{old}{source}layernorm.weight"]
        return {f"decoder.{name}": tensor for name, tensor in state.items()}

    def _qkv(self, prefix: str) -> Tensor:
        q, k, v = (self.weights[f"{prefix}{part}_proj.weight"] for part in "qkv")
        return torch.cat([self._halves(q), self._halves(k), v])

    @property
    def rotary(self) -> int:
        """Channels of a head that are turned."""
        return int(TURNED * self.weights["encoder.layer_norm.weight"].shape[0] / HEADS) // 2 * 2

    def _halves(self, weight: Tensor) -> Tensor:
        """Rows of queries or keys in the order in which ours turn them.

        Moonshine turns channels 2 i and 2 i + 1 of a head together, ours i and i + rotary / 2.
        """
        heads, turned = weight.view(HEADS, -1, weight.shape[1]), self.rotary
        return torch.cat([heads[:, 0:turned:2], heads[:, 1:turned:2], heads[:, turned:]], dim=1).reshape(weight.shape)


def load_moonshine(directory: Path) -> MoonshineCheckpoint:
    """The checkpoint in a directory that this module's command wrote. Raises TrainingError where it is none."""
    try:
        weights = load_file(directory / WEIGHTS)
        tokens = [bytes(token) for token in json.loads((directory / TOKENS).read_text())]
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        msg = f"{directory}: no Moonshine checkpoint ({WEIGHTS}, {TOKENS}): {error}: make teacher"
        raise TrainingError(msg) from error
    return MoonshineCheckpoint(weights, moonshine_tokenizer(tokens))


def moonshine_tokenizer(tokens: list[bytes]) -> Tokenizer:
    """The tokenizer of these tokens in their order, which is SentencePiece's: the single bytes, pieces, characters."""
    characters = byte_characters()
    pieces = ["".join(characters[byte] for byte in token.replace(SPACE, b" ")) for token in tokens]
    special = {"<unk>": 0, "<|startoftranscript|>": START, "<|endoftext|>": END}
    for name, index in special.items():
        pieces[index] = name
    return Tokenizer(tuple(pieces), None, special)


# --- the files of moonshine-cpp ---------------------------------------------------------------------------------------

DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
}
RENAMED = {
    "self_attn.dense": "self_attn.o_proj",
    "encoder_attn.dense": "encoder_attn.o_proj",
    "mlp.up_proj": "mlp.fc1",
    "mlp.down_proj": "mlp.fc2",
}
Arrays = dict[str, "NDArray[Any]"]


def _nodes(graph: Any) -> Iterator[tuple[str, str, list[str], list[str], Any]]:  # noqa: ANN401 - flatbuffers have no types
    """Operator, name, inputs, outputs of each node, and the node."""
    for i in range(graph.NodesLength()):
        node = graph.Nodes(i)
        inputs = [node.Inputs(k).decode() for k in range(node.InputsLength())]
        outputs = [node.Outputs(k).decode() for k in range(node.OutputsLength())]
        yield node.OpType().decode(), node.Name().decode(), inputs, outputs, node


def _constants(graph: Any) -> Arrays:  # noqa: ANN401 - as above
    """The initializers, and what Cast, Mul and Add make of them: weight = scale * int8 + offset."""
    values: Arrays = {}
    for i in range(graph.InitializersLength()):
        tensor = graph.Initializers(i)
        shape = [tensor.Dims(k) for k in range(tensor.DimsLength())]
        raw = tensor.RawDataAsNumpy().tobytes()
        values[tensor.Name().decode()] = np.frombuffer(raw, DTYPES[tensor.DataType()]).reshape(shape)
    for op, _, inputs, outputs, _ in _nodes(graph):
        if inputs and all(name in values for name in inputs):
            a, *b = (values[name] for name in inputs)
            if op == "Cast":
                values[outputs[0]] = a.astype(np.float32)
            elif op in {"Mul", "Add"}:
                values[outputs[0]] = a * b[0] if op == "Mul" else a + b[0]
    return values


def _used(graph: Any, values: Arrays, found: dict[tuple[str, str], NDArray[Any]]) -> None:  # noqa: ANN401 - as above
    """Put each weight into ``found``, by the operator and name of the node that uses it; subgraphs too."""
    for op, name, inputs, _, node in _nodes(graph):
        known = [values[each] for each in inputs if each in values]
        if known and op in {"MatMul", "Conv", "Gather", "Mul", "Add"} and not name.endswith("_node"):
            found.setdefault((op, name), known[0])
            if op == "Conv" and len(known) > 1:
                found.setdefault(("bias", name), known[1])
        for k in range(node.AttributesLength()):
            if node.Attributes(k).G() is not None:
                _used(node.Attributes(k).G(), values, found)


def _named(found: dict[tuple[str, str], NDArray[Any]], side: str) -> Arrays:
    """The weights of one side by Hugging Face's names."""
    out: Arrays = {}
    for (op, name), weight in found.items():
        path = name.strip("/").replace("model/decoder/", "").replace("/", ".").rpartition(".")[0]
        for old, new in RENAMED.items():
            path = path.replace(old, new)
        key = f"{side}.{path}"
        if op == "Conv":
            out[f"{key}.weight"] = weight
        elif op == "bias" or (op == "Add" and weight.ndim == 1 and path.endswith(("fc1", "fc2"))):
            out[f"{key}.bias"] = weight
        elif op == "MatMul" and weight.ndim == 2 and path.endswith(("_proj", "fc1", "fc2")):
            out[f"{key}.weight"] = weight.T
        elif op == "Mul" and weight.ndim == 1 and weight.size > 1 and re.search(r"norm$", path):
            out[f"{key}.weight"] = weight
        elif path == "groupnorm" and weight.size > 1:
            out[f"{side}.groupnorm.{'weight' if op == 'Mul' else 'bias'}"] = weight.reshape(-1)
        elif op == "Gather" and path == "embed_tokens":
            out["decoder.embed_tokens.weight"] = weight
    return out


def read_tokens(data: bytes) -> list[list[int]]:
    """The tokens of ``tokenizer.bin``: of each its length, in one byte or two, and its bytes."""
    tokens, place = [], 0
    while place < len(data):
        length = data[place]
        place += 1
        if length >= 128:
            length = data[place] * 128 + length - 128
            place += 1
        tokens.append(list(data[place : place + length]))
        place += length
    return tokens


def convert(source: Path, directory: Path) -> None:
    """Write what ``load_moonshine`` reads. Raises OSError where a file of ``source`` is missing."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py import (  # type: ignore[import-untyped]  # noqa: PLC0415
        fbs,
    )

    state: Arrays = {}
    for side, file in (("encoder", "encoder_model.ort"), ("decoder", "decoder_model_merged.ort")):
        session = fbs.InferenceSession.InferenceSession.GetRootAs((source / file).read_bytes(), 0)
        graph = session.Model().Graph()
        found: dict[tuple[str, str], NDArray[Any]] = {}
        _used(graph, _constants(graph), found)
        state |= _named(found, side)
    directory.mkdir(parents=True, exist_ok=True)
    save_file({n: np.ascontiguousarray(t, dtype=np.float32) for n, t in state.items()}, directory / WEIGHTS)
    (directory / TOKENS).write_text(json.dumps(read_tokens((source / "tokenizer.bin").read_bytes())))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
