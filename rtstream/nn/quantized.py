"""Int8 inference: weights per output channel, activations quantized as they come. The one module that knows how.

A shared matrix is packed once and the same packed object serves all layers of its group. Torch's engines differ in
speed and, without dot-product instructions, in accuracy (AVX2 adds two products up in 16 bits, and what is more is
lost), so ``choose_engine`` looks whether one is right on this machine.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rtstream.model.config import ModelConfig, TextModelConfig
from rtstream.model.shapes import SCALE, TABLE
from rtstream.nn.model import SpeechModel
from rtstream.nn.residual_linear import ResidualLinear, SharedLinear
from rtstream.nn.text_model import TextModel
from rtstream.processor import features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ENGINES = ("fbgemm", "x86", "onednn", "qnnpack")
PREFERRED = {"avx2": ("x86", "fbgemm", "onednn"), "asimd": ("qnnpack", "onednn")}
"""The engines for processors with a feature, the best first: docs/engine.md has the measurements.

Never by a race: which engine computes decides which text comes out, and that must be the same after every start.
"""
LEAST_HALF = 2.0**-14
"""Below it float16 has less than its ten bits."""
HALF_UP = 1 + 2.0**-11
"""By half of float16's last bit: rounded then, nothing has become less."""
LARGEST = 127
"""Of the int8 numbers that a matrix is held in."""
DAMPING = 0.01
"""Of the mean of a Gram matrix's diagonal, added to it: what was seldom heard counts for something still."""
COMPENSATED = 128
"""Inputs after which the error so far is set right in all that follow, which is quicker than after each."""
PAIR = 128
"""The most that two weights may come to if 16 bits are to hold their products with activations of up to 255."""
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Engine:
    """A torch quantized engine; ``saturates``: two products of large activations and weights are too much for it."""

    name: str
    saturates: bool = False


def choose_engine(name: str = "auto") -> Engine:
    """The engine that ``PREFERRED`` has for this processor, the first that computes correctly, or the named one.

    Raises ValueError where no engine, or not this one, works here; the message says which do.
    """
    present = [e for e in ENGINES if e in torch.backends.quantized.supported_engines]
    known = features()
    order = next((order for feature, order in PREFERRED.items() if feature in known), ENGINES)
    wanted = [e for e in order if e in present] if name == "auto" else [e for e in present if e == name]
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(512, 512, generator=generator)
    x = torch.randn(32, 512, generator=generator)
    reference = x @ weight.T
    for engine_name in wanted:
        try:
            most = PackedLinear(*quantize(torch.ones(64, 64)), None, Engine(engine_name))(torch.ones(1, 64))
            engine = Engine(engine_name, saturates=bool((most < 63).any()))
            packed = PackedLinear(*quantize(weight), None, engine)
            if float((packed(x) - reference).norm() / reference.norm()) < 0.03:
                return engine
        except RuntimeError:
            continue
    msg = f"engine {name!r} does not work on this machine; choose onnx, torch or float (present: {', '.join(present)})"
    raise ValueError(msg)


