"""Recognition in a program's own process: ``rtstream.load("base").transcribe("talk.flac").text``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtstream.audio.full_scale import FullScale
from rtstream.audio.open import open_audio
from rtstream.audio.resample import Resampler
from rtstream.bundle.default import model_path
from rtstream.engine.open import load_bundle
from rtstream.errors import AudioError
from rtstream.events import AudioBlock
from rtstream.publish.seconds import Final, RecognizedEvent, Translation, read_event
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer
from rtstream.vad.open_gates import open_gates
from rtstream.vad.segmenter import Segmenter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from rtstream import events
    from rtstream.recognizer.recognizer import RecognizerConfig
    from rtstream.vad.gate import Gate, GateName

BLOCK_SECONDS = 0.5
INTEGER_SCALE = np.float32(1 << 15)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording: its ``finals``, one for each stretch of speech, times in seconds.

    ``translations``, if asked for: of those that are in another language than English, into it.
    """

    finals: tuple[Final, ...]
    translations: tuple[Translation, ...] = ()

    @property
    def text(self) -> str:
        """All of it on one line; empty where nothing was said."""
        return " ".join(final.text for final in self.finals if final.text)


class Transcriber:
    """A model that is ready. Any number of recordings and streams may follow one another, or run in other threads.

    Made by :func:`rtstream.load`.
    """

    def __init__(self, recognizer: Recognizer, new_gate: Callable[[], Gate]) -> None:
        self._recognizer = recognizer
        self._finals_alone = Recognizer(recognizer.bundle, replace(recognizer.config, partials="none"))
        self._new_gate = new_gate

    def transcribe(self, path: str | os.PathLike[str]) -> Transcript:
        """What is said in a recording of any format, rate and length that ``rtstream replay`` reads.

        Raises AudioError for what cannot be read; its ``finals`` are those of all audio before that.
        """
        finals: list[Final] = []
        translations: list[Translation] = []
        try:
            with open_audio(path, block_seconds=BLOCK_SECONDS) as audio:
                for event in map(read_event, self._events(self._finals_alone, audio)):
                    if isinstance(event, Final):
                        finals.append(event)
                    elif isinstance(event, Translation):
                        translations.append(event)
        except AudioError as error:
            error.finals = finals
            raise
        return Transcript(tuple(finals), tuple(translations))

    def stream(
        self, chunks: Iterable[bytes | NDArray[np.float32]], *, rate: int = 16_000, channels: int = 1
    ) -> Iterator[RecognizedEvent]:
        """What is said in audio that comes piece by piece: Partials while it is said, a Final when there is a pause.

        ``chunks`` may have any length. Each is either bytes, 16-bit little-endian samples of ``channels`` that take
        turns, or an array of floats, full scale 1, of shape (n,) or (n, channels). ``rate`` is in Hz. The last Final
        comes when ``chunks`` end; what they raise is raised behind it. Raises AudioError, behind the last Final too,
        for samples that are not finite or bytes that end within a frame, and ValueError for an impossible rate.
        """
        for event in self._events(self._recognizer, _blocks(chunks, rate, channels)):
            yield read_event(event)

    def _events(self, recognizer: Recognizer, blocks: Iterable[AudioBlock]) -> Iterator[events.Event]:
        """All that is recognised in ``blocks``; what these raise is raised behind it."""
        return Pipeline(recognizer, Segmenter(self._new_gate())).run(blocks)


def load_transcriber(
    model: str | os.PathLike[str] | None, config: RecognizerConfig, *, vad: GateName, threads: int
) -> Transcriber:
    """What :func:`rtstream.load` gives. Raises as it does."""
    return Transcriber(
        Recognizer(load_bundle(model_path(None if model is None else Path(model)), threads=threads), config),
        open_gates(vad),
    )


def _blocks(chunks: Iterable[bytes | NDArray[np.float32]], rate: int, channels: int) -> Iterator[AudioBlock]:
    position = 0
    for samples in _Samples(rate, channels).read(chunks):
        yield AudioBlock(samples, position)
        position += len(samples)


class _Samples:
    """Chunks of a stream as 16 kHz mono."""

    def __init__(self, rate: int, channels: int) -> None:
        self._channels = channels
        self._resampler = Resampler(rate)
        self._rate = rate
        self._cut = b""  # the beginning of a frame

    def read(self, chunks: Iterable[bytes | NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        scale: FullScale | None = None
        for chunk in chunks:
            frames = self._floats(chunk) if isinstance(chunk, np.ndarray) else self._integers(chunk)
            if scale is None:
                scale = FullScale(self._rate, self._channels, decide=isinstance(chunk, np.ndarray))
            yield self._resampler.push(scale.push(frames))
            if scale.fault is not None:
                raise AudioError(f"the audio: {scale.fault}")
        if scale is not None:
            yield self._resampler.push(scale.finish())
        yield self._resampler.finish()
        if self._cut:
            raise AudioError(f"the audio ends in the middle of a frame: {len(self._cut)} bytes are left over")

    def _integers(self, data: bytes) -> NDArray[np.float32]:
        data = self._cut + bytes(data)
        whole = len(data) - len(data) % (2 * self._channels)
        self._cut = data[whole:]
        integers = np.frombuffer(data[:whole], "<i2").reshape(-1, self._channels)
        return integers.astype(np.float32) / INTEGER_SCALE

    def _floats(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if samples.dtype.kind != "f" or samples.size % self._channels:
            raise AudioError(
                f"the audio: an array of {samples.dtype}, shape {samples.shape}, is not possible; give float32 of "
                f"shape (n, {self._channels}), or bytes of 16-bit samples"
            )
        return np.asarray(samples, np.float32).reshape(-1, self._channels)
