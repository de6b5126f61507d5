"""From blocks of one stream to its events: gate, segments, recognition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from rtstream.events import SegmentAudio
from rtstream.recognizer.memory import return_freed_memory
from rtstream.recognizer.session import RecognizerSession
from rtstream.vad.segmenter import Segmenter
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from rtstream.events import AudioBlock, Event
    from rtstream.recognizer.recognizer import Recognizer
    from rtstream.recognizer.session import StageTimes


class Segments(Protocol):
    """What a pipeline needs of a :class:`~rtstream.vad.segmenter.Segmenter`."""

    @property
    def quiet(self) -> bool:
        """Whether nothing has been heard that belongs to a segment, or may."""
        ...

    def push(self, block: AudioBlock) -> list[SegmentAudio]:
        """Take the next block and give what it adds to segments, in order."""
        ...

    def pause(self) -> list[SegmentAudio]:
        """Close the open segment, if any; the stream goes on where it was."""
        ...

    def finish(self) -> list[SegmentAudio]:
        """Close the open segment, if any. Another stream may follow."""
        ...


class Pipeline:
    """One stream of audio being recognised; what replay, evaluation and the daemon run. Not shared between threads.

    The events depend on the audio alone, not on how it is cut into blocks. Memory does not grow with the stream.
    ``segmenter`` is taken over; by default it is webrtcvad's with its own settings. ``tell_audio`` gets the audio of
    segments before it is recognised.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        segmenter: Segments | None = None,
        tell_audio: Callable[[SegmentAudio], None] | None = None,
    ) -> None:
        self._segmenter: Segments = segmenter or Segmenter(WebRtcGate())
        self._session = RecognizerSession(recognizer)
        self._pieces = _Pieces(recognizer.chunk_samples, recognizer.bundle.config.encoder.look_ahead)
        self._tell_audio = tell_audio
        self._silence = 0  # of the audio that was given last

    @property
    def times(self) -> StageTimes:
        """CPU seconds by stage: ``vad`` (gate and segmenter), ``memory`` (its return), and those of the session."""
        return self._session.times

    @property
    def chunk_samples(self) -> int:
        """How much audio is recognised at a time."""
        return self._session.recognizer.chunk_samples

    @property
    def quiet(self) -> bool:
        """Whether nobody seems to speak: what comes next may come later and more of it at once."""
        return self._segmenter.quiet

    def run(self, blocks: Iterable[AudioBlock]) -> Iterator[Event]:
        """All events of a stream, as they come. What ``blocks`` raise is raised here, behind the last final.

        An event is given before the next block is asked for.
        """
        coming = iter(blocks)
        fault: Exception | None = None
        while True:
            try:
                block = next(coming, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it takes away nothing that was said before
                fault, block = error, None
            if block is None:
                break
            yield from self.push(block)
        yield from self.finish()
        if fault is not None:
            raise fault

    def change(self, recognizer: Recognizer) -> None:
        """Use other settings than those so far, but for the chunk length, from the next segment on; from any thread."""
        self._session.change(recognizer)

    def push(self, block: AudioBlock) -> list[Event]:
        """The events that the next block brings, in order.

        A gap before the block ends the open segment. Raises ValueError if the block begins before the end of the last.
        """
        with self.times.measure("vad"):
            given = self._segmenter.push(block)
        return self._recognize(given)

    def prepare(self) -> None:
        """Look for the open segment's final already, where speech may have ended; changes no event.

        For when nothing waits: what it takes is lost where speech goes on, and saved behind the segment's end else.
        """
        self._session.prepare(self._pieces.rest, self._silence)

    def pause(self) -> list[Event]:
        """The events that a pause in the delivery brings: the open segment's final. The stream goes on where it was."""
        return self._recognize(self._segmenter.pause())

    def finish(self) -> list[Event]:
        """The events that the end of the stream brings: the open segment's final. Another stream may follow."""
        return self._recognize(self._segmenter.finish())

    def _recognize(self, given: list[SegmentAudio]) -> list[Event]:
        if self._tell_audio is not None:
            for audio in given:
                self._tell_audio(audio)
        pieces = (piece for audio in given for piece in self._pieces.cut(audio))
        events = [event for piece in pieces for event in self._session.accept(piece)]
        if given:
            self._silence = given[-1].silence
        if any(audio.last for audio in given):
            with self.times.measure("memory"):
                return_freed_memory()
        return events


class _Pieces:
    """Cuts each segment where its chunks become complete, so that a chunk is one piece however the audio came."""

    def __init__(self, chunk: int, look_ahead: int) -> None:
        """``look_ahead``: samples behind a chunk that its last state needs."""
        self._chunk, self._first = chunk, chunk + look_ahead
        self._waiting: list[NDArray[np.float32]] = []
        self._length = 0  # of what is waiting
        self._wanted = self._first

    @property
    def rest(self) -> NDArray[np.float32]:
        """What waits for the rest of its chunk."""
        return np.concatenate(self._waiting) if self._waiting else np.zeros(0, np.float32)

    def cut(self, audio: SegmentAudio) -> Iterator[SegmentAudio]:
        """The pieces that ``audio`` completes; the segment's last one may have any length below a chunk's."""
        self._waiting.append(audio.samples)
        self._length += len(audio.samples)
        # What ends together with the segment belongs to its final: with it, no partial is wanted.
        while self._length > self._wanted or (self._length == self._wanted and not audio.last):
            yield self._give(audio, self._wanted, last=False)
            self._wanted = self._chunk
        if audio.last:
            yield self._give(audio, self._length, last=True)
            self._wanted = self._first

    def _give(self, audio: SegmentAudio, count: int, *, last: bool) -> SegmentAudio:
        waiting = self.rest
        position = audio.position + len(audio.samples) - self._length
        self._length -= count
        # A copy: a view would keep all of what a large block brought.
        self._waiting = [waiting[count:].copy()] if self._length else []
        silence, cut = (audio.silence, audio.cut) if last else (0, False)
        return SegmentAudio(audio.segment, position, waiting[:count], last, silence, cut)
