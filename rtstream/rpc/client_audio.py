"""The audio that a client sends, as 16 kHz mono samples: its configuration checked, its bytes decoded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.audio import riff
from rtstream.audio.full_scale import FullScale
from rtstream.audio.live import ByteQueue, open_live
from rtstream.audio.open import open_bytes
from rtstream.audio.parts import MAX_CHANNELS
from rtstream.audio.resample import MAX_RATE, MIN_RATE, Resampler
from rtstream.constants import CHUNKS_MS
from rtstream.errors import AudioError, ConfigError
from rtstream.events import SAMPLE_RATE
from rtstream.languages import read_choice
from rtstream.recognizer.phrases import parse_phrases
from rtstream.rpc.file_decoder import FileDecoder
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from numpy.typing import NDArray

    from rtstream.audio.live import Container

SILENCE_MS = (100, 5000)
SLICE_SAMPLES = 1 << 17
"""Samples of all channels decoded at a time, one second at most: a large message must not hold up the event loop."""

_FILES: Mapping[pb.AudioEncoding, Container] = {
    pb.AUDIO_ENCODING_WAV: "wav",
    pb.AUDIO_ENCODING_OGG: "ogg",
    pb.AUDIO_ENCODING_FLAC: "flac",
}
_WIDTHS = {pb.AUDIO_ENCODING_S16LE: 2, pb.AUDIO_ENCODING_F32LE: 4}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What a client's bytes are; ``width``: bytes of a sample, 2 for integers, 4 for floats."""

    rate: int
    channels: int
    width: int


def read_settings(config: pb.RecognitionConfig, *, partials: bool = True) -> StreamSettings:
    """What is wanted of a stream. Raises RequestFailedError."""
    chunk_ms = None
    if config.HasField("chunk"):
        nanoseconds = config.chunk.seconds * 10**9 + config.chunk.nanos
        chunk_ms, rest = divmod(nanoseconds, 10**6)
        if rest or chunk_ms not in CHUNKS_MS:
            raise invalid("config.chunk", f"{nanoseconds / 1e9:g} s is not possible; choose 0.32, 0.64 or 1.28 s")
    phrases = tuple(config.phrases)
    try:
        parse_phrases(phrases)
    except ConfigError as error:
        raise invalid("config.phrases", str(error)) from None
    try:
        languages = read_choice(config.languages) if config.languages else None
    except ValueError as error:
        raise invalid("config.languages", str(error)) from None
    low, high = SILENCE_MS
    if config.silence_ms and not low <= config.silence_ms <= high:
        raise invalid("config.silence_ms", f"{config.silence_ms} ms is not possible; it must be {low} to {high}")
    return StreamSettings(
        partials=partials and not config.no_partials,
        words=config.words,
        chunk_ms=chunk_ms,
        phrases=phrases,
        silence_ms=config.silence_ms or None,
        speech=config.speech_events,
        languages=languages,
        translate=config.translate,
    )


def read_format(config: pb.RecognitionConfig) -> AudioFormat:
    """How a stream is encoded, with the defaults. Raises RequestFailedError."""
    encoding = config.encoding or pb.AUDIO_ENCODING_S16LE
    if encoding not in _WIDTHS:
        raise invalid("config.encoding", f"{encoding} is not possible here; choose S16LE, F32LE, WAV, OGG or FLAC")
    form = AudioFormat(config.sample_rate or SAMPLE_RATE, config.channels or 1, _WIDTHS[encoding])
    _check(form.rate, form.channels)
    return form


def open_decoder(config: pb.RecognitionConfig) -> SamplesDecoder | FileDecoder:
    """What decodes a stream. Raises RequestFailedError for a format that cannot be."""
    if kind := _FILES.get(config.encoding):
        return FileDecoder(kind)
    return SamplesDecoder(Decoder(read_format(config)))


