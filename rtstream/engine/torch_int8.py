"""Engines that compute with torch: int8 matrices packed for one of its kernels, or all in float32."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from rtstream.engine.base import Encoded, Step
from rtstream.errors import BundleError
from rtstream.nn.decoder import BatchState as TorchBatch
from rtstream.nn.decoder import DecoderState as TorchState
from rtstream.nn.model import SpeechModel
from rtstream.nn.quantized import choose_engine, float_model, packed_buffers, packed_model, quantize_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.bundle.files import State
    from rtstream.engine.base import F32, BatchState, DecoderState, EncoderState, Ids, SpeechEngine, TextEngine
    from rtstream.model.config import DecoderConfig, ModelConfig, TextModelConfig
    from rtstream.nn.decoder import Decoder
    from rtstream.nn.encoder import Encoder
    from rtstream.nn.text_model import TextModel


@overload
def open_engine(
    config: ModelConfig, state: State, kernel: str, *, int8: bool, threads: int | None = None
) -> SpeechEngine: ...
@overload
def open_engine(
    config: TextModelConfig, state: State, kernel: str, *, int8: bool, threads: int | None = None
) -> TextEngine: ...
def open_engine(
    config: ModelConfig | TextModelConfig, state: State, kernel: str, *, int8: bool, threads: int | None = None
) -> SpeechEngine | TextEngine:
    """The engine of tensors that are ``int8`` or float16.

    ``kernel``: ``auto`` (the int8 one that is best here), a torch quantized engine's name, or ``float``. ``threads``
    that compute, for the whole process. Raises BundleError where no such kernel works here.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    if kernel == "float":
        return _engine(float_model(config, tensors), kernel)
    try:
        chosen = choose_engine(kernel)
    except ValueError as error:
        raise BundleError(str(error)) from error
    return _engine(
        packed_model(config, tensors if int8 else quantize_state(tensors, config), chosen),
        chosen.name,
    )


def _engine(model: SpeechModel | TextModel, name: str) -> SpeechEngine | TextEngine:
    return TorchSpeechEngine(model, name) if isinstance(model, SpeechModel) else TorchTextEngine(model, name)


def speech_model(engine: SpeechEngine) -> SpeechModel:
    """The network of an engine of this module."""
    assert isinstance(engine, TorchSpeechEngine)
    return engine.model


def text_model(engine: TextEngine) -> TextModel:
    """The network of an engine of this module."""
    assert isinstance(engine, TorchTextEngine)
    return engine.model


class TorchEncoder:
    """An encoder as :class:`~rtstream.engine.base.SpeechEncoder`."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @torch.inference_mode()
    def initial_state(self) -> EncoderState:
        """The state at the start of a segment."""
        return self._encoder.initial_state()

    @torch.inference_mode()
    def step(
        self, features: F32, state: EncoderState, chunk: int, *, ahead: int = 0, last: bool = False
    ) -> tuple[Encoded, EncoderState]:
        """States of the chunks that further features complete, and the next state."""
        encoded, state = self._encoder.step(torch.from_numpy(features), state, chunk, ahead=ahead, last=last)
        return Encoded(encoded.settled.numpy(), encoded.open.numpy()), state

    @torch.inference_mode()
    def full(self, features: F32, *, length: int, wanted: int) -> F32:
        """The first ``wanted`` states of a segment, with full context."""
        # Whisper's encoder has learnt what padding is; the one that reads the wave takes it for no part of them.
        lengths = torch.tensor([length]) if self._encoder.config.front_end == "wave" else None
        states: F32 = self._encoder(torch.from_numpy(features)[None], lengths, wanted=wanted)[0].numpy()
        return states


class TorchDecoder:
    """A decoder as :class:`~rtstream.engine.base.SpeechDecoder`."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    @property
    def config(self) -> DecoderConfig:
        """Its sizes."""
        return self._decoder.config

    @torch.inference_mode()
    def initial_state(self, room: int = 0) -> DecoderState:
        """No tokens, no frames."""
        return self._decoder.initial_state(room)

    @torch.inference_mode()
    def cross_keys(self, states: F32, state: DecoderState) -> DecoderState:
        """The state with further encoder states to attend to."""
        assert isinstance(state, TorchState)
        return self._decoder.extend(torch.from_numpy(states), state)

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int], state: DecoderState, *, scored: int | None = None) -> Step:
        """Read further tokens."""
        assert isinstance(state, TorchState)
        logits, attention, state = self._decoder.step(torch.tensor(tokens), state, scored=scored)
        return Step(logits.numpy(), attention.numpy(), state)

    @torch.inference_mode()
    def decode_batch(self, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
        """Read further tokens of a batch."""
        return _read(self._decoder, tokens, state)


class TorchSpeechEngine:
    """A recogniser's network as :class:`~rtstream.engine.base.SpeechEngine`."""

    def __init__(self, model: SpeechModel, name: str = "float") -> None:
        self.model, self.name = model, name
        self.encoder, self.decoder = TorchEncoder(model.encoder), TorchDecoder(model.decoder)

    @cached_property
    def packed(self) -> Mapping[str, int]:
        """Bytes of each distinct packed matrix of the encoder."""
        return packed_buffers(self.model.encoder)

    @torch.inference_mode()
    def ctc(self, states: F32) -> F32:
        """CTC's log-probabilities."""
        log_probs: F32 = self.model.ctc(torch.from_numpy(states)).numpy()
        return log_probs

    @torch.inference_mode()
    def voice(self, states: F32) -> F32 | None:
        """What each state says of who speaks."""
        if self.model.voice is None:
            return None
        said: F32 = self.model.voice(torch.from_numpy(states)).numpy()
        return said


class TorchTextEngine:
    """A translation model's network as :class:`~rtstream.engine.base.TextEngine`."""

    def __init__(self, model: TextModel, name: str = "float") -> None:
        self.model, self.name = model, name

    @property
    def config(self) -> TextModelConfig:
        """Its sizes."""
        return self.model.config

    @torch.inference_mode()
    def encode(self, source: Ids, counts: Sequence[int]) -> BatchState:
        """The state after reading sources."""
        mask = torch.from_numpy(np.arange(source.shape[1]) < np.array(counts)[:, None])
        return self.model.decoder.begin(self.model.encode(torch.from_numpy(source), mask), mask)

    @torch.inference_mode()
    def decode_batch(self, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
        """Read further tokens of a batch."""
        return _read(self.model.decoder, tokens, state)


def _read(decoder: Decoder, tokens: Ids, state: BatchState) -> tuple[F32, BatchState]:
    assert isinstance(state, TorchBatch)
    logits, following = decoder.read(torch.from_numpy(tokens), state)
    return logits.numpy(), following
