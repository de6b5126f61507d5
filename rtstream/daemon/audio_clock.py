"""When audio came in: the time of day of each position of a stream."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rtstream.events import (
    SAMPLE_RATE,
    AudioLost,
    DeviceState,
    Fault,
    Final,
    Partial,
    ServiceEvent,
    Speech,
    Translation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED_SECONDS = 120.0
"""Of audio: more than the longest segment, and what is being recognised of it, take."""
CREEP = 0.002
"""Seconds per second that a source may be slower than the clock; sound cards are within a tenth of it."""
LATE_SECONDS = 1.0
"""Audio that is later than this was not delayed on its way, but paused."""
SET_SECONDS = 0.02
"""By how much the time of day moves against the steady clock when somebody sets it."""
STEP_SECONDS = 0.005
"""Differences that are worth remembering."""


AnyEvent = TypeVar("AnyEvent", bound=ServiceEvent)


class _Mark(NamedTuple):
    """From ``position`` on, the time of day in Unix seconds that a stream without pauses would have begun at."""

    position: int
    origin: float


class AudioClock:
    """Notes when blocks come, and tells the time of day of any of their samples; safe to use from any thread.

    A block comes some time after its last sample was heard, and sometimes late: the earliest ones tell. Times of the
    same position never differ: when the clock is set, or the stream pauses, only what comes after moves. They can be
    asked for as long as ``waiting_seconds`` of newer audio, and what is being recognised, have come.
    """

    def __init__(
        self,
        waiting_seconds: float,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._remembered = round((waiting_seconds + REMEMBERED_SECONDS) * SAMPLE_RATE)
        self._wall = wall
        self._steady = steady
        self._marks: deque[_Mark] = deque()
        self._origin = 0.0
        self._ahead = 0.0  # the time of day less the steady clock
        self._noted = 0.0  # when, by the steady clock
        self._lock = threading.Lock()

    def note(self, position: int, samples: int) -> None:
        """Take note that ``samples`` from ``position`` on have just come."""
        steady, wall = self._steady(), self._wall()
        came = wall - (position + samples) / SAMPLE_RATE
        with self._lock:
            moved = wall - steady - self._ahead
            self._ahead = wall - steady
            if not self._marks:
                self._origin = came
            else:
                if abs(moved) > SET_SECONDS:
                    self._origin += moved
                expected = self._origin + CREEP * (steady - self._noted)
                self._origin = came if came - self._origin > LATE_SECONDS else min(came, expected)
            self._noted = steady
            if not self._marks or abs(self._marks[-1].origin - self._origin) >= STEP_SECONDS:
                self._marks.append(_Mark(position, self._origin))
            while len(self._marks) > 1 and self._marks[1].position <= position - self._remembered:
                self._marks.popleft()

    def at(self, position: int) -> float:
        """The time of day at which the sample at ``position`` was heard, in Unix seconds, to the millisecond."""
        with self._lock:
            if not self._marks:
                return self.now()
            mark = next((mark for mark in reversed(self._marks) if mark.position <= position), self._marks[0])
            return round(mark.origin + position / SAMPLE_RATE, 3)

    def now(self) -> float:
        """The time of day, in Unix seconds, to the millisecond."""
        return round(self._wall(), 3)

    def timed(self, event: AnyEvent) -> AnyEvent:
        """The event with its time: when it was heard, or now for what is not heard."""
        match event:
            case Partial() | Final():
                return replace(event, time=self.at(event.start))
            case Translation() if event.time is None:  # of speech: that of a text has its time
                return replace(event, time=self.at(event.start))
            case AudioLost() | Speech():
                return replace(event, time=self.at(event.position))
            case DeviceState() | Fault() if event.time is None:
                return replace(event, time=self.now())
        return event
