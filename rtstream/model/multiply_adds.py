"""Multiply-adds of a recogniser's parts, from the shapes of its tensors: what a call takes, whatever computes it.

Of a matrix that is a tensor's size a row; of attention that of queries with keys and of weights with values. Norms,
activations, softmax, embedding and biases are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.model.shapes import TABLE, Kind, tensor_specs

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.model.config import ModelConfig
    from rtstream.model.shapes import Spec

MATRICES = (Kind.MATRIX, Kind.LOW_RANK)
OUTPUTS_A_FRAME = {"mel": {"conv1": 2, "conv2": 1}, "wave": {"conv1": 6, "conv2": 2, "conv3": 1}}
"""Of each convolution of a front end."""


class MultiplyAdds:
    """What the parts of one model take."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        specs = tensor_specs(config)

        def size(wanted: Callable[[str, Spec], bool]) -> int:
            return sum(spec.size for name, spec in specs.items() if wanted(name, spec))

        def private(prefix: str) -> int:
            return size(lambda name, spec: name.startswith(prefix) and (spec.kind in MATRICES or name.endswith(".d")))

        e, outputs = config.encoder, OUTPUTS_A_FRAME[config.encoder.front_end]
        front = sum(specs[f"encoder.front.{name}.weight"].size * count for name, count in outputs.items())
        shared = e.share * size(lambda name, spec: name.startswith("encoder.groups.") and spec.quantized)
        full = private("encoder.whole.") if e.whole else private("encoder.layers.")
        # Full context's private parts lie under those of the chunks, where it has any.
        chunks = private("encoder.layers.") + (full if e.whole_rank else 0)
        self._chunk_frame, self._full_frame, self._front_frame = shared + chunks, shared + full, front
        cross = size(lambda name, _: name.endswith(".cross_kv.weight"))
        self._cross_frame = cross
        self._token = size(lambda name, spec: name.startswith("decoder.layers.") and spec.quantized) - cross
        self._scored = specs[TABLE].size
        self._heads = {
            head: size(lambda name, spec, of=head: name.startswith(of) and spec.quantized)  # type: ignore[misc]
            for head in ("ctc.", "voice.")
        }

    def front(self, frames: int) -> int:
        """Encoder frames out of features."""
        return frames * self._front_frame

    def chunk(self, frames: int, before: int) -> int:
        """A chunk of encoder ``frames`` that attend to themselves and to as many ``before``."""
        return frames * self._chunk_frame + self._attention(frames, before + frames)

    def full(self, frames: int) -> int:
        """A segment with full context, without its front end."""
        return frames * self._full_frame + self._attention(frames, frames)

    def cross_keys(self, frames: int) -> int:
        """The decoder's keys and values of so many frames."""
        return frames * self._cross_frame

    def ctc(self, frames: int) -> int:
        """CTC's log-probabilities."""
        return frames * self._heads["ctc."]

    def voice(self, frames: int) -> int:
        """Who speaks."""
        return frames * self._heads["voice."]

    def decode(self, tokens: int, before: int, frames: int, scored: int, rows: int = 1) -> int:
        """Tokens read after ``before`` others, of each of ``rows`` texts, and the logits after ``scored`` of them."""
        d = self._config.decoder
        attention = 2 * d.layers * d.d_model * tokens * (before + tokens + frames)
        return rows * (tokens * self._token + scored * self._scored + attention)

    def _attention(self, queries: int, keys: int) -> int:
        e = self._config.encoder
        return 2 * e.layers * e.d_model * queries * keys
