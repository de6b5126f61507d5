"""The graphs of the models: an encoder for both passes, a decoder, and the small parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from rtstream.engine.ort.graph import Graph
from rtstream.engine.ort.tensors import dense
from rtstream.model.shapes import SCALE, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtstream.bundle.files import State
    from rtstream.model.config import DecoderConfig, EncoderConfig, StackConfig

PREFIX = "encoder."
"""Of the names of an encoder's tensors."""


class _Stack:
    """Layers of an encoder, as one pass computes them: what is shared is the same initializer in each."""

    def __init__(self, graph: Graph, config: StackConfig, own: str, added: Sequence[str]) -> None:
        """``own``: where the pass has its biases and norms; ``added``: where the private parts are that it adds up."""
        self.g, self.config, self.own, self.added = graph, config, own, added

    def norm(self, x: str, name: str) -> str:
        """A layer norm."""
        return self.g.norm(x, self.g.weight(f"{self.own}{name}.weight"), self.g.weight(f"{self.own}{name}.bias"))

    def scaled(self, branch: str, name: str) -> str:
        """A branch by its learned scale, where it has one."""
        if not self.config.layer_scale:
            return branch
        out: str = self.g.op("Mul", branch, self.g.weight(self.own + name))
        return out

    def linear(self, x: str, layer: int, position: str) -> list[str]:
        """The parts of a layer's matrix at a position, times (batch, n, inputs)."""
        g, c = self.g, self.config
        parts, outputs, _ = c.shapes()[position]
        name = f"layers.{layer}.{position}"
        rows = g.rows(x)
        y = g.weight(f"{self.own}{name}.bias")
        if c.full_rank:
            y = g.op("Add", g.product(rows, f"{PREFIX}groups.{layer // c.share}.{position}.weight"), y)
        split = [y]
        if parts > 1:
            split = list(g.op("Split", y, g.numbers(*[outputs] * parts), outputs=parts, axis=-1))
        for private in self.added:
            low = f"{private}{name}.b"
            given = g.product(rows, low) if low in g.state else None
            for part in range(parts):
                for added in self._private(x, given, f"{private}{name}", part, position):
                    split[part] = g.op("Add", split[part], added)
        return split

    def _private(self, x: str, low: str | None, name: str, part: int, position: str) -> Iterator[str]:
        """What a private part adds to one of the parts of a matrix."""
        g = self.g
        _, outputs, inputs = self.config.shapes()[position]
        if low is not None:
            rank = g.state[f"{name}.a"].shape[-1]
            mine = g.op("Slice", low, g.numbers(part * rank), g.numbers((part + 1) * rank), g.numbers(-1))
            yield g.op("MatMul", mine, g.constant(f"{name}.a{part}", lambda state: dense(state, f"{name}.a")[part].T))
        if f"{name}.d" in g.state:
            width = min(inputs, outputs)
            first = x if inputs == width else g.op("Slice", x, g.numbers(0), g.numbers(width), g.numbers(-1))
            scaled = g.op("Mul", first, g.constant(f"{name}.d{part}", lambda state: dense(state, f"{name}.d")[part]))
            yield scaled if outputs == width else g.op("Pad", scaled, g.numbers(0, 0, 0, 0, 0, outputs - width))

    def heads(self, q: str, k: str, turns: tuple[str, str] | None) -> tuple[str, str]:
        """Queries and keys, turned where places are told so."""
        if turns is None:
            return q, k
        size, half = self.config.d_model // self.config.heads, self.config.rotary // 2  # type: ignore[attr-defined]
        return self.g.turned(q, *turns, half, size), self.g.turned(k, *turns, half, size)

    def merge(self, x: str, attended: str, layer: int) -> str:
        """The residual stream after attention and feed-forward."""
        g = self.g
        (branch,) = self.linear(g.joined(attended), layer, "out")
        x = g.op("Add", x, self.scaled(branch, f"layers.{layer}.attention_scale"))
        (hidden,) = self.linear(self.norm(x, f"layers.{layer}.ffn_norm"), layer, "ff1")
        (branch,) = self.linear(g.gelu(hidden), layer, "ff2")
        out: str = g.op("Add", x, self.scaled(branch, f"layers.{layer}.ffn_scale"))
        return out


def encoder_graph(config: EncoderConfig, state: State) -> Graph:
    """Both passes of a speech encoder behind its front end.

    Takes ``x`` (1, n, d_model), placed; ``cos`` and ``sin`` (n, rotary / 2) where places are turned; ``full`` (1,):
    whether with full context, of a model with two passes; ``keys`` and ``values`` of each layer (1, heads, m, d_head),
    of frames before; ``kept`` (2,), from and to which of the m + n keys the next call wants; ``wanted`` (1,): how many
    states. Gives ``states`` and those.
    """
    g = Graph(state)
    passes = _Passes(g, config)
    two = config.whole
    made = g.either(g.input("full", [1], bool), passes.full, passes.chunks) if two else passes.chunks()
    names = [f"next_{kind}{layer}" for layer in range(config.layers) for kind in ("keys", "values")]
    for value, name, rank in zip(made, ["states", *names], [3] + [4] * len(names), strict=True):
        g.output(value, name, rank)
    return g


