"""Engines that compute with ONNX Runtime, without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rtstream.engine.base import Encoded, Step
from rtstream.engine.ort.front_end import MelFrontEnd, WaveFrontEnd
from rtstream.engine.ort.tensors import dense
from rtstream.model.positions import rotations, sinusoids
from rtstream.model.shapes import SCALE, TABLE, tensor_specs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from rtstream.bundle.files import State
    from rtstream.engine.base import F32, BatchState, DecoderState, EncoderState, Ids
    from rtstream.engine.ort.front_end import MelState, WaveState
    from rtstream.engine.ort.sessions import Parts
    from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig, TextModelConfig

NAME = "onnx"
HIDDEN = np.float32(-1e9)
"""Added to the score of what must not be attended to."""


def graphs() -> ModuleType:
    """What makes graphs: it takes onnx, which those who find all that they need in a cache do without."""
    from rtstream.engine.ort import networks  # noqa: PLC0415

    return networks


@dataclass(frozen=True, slots=True)
class _EncoderState:
    """As of ``nn.encoder``: the front end's, the open frames, the keys and values of those before, and their number."""

    front: MelState | WaveState
    open: F32
    keys: tuple[F32, ...]
    values: tuple[F32, ...]
    frames: int


class OnnxEncoder:
    """An encoder as :class:`~rtstream.engine.base.SpeechEncoder`."""

    def __init__(self, config: EncoderConfig, load: Callable[[], State], parts: Parts) -> None:
        self.config = config
        self._front = (MelFrontEnd if config.front_end == "mel" else WaveFrontEnd)(config, load, parts)
        self._session = parts.session("encoder", lambda: graphs().encoder_graph(config, load()))
        self._places = rotations(config.max_frames, config.rotary) if config.rotary else None
        self._added = None if config.rotary else sinusoids(config.max_frames, config.d_model)
        empty = np.zeros((1, config.heads, 0, config.d_model // config.heads), np.float32)
        self._nothing = (empty,) * config.layers

    def initial_state(self) -> EncoderState:
        """The state at the start of a segment."""
        nothing = np.zeros((0, self.config.d_model), np.float32)
        return _EncoderState(self._front.initial_state(), nothing, self._nothing, self._nothing, 0)

    def step(
        self, features: F32, state: EncoderState, chunk: int, *, ahead: int = 0, last: bool = False
    ) -> tuple[Encoded, EncoderState]:
        """States of the chunks that further features complete, and the next state."""
        # One front end's state is never given to the other.
        chunks, front = self._front.step(features, state.front, chunk)
        state = replace(state, front=front)
        settled, newest = [state.open[:0]], state.open[:0]
        for x in chunks:
            encoded, state = self._attend(x, state, ahead)
            settled.append(encoded.settled)
            newest = encoded.open
        if last:
            encoded, state = self._attend(self._front.finish(front), state, 0)  # type: ignore[arg-type]
            settled.append(encoded.settled)
            newest = encoded.open
        return Encoded(np.concatenate(settled), newest), state

    def full(self, features: F32, *, length: int, wanted: int) -> F32:
        """The first ``wanted`` states of a segment, with full context."""
        # Whisper's encoder has learnt what padding is; the one that reads the wave takes it for no part of them.
        x = self._front.full(features[:length] if self.config.front_end == "wave" else features)
        if not len(x):
            return x
        states: F32 = self._run(x, self.initial_state(), (0, 0), wanted, full=True)["states"][0]
        return states

    def _attend(self, new: F32, state: _EncoderState, ahead: int) -> tuple[Encoded, _EncoderState]:
        frames = np.concatenate([state.open, new])
        if not len(frames):
            return Encoded(frames, frames), state
        settled = max(len(frames) - ahead, 0)
        known = state.keys[0].shape[2] + settled
        kept = (max(known - self.config.left_context, 0), known)
        out = self._run(frames, state, kept, len(frames))
        keys, values = (
            tuple(out[f"next_{kind}{layer}"] for layer in range(self.config.layers)) for kind in ("keys", "values")
        )
        states = out["states"][0]
        following = _EncoderState(state.front, frames[settled:], keys, values, state.frames + settled)
        return Encoded(states[:settled], states[settled:]), following

    def _run(
        self, x: F32, state: _EncoderState, kept: tuple[int, int], wanted: int, *, full: bool = False
    ) -> dict[str, NDArray[Any]]:
        start, end = state.frames, state.frames + len(x)
        if end > self.config.max_frames:
            msg = f"{end} frames are more than the {self.config.max_frames} positions of the encoder: cut sooner"
            raise ValueError(msg)
        feeds: dict[str, NDArray[Any]] = {f"keys{layer}": each for layer, each in enumerate(state.keys)}
        feeds |= {f"values{layer}": each for layer, each in enumerate(state.values)}
        if self._places is not None:
            feeds["cos"], feeds["sin"] = self._places[:, start:end]
        if self._added is not None:
            x = x + self._added[start:end]
        if self.config.whole:
            feeds["full"] = np.array([full])
        feeds |= {"x": x[None], "begin": np.array(kept[:1]), "end": np.array(kept[1:]), "wanted": np.array([wanted])}
        return self._session.run(feeds)


@dataclass(frozen=True, slots=True)
class _DecoderState:
    """Keys and values of each layer, (1, heads, n, d_head), of tokens, and of frames, of which ``frames`` count.

    Lists of frames' are shared by states that extend one another, so that what was before is not held besides.
    """

    keys: tuple[F32, ...]
    values: tuple[F32, ...]
    cross_keys: list[F32]
    cross_values: list[F32]
    frames: int

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        return int(self.keys[0].shape[2])

    def rewound(self, tokens: int) -> _DecoderState:
        """The state after the first ``tokens`` tokens."""
        return replace(
            self,
            keys=tuple(each[:, :, :tokens] for each in self.keys),
            values=tuple(each[:, :, :tokens] for each in self.values),
        )

    def without(self, frames: int) -> _DecoderState:
        """The state before its newest ``frames`` frames."""
        return replace(self, frames=self.frames - frames)

    def batch(self) -> _BatchState:
        """The same as a batch of one row."""
        keys, values = (
            tuple(each[:, :, : self.frames] for each in parts) for parts in (self.cross_keys, self.cross_values)
        )
        mask = np.zeros((1, 1, 1, self.frames), np.float32)
        return _BatchState(self.keys, self.values, keys, values, mask)


@dataclass(frozen=True, slots=True)
class _BatchState:
    """The same of a batch; what is attended to may be there once, in one row, with a ``mask`` (rows, 1, 1, frames)."""

    keys: tuple[F32, ...]
    values: tuple[F32, ...]
    cross_keys: tuple[F32, ...]
    cross_values: tuple[F32, ...]
    mask: F32

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.keys[0])

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        return int(self.keys[0].shape[2])

    def select(self, rows: Sequence[int]) -> _BatchState:
        """The state of a batch made of these rows, which may repeat."""
        index = np.array(rows, np.int64)

        def take(parts: tuple[F32, ...]) -> tuple[F32, ...]:
            return tuple(each[index] for each in parts)

        chosen = replace(self, keys=take(self.keys), values=take(self.values))
        if len(self.mask) == 1:
            return chosen
        return replace(
            chosen, cross_keys=take(self.cross_keys), cross_values=take(self.cross_values), mask=self.mask[index]
        )


class OnnxDecoder:
    """A decoder as :class:`~rtstream.engine.base.SpeechDecoder`."""

    def __init__(
        self, config: DecoderConfig, load: Callable[[], State], parts: Parts, *, input_scale: float = 1.0
    ) -> None:
        self.config = config
        self._cross = parts.session("cross", lambda: graphs().cross_graph(config, load()))
        self._session = parts.session("decoder", lambda: graphs().decoder_graph(config, load()))
        self._table = parts.array("table", lambda: np.array(load()[TABLE]))
        self._scale = parts.array("scale", lambda: load()[TABLE + SCALE] * np.float32(input_scale))
        self._places = rotations(config.max_tokens, config.rotary) if config.rotary else None
        self._added = None if config.rotary else parts.array("positions", lambda: dense(load(), "decoder.positions"))
        empty = np.zeros((1, config.heads, 0, config.d_model // config.heads), np.float32)
        self._nothing = (empty,) * config.layers

    def initial_state(self, room: int = 0) -> DecoderState:
        """No tokens, no frames."""
        del room
        return _DecoderState(self._nothing, self._nothing, list(self._nothing), list(self._nothing), 0)

    def cross_keys(self, states: F32, state: DecoderState) -> DecoderState:
        """The state with further encoder states to attend to."""
        assert isinstance(state, _DecoderState)
        given = self._attended(states[None])
        if not state.frames:
            keys, values = map(list, given)
            return replace(state, cross_keys=keys, cross_values=values, frames=len(states))
        for held, new in zip((state.cross_keys, state.cross_values), given, strict=True):
            for layer, after in enumerate(new):
                held[layer] = np.concatenate([held[layer][:, :, : state.frames], after], axis=2)
        return replace(state, frames=state.frames + len(states))

    def begin(self, states: F32, mask: F32) -> BatchState:
        """No tokens, and states (batch, n, d_model) to attend to."""
        keys, values = self._attended(states)
        nothing = tuple(np.repeat(each, len(states), axis=0) for each in self._nothing)
        return _BatchState(nothing, nothing, keys, values, mask)

    def decode(self, tokens: Sequence[int], state: DecoderState, *, scored: int | None = None) -> Step:
        """Read further tokens."""
        assert isinstance(state, _DecoderState)
        batch = state.batch()
        out, following = self._read(np.array([tokens]), batch, len(tokens) if scored is None else scored)
        attention = out["attention"][0] if "attention" in out else np.zeros((len(tokens), state.frames), np.float32)
        return Step(out["logits"][0], attention, replace(state, keys=following.keys, values=following.values))

    def decode_batch(self, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
        """Read further tokens of a batch."""
        assert isinstance(state, _BatchState)
        out, following = self._read(tokens, state, 1)
        return out["logits"][:, -1], following

    def embed(self, tokens: Ids) -> F32:
        """Tokens (batch, n), placed from the beginning, (batch, n, d_model)."""
        return self._embedded(tokens, 0)

    def _embedded(self, tokens: Ids, start: int) -> F32:
        x: F32 = self._table[tokens].astype(np.float32) * self._scale[tokens][..., None]
        return x if self._added is None else x + self._added[start : start + tokens.shape[1]]

    def _attended(self, states: F32) -> tuple[tuple[F32, ...], tuple[F32, ...]]:
        out = self._cross.run({"x": states})
        keys, values = (
            tuple(out[f"{kind}{layer}"] for layer in range(self.config.layers)) for kind in ("keys", "values")
        )
        return keys, values

    def _read(self, tokens: Ids, state: _BatchState, scored: int) -> tuple[dict[str, NDArray[Any]], _BatchState]:
        before, n = state.tokens, tokens.shape[1]
        if before + n > self.config.max_tokens:
            msg = f"{before + n} tokens are more than the {self.config.max_tokens} of the decoder"
            raise ValueError(msg)
        hidden = np.triu(np.full((n, before + n), HIDDEN), before + 1).astype(np.float32)
        feeds: dict[str, NDArray[Any]] = {"x": self._embedded(tokens, before), "causal": hidden, "mask": state.mask}
        if self._places is not None:
            feeds["cos"], feeds["sin"] = self._places[:, before : before + n]
        for name in ("keys", "values", "cross_keys", "cross_values"):
            feeds |= {f"{name}{layer}": each for layer, each in enumerate(getattr(state, name))}
        out = self._session.run(feeds | {"scored": np.array([-scored])})
        keys, values = (
            tuple(out[f"next_{kind}{layer}"] for layer in range(self.config.layers)) for kind in ("keys", "values")
        )
        return out, replace(state, keys=keys, values=values)


class OnnxSpeechEngine:
    """A recogniser's network as :class:`~rtstream.engine.base.SpeechEngine`."""

    name = NAME

    def __init__(self, config: ModelConfig, load: Callable[[], State], parts: Parts) -> None:
        """``load`` gives the tensors, its matrices in int8; it is called where something has to be made."""
        specs, d = tensor_specs(config), config.encoder.d_model
        self.encoder = OnnxEncoder(config.encoder, load, parts)
        self.decoder = OnnxDecoder(config.decoder, load, parts)
        self._ctc = parts.session(
            "ctc", lambda: graphs().mlp_graph(load(), ("ctc.hidden", "ctc.output"), d, log_softmax=True)
        )
        self._voice = None
        if config.voice:
            self._voice = parts.session(
                "voice", lambda: graphs().mlp_graph(load(), ("voice.hidden", "voice.output"), d)
            )
        self.packed: Mapping[str, int] = {
            name: spec.size + 4 * spec.channels
            for name, spec in specs.items()
            if name.startswith("encoder.") and spec.quantized and not name.endswith(".a")
        }

    def ctc(self, states: F32) -> F32:
        """CTC's log-probabilities."""
        log_probs: F32 = self._ctc.run({"x": states[None]})["y"][0]
        return log_probs

    def voice(self, states: F32) -> F32 | None:
        """What each state says of who speaks."""
        if self._voice is None:
            return None
        said: F32 = self._voice.run({"x": states[None]})["y"][0]
        return said


class OnnxTextEngine:
    """A translation model's network as :class:`~rtstream.engine.base.TextEngine`."""

    name = NAME

    def __init__(self, config: TextModelConfig, load: Callable[[], State], parts: Parts) -> None:
        """``load`` as of a ``OnnxSpeechEngine``."""
        self.config = config
        self._decoder = OnnxDecoder(config.decoder, load, parts, input_scale=config.decoder.d_model**0.5)
        self._encoder = parts.session("encoder", lambda: graphs().text_encoder_graph(config.encoder, load()))

    def encode(self, source: Ids, counts: Sequence[int]) -> BatchState:
        """The state after reading sources."""
        n, most = source.shape[1], self.config.decoder.max_tokens
        if n > most:
            msg = f"{n} tokens are more than the {most} of the model"
            raise ValueError(msg)
        hidden = np.arange(n) >= np.array(counts)[:, None]
        mask = np.where(hidden, HIDDEN, np.float32(0.0))[:, None, None, :].astype(np.float32)
        states = self._encoder.run({"x": self._decoder.embed(source), "mask": mask})["states"]
        return self._decoder.begin(states, mask)

    def decode_batch(self, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
        """Read further tokens of a batch."""
        return self._decoder.decode_batch(tokens, state)
