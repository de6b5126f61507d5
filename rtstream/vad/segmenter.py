"""Cuts a stream into segments of speech."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.events import SAMPLE_RATE, SegmentAudio
from rtstream.vad.high_pass import HighPass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtstream.events import AudioBlock
    from rtstream.vad.gate import Gate

FIRST_PAUSE_DB, LAST_PAUSE_DB = 25.0, 6.0
"""How far below its segment's mean level a frame is a pause, from the begin to the end of the shrinking hang-over.

On 19 minutes of LibriSpeech without a break this leaves no cut inside a sound (level above -12 dB), where the gate's
verdicts alone leave 10 of 34.
"""


WITHIN_MS = 200
"""A pause that is shorter is within a sentence."""


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """When a segment opens and closes; all lengths in milliseconds, rounded up to frames of the gate.

    A segment opens once the last ``onset_window_ms`` hold ``min_speech_ms`` of speech, and begins ``pre_roll_ms``
    before the first of it. It closes after ``hangover_ms`` without speech, though not before ``min_segment_ms``. In the
    last ``soft_ms`` before ``max_segment_ms`` the silence or pause that closes it shrinks evenly to a single frame, so
    that a long segment ends at the longest pause it has left; at ``max_segment_ms`` it is cut whatever it holds.
    Raises ValueError for lengths that do not go together.
    """

    pre_roll_ms: int = 400
    onset_window_ms: int = 200
    min_speech_ms: int = 120
    hangover_ms: int = 700
    min_segment_ms: int = 1_000
    soft_ms: int = 8_000
    max_segment_ms: int = 30_000

    def __post_init__(self) -> None:
        """Check each length and those that depend on one another."""
        for name in ("onset_window_ms", "min_speech_ms", "hangover_ms", "max_segment_ms"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be positive, got {getattr(self, name)}"
                raise ValueError(msg)
        for name in ("pre_roll_ms", "min_segment_ms", "soft_ms"):
            if getattr(self, name) < 0:
                msg = f"{name} must not be negative, got {getattr(self, name)}"
                raise ValueError(msg)
        if self.min_speech_ms > self.onset_window_ms:
            msg = f"min_speech_ms ({self.min_speech_ms}) must fit into onset_window_ms ({self.onset_window_ms})"
            raise ValueError(msg)
        if self.soft_ms > self.max_segment_ms - self.min_segment_ms:
            msg = f"soft_ms ({self.soft_ms}) must fit between min_segment_ms and max_segment_ms"
            raise ValueError(msg)
        if self.max_segment_ms < 2 * (max(self.pre_roll_ms, self.hangover_ms) + self.onset_window_ms):
            msg = f"max_segment_ms ({self.max_segment_ms}) leaves no room for pre-roll, hang-over and onset"
            raise ValueError(msg)


class Segmenter:
    """Turns blocks of one stream into audio of numbered segments, as the audio comes.

    Segments do not overlap and their samples equal the source's at the same positions, however the stream is cut into
    blocks. The gate hears them without what lies below speech, such as the hum of the mains, which it would take for
    speech. Audio of an open segment is given by the very :meth:`push` that completes a frame of it. Memory: less than
    the pre-roll or hang-over and the onset window, besides one block.
    """

    def __init__(self, gate: Gate, config: SegmenterConfig | None = None) -> None:
        """Take over ``gate``, which no other stream may use. Raises ValueError if its frames are too long."""
        config = config or SegmenterConfig()
        self._gate = gate
        self._frame = gate.frame_samples
        self._high_pass = HighPass(self._frame)
        self._pre_roll = self._frames(config.pre_roll_ms)
        self._min_speech = self._frames(config.min_speech_ms)
        self._hangover = self._frames(config.hangover_ms)
        self._min_segment = self._frames(config.min_segment_ms)
        self._soft = self._frames(config.soft_ms)
        self._within = self._frames(WITHIN_MS)
        self._max_segment = config.max_segment_ms * SAMPLE_RATE // (1000 * self._frame)
        onset_window = self._frames(config.onset_window_ms)
        kept = max(self._pre_roll, self._hangover) + onset_window
        if kept >= self._max_segment:
            msg = f"the gate's frames ({self._frame} samples) are too long for segments of {config.max_segment_ms} ms"
            raise ValueError(msg)
        # While no segment is open: the last frames, from the last cut or loss at the earliest, and the newest verdicts.
        self._history: deque[NDArray[np.float32]] = deque(maxlen=kept)
        self._energies: deque[float] = deque(maxlen=kept)
        self._verdicts: deque[bool] = deque(maxlen=onset_window)
        self._resuming = False  # the last segment was cut before a whole hang-over
        self._segment = 0  # the open segment's number, or the next one's
        self._length = 0  # of the open segment, in frames; 0: none is open
        self._silence = 0  # frames since the last speech in it
        self._pause = 0  # its newest frames that are quiet, counted where the hang-over shrinks
        self._energy = 0.0  # sum of its squared samples, as the gate hears them
        self._ready: list[NDArray[np.float32]] = []  # its audio that was not given yet
        self._rest = np.zeros(0, np.float32)  # the begin of a frame
        self._position: int | None = None  # of the first sample of _rest in the source

    @property
    def buffered(self) -> int:
        """How many samples are held back, waiting for the rest of a frame or for speech."""
        return len(self._rest) + self._frame * len(self._history)

    @property
    def quiet(self) -> bool:
        """Whether no segment is open, and none of the newest frames might be the begin of one."""
        return not self._length and not any(self._verdicts)

    def push(self, block: AudioBlock) -> list[SegmentAudio]:
        """Take the next block and give what it adds to segments, in order.

        A gap before the block closes the open segment and begins anew behind it. Raises ValueError if the block begins
        before the end of the one before it.
        """
        given: list[SegmentAudio] = []
        if self._position is not None:
            expected = self._position + len(self._rest)
            if block.position < expected:
                msg = f"block at {block.position} overlaps the stream, which is at {expected}"
                raise ValueError(msg)
            if block.position > expected:
                given = self.finish()
        if self._position is None:
            self._position = block.position
        samples = np.concatenate((self._rest, block.samples))
        whole = len(samples) - len(samples) % self._frame
        for start in range(0, whole, self._frame):
            self._take(samples[start : start + self._frame], given)
        self._rest = samples[whole:].copy()
        if self._ready:
            self._give(given, last=False)
        return given

    def pause(self) -> list[SegmentAudio]:
        """Close the open segment, if any, with all audio that came: more may be long in coming.

        The stream goes on where it was. What may be the begin of the next segment is kept.
        """
        return self.finish() if self._length else []

    def finish(self) -> list[SegmentAudio]:
        """Close the open segment, if any, with all audio that came. A new stream may follow, its numbers go on."""
        given: list[SegmentAudio] = []
        if self._length:
            self._ready.append(self._rest)
            self._position = (self._position or 0) + len(self._rest)
            self._close(given)
        self._forget()
        self._resuming = False
        self._rest = np.zeros(0, np.float32)
        self._position = None
        self._gate.reset()
        self._high_pass.reset()
        return given

    def _take(self, frame: NDArray[np.float32], given: list[SegmentAudio]) -> None:
        """Judge one frame; close the open segment or open one."""
        heard = self._high_pass.push(frame)
        speech = self._gate.is_speech(heard)
        energy = float(np.dot(heard, heard))
        self._position = (self._position or 0) + self._frame
        if self._length:
            self._ready.append(frame)
            self._length += 1
            self._silence = 0 if speech else self._silence + 1
            if self._must_close(energy):
                within = self._silence < self._hangover and max(self._silence, self._pause) < self._within
                self._close(given, cut=within)
            return
        self._history.append(frame.copy())  # a view would keep the whole block
        self._energies.append(energy)
        self._verdicts.append(speech)
        if sum(self._verdicts) >= self._min_speech:
            self._open()

    def _must_close(self, energy: float) -> bool:
        """Tell whether the open segment ends behind its newest frame, which has so much ``energy``."""
        self._energy += energy
        left = self._max_segment - self._length
        if left >= self._soft:
            return left <= 0 or (self._length >= self._min_segment and self._silence >= self._hangover)
        # Gates bridge short pauses, and rightly so. Where a cut must come the level shows the pause that is left.
        share = left / self._soft
        quiet = 10 ** (-(LAST_PAUSE_DB + (FIRST_PAUSE_DB - LAST_PAUSE_DB) * share) / 10)
        self._pause = self._pause + 1 if energy * self._length <= quiet * self._energy else 0
        return left <= 0 or max(self._silence, self._pause) > (self._hangover - 1) * share

    def _open(self) -> None:
        first = len(self._history) - len(self._verdicts) + self._verdicts.index(True)
        # Speech that goes on after a cut follows without a hole, even if a pause is longer than the pre-roll.
        start = 0 if self._resuming and first < self._hangover else max(0, first - self._pre_roll)
        self._ready = list(self._history)[start:]
        self._length = len(self._ready)
        self._silence = 0
        self._pause = 0
        self._energy = sum(list(self._energies)[start:])
        self._forget()

    def _forget(self) -> None:
        self._history.clear()
        self._energies.clear()
        self._verdicts.clear()

    def _close(self, given: list[SegmentAudio], *, cut: bool = False) -> None:
        self._give(given, last=True, cut=cut)
        self._resuming = self._silence < self._hangover
        self._segment += 1
        self._length = 0

    def _give(self, given: list[SegmentAudio], *, last: bool, cut: bool = False) -> None:
        samples = np.concatenate(self._ready)
        self._ready = []
        silence = self._silence * self._frame
        position = (self._position or 0) - len(samples)
        given.append(SegmentAudio(self._segment, position, samples, last, silence, cut))

    def _frames(self, milliseconds: int) -> int:
        return -(-milliseconds * SAMPLE_RATE // (1000 * self._frame))