class _Passes:
    """Both passes of a speech encoder over the same inputs."""

    def __init__(self, graph: Graph, config: EncoderConfig) -> None:
        g, c = graph, config
        self.g, self.config = g, c
        size = c.d_model // c.heads
        self.x, self.turns = g.input("x", [1, None, c.d_model]), _turns(g, c.rotary)
        self.begin, self.end, self.wanted = (g.input(name, [1], np.int64) for name in ("begin", "end", "wanted"))
        self.before = [
            [g.input(f"{name}{layer}", [1, c.heads, None, size]) for name in ("keys", "values")]
            for layer in range(c.layers)
        ]

    def chunks(self) -> list[str]:
        """States of a chunk, and keys and values for the next."""
        # The chunks' private parts add to those of full context, where that has any.
        under = [f"{PREFIX}whole."] if self.config.whole_rank else []
        return self._layers(_Stack(self.g, self.config, PREFIX, [*under, PREFIX]))

    def full(self) -> list[str]:
        """The same of a whole segment, of which each frame sees all."""
        own = f"{PREFIX}whole."
        return self._layers(_Stack(self.g, self.config, own, [own] if self.config.whole_rank else []), apart=True)

    def _layers(self, stack: _Stack, *, apart: bool = False) -> list[str]:
        g, config, x = self.g, self.config, self.x
        size, following = config.d_model // config.heads, []
        for layer in range(config.layers):
            q, k, v = (
                g.heads(part, config.heads)
                for part in stack.linear(stack.norm(x, f"layers.{layer}.attention_norm"), layer, "qkv")
            )
            q, k = stack.heads(q, k, self.turns)
            if apart:  # there is nothing before, and nothing to come
                following += [g.op("Identity", each) for each in self.before[layer]]
            else:
                k, v = (g.op("Concat", old, new, axis=2) for old, new in zip(self.before[layer], (k, v), strict=True))
                following += [g.op("Slice", each, self.begin, self.end, g.numbers(2)) for each in (k, v)]
            if layer == config.layers - 1:  # nothing sees the others' last states
                q = g.op("Slice", q, g.numbers(0), self.wanted, g.numbers(2))
                x = g.op("Slice", x, g.numbers(0), self.wanted, g.numbers(1))
            attended = g.attended_apart(q, k, v, size, config.heads) if apart else g.attended(q, k, v, size)
            x = stack.merge(x, attended, layer)
        return [stack.norm(x, "norm"), *following]