class SamplesDecoder:
    """Chunks of plain samples, cut anywhere, as they come. Used as a FileDecoder is."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    async def push(self, data: bytes) -> AsyncIterator[NDArray[np.float32]]:
        """The samples that a chunk brings, in pieces of about a second at most."""
        for samples in self._decoder.push(data):
            yield samples

    async def finish(self) -> AsyncIterator[NDArray[np.float32]]:
        """The last samples of the stream."""
        yield self._decoder.rest()
        self._decoder.check_end()

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class Decoder:
    """Chunks of bytes, cut anywhere, to samples. Raises RequestFailedError for what is no audio.

    What came before that is given: by :meth:`push` until it raises, and by :meth:`rest`.
    """

    def __init__(self, form: AudioFormat) -> None:
        self.frames = 0
        self._form = form
        self._resampler = Resampler(form.rate)
        self._full_scale = FullScale(form.rate, form.channels, decide=form.width == 4)
        self._cut = b""  # the beginning of a frame

    def push(self, data: bytes) -> Iterator[NDArray[np.float32]]:
        """The samples that a chunk brings, in pieces of about a second at most."""
        form = self._form
        size = form.channels * form.width
        data = self._cut + data
        whole = len(data) - len(data) % size
        self._cut = data[whole:]
        step = size * max(1, min(form.rate, SLICE_SAMPLES // form.channels))
        for begin in range(0, whole, step):
            raw = np.frombuffer(data[begin : min(begin + step, whole)], "<i2" if form.width == 2 else "<f4")
            samples = raw.astype(np.float32).reshape(-1, form.channels)
            if form.width == 2:
                samples /= np.float32(1 << 15)
            self.frames += len(samples)
            yield self._resampler.push(self._full_scale.push(samples))
            if self._full_scale.fault is not None:
                raise invalid("audio", self._full_scale.fault)

    def rest(self) -> NDArray[np.float32]:
        """The last samples of the stream; :meth:`check_end` tells whether they are all."""
        return np.concatenate((self._resampler.push(self._full_scale.finish()), self._resampler.finish()))

    def check_end(self) -> None:
        """See that the stream has not ended within a frame, or with what is no audio."""
        if self._full_scale.fault is not None:
            raise invalid("audio", self._full_scale.fault)
        if self._cut:
            raise invalid("audio", f"it ends in the middle of a frame: {len(self._cut)} bytes are left over")


def decode(config: pb.RecognitionConfig, audio: bytes, longest_seconds: float) -> Iterator[NDArray[np.float32]]:
    """The samples of a whole recording, in pieces of a second.

    Raises RequestFailedError, behind the last good sample; a recording longer than ``longest_seconds`` is refused.
    """
    if kind := _FILES.get(config.encoding):
        return _file_samples(kind, audio, longest_seconds)
    form = read_format(config)
    _check_length(len(audio) / (form.channels * form.width * form.rate), longest_seconds)
    return _samples(Decoder(form), audio)


def _samples(decoder: Decoder, audio: bytes) -> Iterator[NDArray[np.float32]]:
    with suppress(RequestFailedError):  # raised again at the end
        yield from decoder.push(audio)
    yield decoder.rest()
    decoder.check_end()


def _file_samples(kind: Container, audio: bytes, longest_seconds: float) -> Iterator[NDArray[np.float32]]:
    try:
        if kind == "wav" and riff.is_wav(audio[:12]):  # its header says how long it is
            recording = open_bytes("audio", audio, block_seconds=1.0)
        else:
            queue = ByteQueue()
            queue.put(audio)
            queue.end()
            recording = open_live("audio", kind, queue, block_seconds=1.0)
        with recording:
            _check_length(recording.duration or 0.0, longest_seconds)
            for block in recording:
                _check_length((block.position + len(block.samples)) / SAMPLE_RATE, longest_seconds)
                yield block.samples
    except AudioError as error:
        raise invalid("audio", str(error).removeprefix("audio: ")) from None


def _check_length(lasts: float, longest_seconds: float) -> None:
    if lasts > longest_seconds:
        raise RequestFailedError(
            "AUDIO_TOO_LONG",
            f"the recording lasts {lasts:.0f} s, {longest_seconds:.0f} are allowed; send it through Recognize",
        )


def _check(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise invalid("config.sample_rate", f"{rate} Hz is not possible; it must be {MIN_RATE} to {MAX_RATE}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise invalid("config.channels", f"{channels} is not possible; it must be 1 to {MAX_CHANNELS}")
