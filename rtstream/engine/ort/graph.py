"""Graphs of ONNX, written node by node: the few operations that the models are made of.

Matrices are int8 per output channel. Activations are quantized as they come, by ONNX Runtime with one scale for all
rows; so each row is first brought to one size, as Whisper's encoder has frames whose activations are a hundred times
those of others. An initializer is one object however many nodes use it, and is packed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.engine.ort import messages
from rtstream.engine.ort.messages import MICROSOFT
from rtstream.engine.ort.tensors import EPSILON, LEAST, dense
from rtstream.model.shapes import SCALE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rtstream.bundle.files import State

MAPPED = 4096
"""Bytes from which on a constant is a file of its own."""


class Graph:
    """A graph in the making over the tensors of a model; a value is named by a string."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._nodes: list[Any] = []
        self._initializers: dict[str, Callable[[State], NDArray[Any]]] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | None], kind: type = np.float32) -> str:
        """A value that is given with each call; None for a length that may be any."""
        self._inputs.append(messages.value(name, kind, shape))
        return name

    def output(self, value: str, name: str, rank: int) -> None:
        """Give a value under a name."""
        self._nodes.append(messages.node("Identity", [value], [name]))
        self._outputs.append(messages.value(name, np.float32, [None] * rank))

    def model(self) -> Any:  # noqa: ANN401 - a message
        """The whole of it."""
        model = self._bare()
        model.graph.initializer.extend(messages.tensor(name, array) for name, array in self._constants())
        return model

    def save(self, folder: Path) -> Path:
        """Write it into an empty folder, its larger constants as files that who opens it maps; gives the graph's file.

        One of them is in memory at a time.
        """
        model = self._bare()
        for number, (name, array) in enumerate(self._constants()):
            if array.nbytes < MAPPED:
                model.graph.initializer.append(messages.tensor(name, array))
                continue
            array.tofile(folder / f"{number}.bin")
            model.graph.initializer.append(messages.mapped(name, array, f"{number}.bin"))
        path = folder / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    def _bare(self) -> Any:  # noqa: ANN401 - a message
        """It without its constants."""
        graph = messages.make("Graph", node=self._nodes, name="rtstream", input=self._inputs, output=self._outputs)
        return messages.model(graph)

    def _constants(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, make in self._initializers.items():
            yield name, np.ascontiguousarray(make(self.state))

    def constant(self, name: str, make: Callable[[State], NDArray[Any]]) -> str:
        """A value that is always the same, made of the tensors as the graph is written; a name stands for one array."""
        self._initializers.setdefault(name, make)
        return name

    def numbers(self, *numbers: int) -> str:
        """Whole numbers in a row."""
        return self.constant(f"={numbers}", lambda _: np.array(numbers, np.int64))

    def weight(self, name: str) -> str:
        """A tensor of the model that is computed with in float32."""
        return self.constant(name, lambda state: dense(state, name))

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:  # noqa: ANN401 - one name, or a tuple of them
        """What an operation makes of its inputs: one value's name, or several."""
        names = [self._new() for _ in range(outputs)]
        self._nodes.append(messages.node(kind, inputs, names, domain, **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def either(self, condition: str, first: Callable[[], Sequence[str]], second: Callable[[], Sequence[str]]) -> Any:  # noqa: ANN401 - as above
        """What ``first`` makes where a condition (1,) holds, else what ``second`` does, which then is not computed."""
        branches = [self._branch(make) for make in (first, second)]
        outputs = len(branches[0].output)
        return self.op("If", condition, outputs=outputs, then_branch=branches[0], else_branch=branches[1])

    def _branch(self, make: Callable[[], Sequence[str]], given: Sequence[str] = ()) -> Any:  # noqa: ANN401 - a message
        before, self._nodes = self._nodes, []
        made = make()
        inputs, outputs = ([messages.value(value, np.float32, None) for value in values] for values in (given, made))
        branch = messages.make("Graph", node=self._nodes, name=self._new(), input=inputs, output=outputs)
        self._nodes = before
        return branch

    def _new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def rows(self, x: str) -> tuple[str, str]:
        """Rows brought to one size, and their sizes."""
        size = self.op("ReduceMax", self.op("Abs", x), self.numbers(-1))
        size = self.op("Max", size, self.constant("least", lambda _: np.array([LEAST], np.float32)))
        return self.op("Div", x, size), size

    def product(self, rows: tuple[str, str], name: str) -> str:
        """Rows times the transpose of an int8 matrix of the model."""
        packed = self.constant(name, lambda state: _columns(state[name]))
        scales = self.constant(name + SCALE, lambda state: state[name + SCALE])
        y = self.op("DynamicQuantizeMatMul", rows[0], packed, scales, "", "", domain=MICROSOFT)
        out: str = self.op("Mul", y, rows[1])
        return out

    def linear(self, x: str, name: str) -> str:
        """``x W^T + b`` with the int8 matrix and the bias of a layer."""
        out: str = self.op("Add", self.product(self.rows(x), f"{name}.weight"), self.weight(f"{name}.bias"))
        return out

    def norm(self, x: str, scale: str, bias: str) -> str:
        """Layer norm of the last axis."""
        out: str = self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)
        return out

    def gelu(self, x: str) -> str:
        """GELU, exact."""
        out: str = self.op("Gelu", x, domain=MICROSOFT)
        return out

    def heads(self, x: str, heads: int, *, keys: bool = False) -> str:
        """(batch, n, d) to (batch, heads, n, d_head), or (batch, heads, d_head, n) as keys are wanted."""
        split = self.op("Reshape", x, self.numbers(0, 0, heads, -1))
        out: str = self.op("Transpose", split, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])
        return out

    def joined(self, x: str) -> str:
        """(batch, heads, n, d_head) to (batch, n, d)."""
        out: str = self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 1, 3]), self.numbers(0, 0, -1))
        return out

    def turned(self, x: str, cos: str, sin: str, half: int, size: int) -> str:
        """Rotary position embedding of (batch, heads, n, size), of the first ``2 * half`` channels."""
        sizes = [half, half, size - 2 * half] if size > 2 * half else [half, half]
        a, b, *rest = self.op("Split", x, self.numbers(*sizes), outputs=len(sizes), axis=-1)
        left = self.op("Sub", self.op("Mul", a, cos), self.op("Mul", b, sin))
        right = self.op("Add", self.op("Mul", a, sin), self.op("Mul", b, cos))
        out: str = self.op("Concat", left, right, *rest, axis=-1)
        return out

    def attended(self, q: str, k: str, v: str, size: int, mask: str | None = None) -> str:
        """Values (..., m, size) by the weights of ``attention``."""
        out: str = self.op("MatMul", self.attention(q, k, size, mask), v)
        return out

    def attended_apart(self, q: str, k: str, v: str, size: int, heads: int) -> str:
        """The same of (1, heads, ...), one head after the other: the weights of one of them are there at a time."""
        mine = self._new(), self._new(), self._new()
        body = self._branch(lambda: [self.attended(*mine, size)], mine)
        apart = [self.op("Reshape", each, self.numbers(heads, 1, 1, -1, size)) for each in (q, k, v)]
        made = self.op("Scan", *apart, body=body, num_scan_inputs=len(apart))
        out: str = self.op("Reshape", made, self.numbers(1, heads, -1, size))
        return out

    def attention(self, q: str, k: str, size: int, mask: str | None = None) -> str:
        """Weights (..., n, m) of queries (..., n, size) on keys (..., m, size); ``mask`` is added to the scores."""
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Mul", scores, self.constant(f"scale{size}", lambda _: np.array(size**-0.5, np.float32)))
        if mask is not None:
            scores = self.op("Add", scores, mask)
        out: str = self.op("Softmax", scores, axis=-1)
        return out


def _columns(weight: NDArray[Any]) -> NDArray[Any]:
    """(..., inputs) to (inputs, outputs)."""
    return weight.reshape(-1, weight.shape[-1]).T