def _turns(g: Graph, rotary: int) -> tuple[str, str] | None:
    """How queries and keys are turned, of a model that tells places so."""
    if not rotary:
        return None
    return g.input("cos", [None, rotary // 2]), g.input("sin", [None, rotary // 2])


def text_encoder_graph(config: StackConfig, state: State) -> Graph:
    """An encoder of what is all there: ``x`` (batch, n, d_model) and ``mask`` (batch, 1, 1, n), added to the scores.

    Gives ``states``.
    """
    g = Graph(state)
    size = config.d_model // config.heads
    x, mask = g.input("x", [None, None, config.d_model]), g.input("mask", [None, 1, 1, None])
    stack = _Stack(g, config, PREFIX, [PREFIX])
    for layer in range(config.layers):
        q, k, v = (
            g.heads(part, config.heads)
            for part in stack.linear(stack.norm(x, f"layers.{layer}.attention_norm"), layer, "qkv")
        )
        x = stack.merge(x, g.attended(q, k, v, size, mask), layer)
    g.output(stack.norm(x, "norm"), "states", 3)
    return g


def probe_graph() -> Graph:
    """Of ``x`` (n, 8), rows of ones, by weights of 127 that stand for 1: ``y`` is 8, or less where kernels saturate."""
    state: State = {"w": np.full((16, 8), 127, np.int8), f"w{SCALE}": np.full(16, 1 / 127, np.float32)}
    g = Graph(state)
    g.output(g.product(g.rows(g.input("x", [None, 8])), "w"), "y", 2)
    return g


def mlp_graph(state: State, names: tuple[str, str], inputs: int, *, log_softmax: bool = False) -> Graph:
    """Two matrices with GELU between them: ``x`` (1, n, inputs) to ``y``."""
    g = Graph(state)
    y = g.linear(g.gelu(g.linear(g.input("x", [1, None, inputs]), names[0])), names[1])
    g.output(g.op("LogSoftmax", y, axis=-1) if log_softmax else y, "y", 3)
    return g


def convolution_graph(state: State, name: str, activation: Literal["gelu", "tanh"]) -> Graph:
    """``x`` (n, inputs) times the transpose of a float32 matrix, that of a convolution, and GELU or tanh: ``y``."""
    weight = dense(state, f"{name}.weight")
    g = Graph(state)
    flat = weight.reshape(len(weight), -1)
    y = g.op("MatMul", g.input("x", [None, flat.shape[1]]), g.constant("w", lambda _: flat.T))
    if f"{name}.bias" in state:
        y = g.op("Add", y, g.weight(f"{name}.bias"))
    g.output(g.gelu(y) if activation == "gelu" else g.op("Tanh", y), "y", 2)
    return g


def matrix_graph(state: State, name: str) -> Graph:
    """GELU of an int8 matrix: ``x`` (n, inputs) to ``y``."""
    g = Graph(state)
    g.output(g.gelu(g.linear(g.input("x", [None, g.state[f"{name}.weight"].shape[1]]), name)), "y", 2)
    return g


def cross_graph(config: DecoderConfig, state: State) -> Graph:
    """``x`` (batch, n, d_model) states to the ``keys`` and ``values`` of each layer, (batch, heads, n, d_head)."""
    g = Graph(state)
    rows = g.rows(g.input("x", [None, None, config.d_model]))
    for layer in range(config.layers):
        name = f"decoder.layers.{layer}.cross_kv"
        y = g.op("Add", g.product(rows, f"{name}.weight"), g.weight(f"{name}.bias"))
        parts = g.op("Split", y, g.numbers(config.d_model, config.d_model), outputs=2, axis=-1)
        for kind, part in zip(("keys", "values"), parts, strict=True):
            g.output(g.heads(part, config.heads), f"{kind}{layer}", 4)
    return g


def decoder_graph(config: DecoderConfig, state: State) -> Graph:
    """Further tokens of a batch of texts.

    Takes ``x`` (batch, n, d_model), embedded and placed; ``cos`` and ``sin`` (n, rotary / 2) where places are turned;
    ``causal`` (n, m + n) and ``mask`` (rows, 1, 1, frames), which are added to scores; ``keys`` and ``values`` of each
    layer (batch, heads, m, d_head), and ``cross_keys`` and ``cross_values`` (rows, heads, frames, d_head), of which
    there may be one row for all; ``scored`` (1,): minus how many of the last tokens are scored. Gives ``logits``
    (batch, scored, vocabulary), ``attention`` (batch, n, frames) of the alignment heads, and keys and values.
    """
    g = Graph(state)
    d, size, heads = config.d_model, config.d_model // config.heads, config.heads
    x = g.input("x", [None, None, d])
    turns = _turns(g, config.rotary)
    causal, mask = g.input("causal", [None, None]), g.input("mask", [None, 1, 1, None])
    scored = g.input("scored", [1], np.int64)
    followed = []
    for layer in range(config.layers):
        name = f"decoder.layers.{layer}."

        def norm(x: str, which: str, name: str = name) -> str:
            return g.norm(x, g.weight(f"{name}{which}_norm.weight"), g.weight(f"{name}{which}_norm.bias"))

        parts = g.op("Split", g.linear(norm(x, "self"), f"{name}qkv"), g.numbers(d, d, d), outputs=3, axis=-1)
        q, k, v = (g.heads(part, heads) for part in parts)
        if turns is not None:
            q, k = (g.turned(each, *turns, config.rotary // 2, size) for each in (q, k))
        k, v = (
            g.op("Concat", g.input(f"{kind}{layer}", [None, heads, None, size]), new, axis=2)
            for kind, new in (("keys", k), ("values", v))
        )
        g.output(k, f"next_keys{layer}", 4)
        g.output(v, f"next_values{layer}", 4)
        x = g.op("Add", x, g.linear(g.joined(g.attended(q, k, v, size, causal)), f"{name}out"))
        q = g.heads(g.linear(norm(x, "cross"), f"{name}cross_q"), heads)
        k, v = (g.input(f"cross_{kind}{layer}", [None, heads, None, size]) for kind in ("keys", "values"))
        weights = g.attention(q, k, size, mask)
        following = [head for index, head in config.alignment_heads if index == layer]
        if following:
            mine = g.op("Gather", weights, g.numbers(*following), axis=1)
            followed.append(g.op("ReduceSum", mine, g.numbers(1), keepdims=0))
        x = g.op("Add", x, g.linear(g.joined(g.op("MatMul", weights, v)), f"{name}cross_out"))
        hidden = g.linear(norm(x, "ffn"), f"{name}ff1")
        if config.mlp == "swiglu":
            hidden, gate = g.op("Split", hidden, g.numbers(config.ffn, config.ffn), outputs=2, axis=-1)
            hidden = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), hidden)
        else:
            hidden = g.gelu(hidden)
        x = g.op("Add", x, g.linear(hidden, f"{name}ff2"))
    last = g.op("Slice", x, scored, g.numbers(np.iinfo(np.int64).max), g.numbers(1))
    last = g.norm(last, g.weight("decoder.norm.weight"), g.weight("decoder.norm.bias"))
    g.output(g.product(g.rows(last), TABLE), "logits", 3)
    if followed:
        total = followed[0] if len(followed) == 1 else g.op("Sum", *followed)
        count = g.constant("heads", lambda _: np.array(1 / len(config.alignment_heads), np.float32))
        g.output(g.op("Mul", total, count), "attention", 3)
    return g