def quantize(weight: Tensor, step: float = 0.0, gram: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(outputs, inputs) to int8 of the same shape and float32 scales (outputs,), symmetric, per output channel.

    A channel's scale takes its largest weight to 127, or is ``step`` times its root mean square where that is more:
    so there are fewer different numbers, which can be stored in fewer bits; with a ``step`` scales fit into float16.
    ``gram`` (inputs, inputs) of the rows that the matrix multiplies: later weights then make up for the rounding of
    those before (GPTQ, arXiv 2210.17323).
    """
    flat = weight.float()
    scale = flat.abs().amax(dim=1).clamp(min=1e-8) / LARGEST
    if step:
        scale = torch.maximum(scale, step * flat.square().mean(dim=1).sqrt())
        scale = torch.where(scale > LEAST_HALF, (scale * HALF_UP).half().float(), scale)
    if gram is None:
        return nearest(flat, scale).to(torch.int8), scale
    return _compensated(flat, scale, gram), scale


def nearest(weight: Tensor, scale: Tensor) -> Tensor:
    """The whole numbers, float, that weights (outputs, ...) are nearest to in steps of ``scale`` (outputs,)."""
    return (weight / _by_channel(scale, weight)).round_().clamp_(-LARGEST, LARGEST)


def _by_channel(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def _compensated(weight: Tensor, scale: Tensor, gram: Tensor) -> Tensor:
    """Int8 numbers (outputs, inputs), an input after the other, those that follow set right for the error so far."""
    damped = gram + DAMPING * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram), dtype=gram.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    follow = torch.linalg.cholesky(inverse, upper=True).float()
    left, numbers = weight.clone(), torch.empty_like(weight, dtype=torch.int8)
    for start in range(0, len(gram), COMPENSATED):
        end = min(start + COMPENSATED, len(gram))
        errors = torch.empty(len(weight), end - start)
        for index in range(start, end):
            number = (left[:, index] / scale).round().clamp(-LARGEST, LARGEST)
            numbers[:, index] = number.to(torch.int8)
            error = errors[:, index - start] = (left[:, index] - number * scale) / follow[index, index]
            left[:, index:end] -= error[:, None] * follow[index, index:end]
        left[:, end:] -= errors @ follow[start:end, end:]
    return numbers


def dequantize(weight: Tensor, scale: Tensor) -> Tensor:
    """Float32 of the shape of ``weight``; its first axis is the channel."""
    return weight.float() * _by_channel(scale, weight)


def _unsaturated(weight: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The same matrix, coarser in channels with neighbours of one sign above ``PAIR``: AVX2 adds products up by twos.

    That costs less than a bit of all activations, which is how torch's ``reduce_range`` avoids it.
    """
    even, odd = weight[:, ::2].short(), F.pad(weight[:, 1::2], (0, weight.shape[1] % 2)).short()
    most = torch.maximum(
        (even.clamp(min=0) + odd.clamp(min=0)).amax(dim=1), -(even.clamp(max=0) + odd.clamp(max=0)).amin(dim=1)
    )
    excess = (most / PAIR).clamp(min=1.0)
    above = excess > 1.0
    weight = weight.clone()
    weight[above] = (weight[above] / excess[above, None]).round().to(torch.int8)
    return weight, scale * excess


@dataclass(frozen=True, slots=True)
class Rows:
    """What a packed matrix multiplies: rows (..., inputs), which were divided by ``size`` (..., 1).

    Torch quantizes all rows of an input to one scale. Whisper's encoder has frames, in silence above all, whose
    activations are a hundred times those of others, which would all come to nothing: so each is brought to one size.
    A single row stays as it is, and its ``size`` is None.
    """

    values: Tensor
    size: Tensor | None

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        """The rows of (..., inputs) float32."""
        if x.numel() == x.shape[-1]:
            return cls(x, None)
        size = x.abs().amax(dim=-1, keepdim=True).clamp_(min=1e-8)
        return cls(x / size, size)


class PackedLinear(nn.Module):
    """A matrix packed for one engine; called like a linear layer."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None, engine: Engine) -> None:
        super().__init__()
        self.bias = bias
        self.bytes = weight.numel() + 4 * scale.numel()
        if engine.saturates:
            weight, scale = _unsaturated(weight, scale)
        previous = torch.backends.quantized.engine
        torch.backends.quantized.engine = engine.name
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                zeros = torch.zeros(len(scale), dtype=torch.long)
                quantized = torch._make_per_channel_quantized_tensor(weight.contiguous(), scale.double(), zeros, 0)  # noqa: SLF001
                self.packed: Any = torch.ops.quantized.linear_prepack(quantized, None)
        finally:
            torch.backends.quantized.engine = previous

    def rows(self, x: Tensor) -> Rows:
        """What several matrices of the same input can be called with in its place, so that it is scaled once."""
        return Rows.of(x)

    def forward(self, x: Tensor | Rows, bias: Tensor | None = None) -> Tensor:
        """(..., inputs) float32 to (..., outputs) float32; ``bias`` (outputs,) in the place of its own."""
        bias = self.bias if bias is None else bias
        rows = x if isinstance(x, Rows) else Rows.of(x)
        y: Tensor = torch.ops.quantized.linear_dynamic(rows.values, self.packed, False)  # noqa: FBT003
        if rows.size is None:
            return y if bias is None else y.add_(bias)
        return y.mul_(rows.size) if bias is None else torch.addcmul(bias, y, rows.size, out=y)


class PackedEmbedding(nn.Module):
    """A token table: int8 rows, dequantized as they are looked up."""

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.rows: Tensor
        self.scale: Tensor
        self.register_buffer("rows", weight.clone())  # a view would keep the whole file in memory
        self.register_buffer("scale", scale.clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """(...,) ids to (..., d_model) float32."""
        return self.rows[tokens].float() * self.scale[tokens][..., None]


class _Unfilled(TorchFunctionMode):
    """Leaves out normally distributed initial weights."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever func gives
        return None if func is nn.init.normal_ else func(*args, **(kwargs or {}))


def skeleton(config: ModelConfig | TextModelConfig) -> SpeechModel | TextModel:
    """A model of these sizes without storage.

    Nothing may be computed without storage: for that torch imports its compiler and sympy, 75 MB and a second or two.
    """
    with without_storage():
        return SpeechModel(config) if isinstance(config, ModelConfig) else TextModel(config)


@contextmanager
def without_storage() -> Iterator[None]:
    """What is made within has shapes and no storage."""
    with torch.device("meta"), _Unfilled():
        yield


def quantized_names(model: nn.Module) -> set[str]:
    """Names of the tensors of a model that are held as int8: every matrix, no bias, norm, diagonal or convolution."""
    full = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, (SharedLinear, nn.Linear))}
    table = {TABLE} & {name for name, _ in model.named_parameters()}
    return table | full | low_rank_names(model)


