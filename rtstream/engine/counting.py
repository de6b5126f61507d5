"""An engine that counts what is asked of another one: the same numbers on every machine, however busy it is.

Savings are shown in them, since CPU seconds of a machine that others use differ by a fifth from run to run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rtstream.engine.base import Step
from rtstream.model.multiply_adds import MultiplyAdds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rtstream.engine.base import F32, BatchState, DecoderState, Encoded, EncoderState, Ids, SpeechEngine
    from rtstream.engine.open import Bundle
    from rtstream.model.config import DecoderConfig, EncoderConfig


@dataclass(slots=True)
class Count:
    """``calls`` of an engine, the ``rows`` given to it (frames, or tokens of texts), and their multiply-adds."""

    calls: int = 0
    rows: int = 0
    multiply_adds: int = 0


@dataclass
class Counts:
    """What was asked of an engine, by stage and operation. ``stage`` gives the stage that is under way."""

    stage: Callable[[], str] = lambda: ""
    by: dict[tuple[str, str], Count] = field(default_factory=lambda: defaultdict(Count))

    def add(self, operation: str, rows: int, multiply_adds: int) -> None:
        """Count a call."""
        count = self.by[self.stage(), operation]
        count.calls += 1
        count.rows += rows
        count.multiply_adds += multiply_adds

    def table(self) -> dict[str, dict[str, dict[str, int]]]:
        """By stage and operation: calls, rows and multiply-adds."""
        out: dict[str, dict[str, dict[str, int]]] = {}
        for (stage, operation), count in sorted(self.by.items()):
            out.setdefault(stage, {})[operation] = {
                "calls": count.calls,
                "rows": count.rows,
                "multiply_adds": count.multiply_adds,
            }
        return out

    @property
    def multiply_adds(self) -> int:
        """Of all stages."""
        return sum(count.multiply_adds for count in self.by.values())


def counting(bundle: Bundle) -> tuple[Bundle, Counts]:
    """The bundle with its engine counted, and the counts."""
    counts = Counts()
    return replace(bundle, engine=CountingEngine(bundle, counts)), counts


@dataclass(frozen=True, slots=True)
class _EncoderState:
    inner: EncoderState
    open: int = 0
    keys: int = 0


class _Encoder:
    def __init__(self, inner: Any, config: EncoderConfig, cost: MultiplyAdds, counts: Counts) -> None:  # noqa: ANN401
        self._inner, self._config, self._cost, self._counts = inner, config, cost, counts

    def initial_state(self) -> EncoderState:
        return _EncoderState(self._inner.initial_state())

    def step(
        self, features: F32, state: EncoderState, chunk: int, *, ahead: int = 0, last: bool = False
    ) -> tuple[Encoded, EncoderState]:
        encoded, inner = self._inner.step(features, state.inner, chunk, ahead=ahead, last=last)
        new, opened, keys = len(encoded.settled) + len(encoded.open) - state.open, state.open, state.keys
        while new > 0:
            came = min(new, chunk)
            frames = opened + came
            self._counts.add("chunk", frames, self._cost.front(came) + self._cost.chunk(frames, keys))
            new -= came
            opened = min(ahead, frames)
            keys = min(keys + frames - opened, self._config.left_context)
        return encoded, _EncoderState(inner, len(encoded.open), keys)

    def full(self, features: F32, *, length: int, wanted: int) -> F32:
        rows = length if self._config.front_end == "wave" else len(features)
        frames = self._config.frames(rows)
        self._counts.add("full context", frames, self._cost.front(frames) + self._cost.full(frames))
        states: F32 = self._inner.full(features, length=length, wanted=wanted)
        return states


@dataclass(frozen=True, slots=True)
class _State:
    inner: DecoderState

    @property
    def tokens(self) -> int:
        return self.inner.tokens

    @property
    def frames(self) -> int:
        return self.inner.frames

    def rewound(self, tokens: int) -> _State:
        return _State(self.inner.rewound(tokens))

    def without(self, frames: int) -> _State:
        return _State(self.inner.without(frames))

    def batch(self) -> _Batch:
        return _Batch(self.inner.batch(), self.tokens, self.frames)


@dataclass(frozen=True, slots=True)
class _Batch:
    inner: BatchState
    tokens: int
    frames: int

    @property
    def rows(self) -> int:
        return self.inner.rows

    def select(self, rows: Sequence[int]) -> _Batch:
        return _Batch(self.inner.select(rows), self.tokens, self.frames)


class _Decoder:
    def __init__(self, inner: Any, cost: MultiplyAdds, counts: Counts) -> None:  # noqa: ANN401
        self._inner, self._cost, self._counts = inner, cost, counts

    @property
    def config(self) -> DecoderConfig:
        config: DecoderConfig = self._inner.config
        return config

    def initial_state(self, room: int = 0) -> DecoderState:
        return _State(self._inner.initial_state(room))

    def cross_keys(self, states: F32, state: DecoderState) -> DecoderState:
        assert isinstance(state, _State)
        self._counts.add("cross keys", len(states), self._cost.cross_keys(len(states)))
        return _State(self._inner.cross_keys(states, state.inner))

    def decode(self, tokens: Sequence[int], state: DecoderState, *, scored: int | None = None) -> Step:
        assert isinstance(state, _State)
        n = len(tokens)
        cost = self._cost.decode(n, state.tokens, state.frames, n if scored is None else min(scored, n))
        self._counts.add("tokens", n, cost)
        logits, attention, inner = self._inner.decode(tokens, state.inner, scored=scored)
        return Step(logits, attention, _State(inner))

    def decode_batch(self, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
        assert isinstance(state, _Batch)
        rows, n = tokens.shape
        self._counts.add("beam tokens", rows * n, self._cost.decode(n, state.tokens, state.frames, 1, rows))
        logits, inner = self._inner.decode_batch(tokens, state.inner)
        return logits, _Batch(inner, state.tokens + n, state.frames)


class CountingEngine:
    """A recogniser's network, as :class:`~rtstream.engine.base.SpeechEngine`, that counts."""

    def __init__(self, bundle: Bundle, counts: Counts) -> None:
        self._inner: SpeechEngine = bundle.engine
        self._cost = MultiplyAdds(bundle.config)
        self._counts = counts
        self.encoder = _Encoder(self._inner.encoder, bundle.config.encoder, self._cost, counts)
        self.decoder = _Decoder(self._inner.decoder, self._cost, counts)

    @property
    def name(self) -> str:
        """What computes."""
        return self._inner.name

    @property
    def packed(self) -> Mapping[str, int]:
        """Bytes of each distinct packed matrix of the encoder."""
        return self._inner.packed

    def ctc(self, states: F32) -> F32:
        """CTC's log-probabilities."""
        self._counts.add("ctc", len(states), self._cost.ctc(len(states)))
        return self._inner.ctc(states)

    def voice(self, states: F32) -> F32 | None:
        """What each state says of who speaks."""
        said = self._inner.voice(states)
        if said is not None:
            self._counts.add("voice", len(states), self._cost.voice(len(states)))
        return said
