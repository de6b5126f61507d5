"""What computes a model, for those who use it: numpy arrays in, numpy arrays out, and states that nobody looks into.

States are never written to in place, but for the room that ``SpeechDecoder.cross_keys`` says. An engine may serve any
number of streams, from several threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.model.config import DecoderConfig, TextModelConfig

F32 = NDArray[np.float32]
Ids = NDArray[np.int64]
EncoderState = Any
"""Of an engine's own; what one gave is never given to another."""


class Encoded(NamedTuple):
    """States that a step brings, (n, d_model).

    ``settled`` follow those of earlier steps and are not changed again; ``open`` follow them, until the next step gives
    better ones for the same frames.
    """

    settled: F32
    open: F32


class Step(NamedTuple):
    """What the decoder makes of further tokens.

    ``logits`` (n, vocabulary) of the token after each, or after the last that were to be scored; ``attention``
    (n, frames): the mean cross-attention of the alignment heads, zero where there are none; ``state``: the next.
    """

    logits: F32
    attention: F32
    state: DecoderState


class DecoderState(Protocol):
    """What decoding one text carries from token to token: tokens read, and frames to attend to."""

    @property
    def tokens(self) -> int:
        """Number of tokens read so far."""
        ...

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        ...

    def rewound(self, tokens: int) -> DecoderState:
        """The state after the first ``tokens`` tokens, with all frames that have come since."""
        ...

    def without(self, frames: int) -> DecoderState:
        """The state before its newest ``frames`` frames."""
        ...

    def batch(self) -> BatchState:
        """The same as a batch of one row, from which hypotheses can be selected."""
        ...


class BatchState(Protocol):
    """The same of a batch of texts: several hypotheses of one, or one hypothesis each of several."""

    @property
    def rows(self) -> int:
        """Number of texts."""
        ...

    def select(self, rows: Sequence[int]) -> BatchState:
        """The state of a batch made of these rows, which may repeat: hypotheses that go on."""
        ...


class BatchDecoder(Protocol):
    """Reads tokens of a batch."""

    def decode_batch(self, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
        """Read (batch, n) further tokens; logits (batch, vocabulary) after the last, and the next state.

        Raises ValueError for more tokens than there are positions.
        """
        ...


class SpeechDecoder(BatchDecoder, Protocol):
    """The attention decoder of a recogniser."""

    @property
    def config(self) -> DecoderConfig:
        """Its sizes."""
        ...

    def initial_state(self, room: int = 0) -> DecoderState:
        """No tokens, no frames; ``room`` for so many frames, which ``cross_keys`` then need not copy."""
        ...

    def cross_keys(self, states: F32, state: DecoderState) -> DecoderState:
        """The state with (n, d_model) further encoder states to attend to.

        They may be written into the room that ``state`` has left: what extended the same state before is void.
        """
        ...

    def decode(self, tokens: Sequence[int], state: DecoderState, *, scored: int | None = None) -> Step:
        """Read further tokens; logits after the last ``scored`` of them alone, by default after each.

        Raises ValueError for more tokens than there are positions.
        """
        ...


class SpeechEncoder(Protocol):
    """The encoder of a recogniser, in chunks and with full context."""

    def initial_state(self) -> EncoderState:
        """The state at the start of a segment."""
        ...

    def step(
        self, features: F32, state: EncoderState, chunk: int, *, ahead: int = 0, last: bool = False
    ) -> tuple[Encoded, EncoderState]:
        """States of the chunks, of ``chunk`` frames, that further features complete, and the next state.

        ``last`` ends the segment: what is left makes a shorter chunk. The newest ``ahead`` frames stay open.
        """
        ...

    def full(self, features: F32, *, length: int, wanted: int) -> F32:
        """The first ``wanted`` states (wanted, d_model) of a segment, with full context.

        ``features`` may be padded; ``length`` of them are the segment's own, which an encoder of the wave takes for all
        there is, and Whisper's does not ask for. Raises ValueError for more frames than there are positions.
        """
        ...


class SpeechEngine(Protocol):
    """A recogniser's network."""

    @property
    def name(self) -> str:
        """What computes: "float", or a name of int8 kernels."""
        ...

    @property
    def encoder(self) -> SpeechEncoder:
        """Features to states."""
        ...

    @property
    def decoder(self) -> SpeechDecoder:
        """States and tokens to the next token."""
        ...

    @property
    def packed(self) -> Mapping[str, int]:
        """Bytes of each distinct packed matrix of the encoder; a shared one is there once."""
        ...

    def ctc(self, states: F32) -> F32:
        """CTC's log-probabilities (n, 1 + letters) of states (n, d_model)."""
        ...

    def voice(self, states: F32) -> F32 | None:
        """What each state says of who speaks, (n, 4): its weight, three judgements; None of a model that cannot say."""
        ...


class TextEngine(BatchDecoder, Protocol):
    """A translation model's network."""

    @property
    def name(self) -> str:
        """What computes, as of a ``SpeechEngine``."""
        ...

    @property
    def config(self) -> TextModelConfig:
        """Its sizes."""
        ...

    def encode(self, source: Ids, counts: Sequence[int]) -> BatchState:
        """The state after reading (batch, n) ``source`` ids, of which the first ``counts`` of each row are its own."""
        ...