def low_rank_names(model: nn.Module) -> set[str]:
    """Names of the private low-rank matrices, A and B of each layer and position."""
    private = [name for name, module in model.named_modules() if isinstance(module, ResidualLinear) and module.rank]
    return {f"{name}.{part}" for name in private for part in "ab"}


def rounded_names(model: nn.Module) -> set[str]:
    """Names of the weights that a file may hold in fewer steps than int8 has: all of int8 but what is small."""
    small = low_rank_names(model) | {
        name for name, _ in model.named_parameters() if name.startswith(("ctc.", "voice."))
    }
    return quantized_names(model) - small


def quantize_state(
    state: State,
    config: ModelConfig | TextModelConfig,
    step: Callable[[str], float] = lambda _name: 0.0,
    grams: Mapping[str, Tensor] | None = None,
) -> State:
    """A state dict with its matrices as int8 and their scales beside them, all else as it was.

    ``step`` and ``grams``, both by a matrix's name, as for ``quantize``.
    """
    out: State = {}
    names = quantized_names(skeleton(config))
    for name, tensor in state.items():
        if name in names:
            # A is (parts, outputs, rank): its channels are the outputs of every part.
            weight, scale = quantize(tensor.reshape(-1, tensor.shape[-1]), step(name), (grams or {}).get(name))
            out[name], out[name + SCALE] = weight.view(tensor.shape), scale
        else:
            out[name] = tensor
    return out


def convolutions(model: nn.Module) -> set[str]:
    """Names of the weights that are int8 in files alone: a convolution computes in float."""
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Conv1d)}


def dequantize_state(state: State) -> State:
    """The float32 state dict of what ``quantize_state`` gave; float tensors of any width become float32."""
    out: State = {}
    for name, tensor in state.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in state:
            continue
        scale = state.get(name + SCALE)
        flat = tensor.float() if scale is None else dequantize(tensor.reshape(len(scale), -1), scale)
        out[name] = flat.view(tensor.shape)
    return out


@overload
def float_model(config: ModelConfig, state: State) -> SpeechModel: ...
@overload
def float_model(config: TextModelConfig, state: State) -> TextModel: ...
def float_model(config: ModelConfig | TextModelConfig, state: State) -> SpeechModel | TextModel:
    """A float32 model of a float or quantized state dict."""
    return _load(config, dequantize_state(state)).eval().requires_grad_(requires_grad=False)


@overload
def packed_model(config: ModelConfig, state: State, engine: Engine) -> SpeechModel: ...
@overload
def packed_model(config: TextModelConfig, state: State, engine: Engine) -> TextModel: ...
def packed_model(config: ModelConfig | TextModelConfig, state: State, engine: Engine) -> SpeechModel | TextModel:
    """An int8 model of a quantized state dict; no matrix is ever made float."""
    names = quantized_names(skeleton(config))
    small = dequantize_state({name: t for name, t in state.items() if name.removesuffix(SCALE) not in names})
    small |= {name: _low(state, name) for name in names if name.endswith(".a")}
    model = _load(config, small)
    for name, module in list(model.named_modules()):
        parent = model.get_submodule(name.rpartition(".")[0])
        key = name.rpartition(".")[2]
        if isinstance(module, (SharedLinear, nn.Linear)):
            bias = getattr(module, "bias", None)
            pair = state[f"{name}.weight"], state[f"{name}.weight{SCALE}"]
            setattr(parent, key, PackedLinear(*pair, None if bias is None else bias.detach(), engine))
        elif isinstance(module, ResidualLinear) and module.rank:
            module.down = PackedLinear(state[f"{name}.b"], state[f"{name}.b{SCALE}"], None, engine)
            module.b = None  # A is small and stays float
    model.decoder.output = PackedLinear(state[TABLE], state[TABLE + SCALE], None, engine)
    setattr(model.decoder, "embedding", PackedEmbedding(state[TABLE], state[TABLE + SCALE]))  # noqa: B010 of another type
    return model.eval().requires_grad_(requires_grad=False)


def packed_buffers(encoder: nn.Module) -> dict[str, int]:
    """Bytes of each distinct packed matrix of an encoder, by name; a shared one is counted once."""
    return {name: module.bytes for name, module in encoder.named_modules() if isinstance(module, PackedLinear)}


def _low(state: State, name: str) -> Tensor:
    tensor = state[name]
    return dequantize(tensor.reshape(-1, tensor.shape[-1]), state[name + SCALE]).view(tensor.shape)


def _load(config: ModelConfig | TextModelConfig, state: State) -> SpeechModel | TextModel:
    """A model of the given tensors; those not given stay without storage, to be replaced."""
    model = skeleton(config)
    model.load_state_dict(state, strict=False, assign=True)
    if isinstance(model, SpeechModel):
        model.encoder.positions = model.encoder.make_positions()
    model.decoder.turns = model.decoder.make_turns()
    return model
