"""A client's own audio on its way through the engine, seen from the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from rtstream.daemon.audio_clock import AudioClock
from rtstream.daemon.audio_queue import AudioQueue
from rtstream.events import SAMPLE_RATE, AudioBlock, DeviceState, Flushed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import numpy as np
    from numpy.typing import NDArray

    from rtstream.daemon.engine import Engine
    from rtstream.events import ServiceEvent, Speech, StreamEvent
    from rtstream.recognizer.pipeline import Pipeline

WAITING_SECONDS = 5.0
"""Of a client's audio; beyond it the client is held back."""
WAITING_EVENTS = 32
"""That a client may leave unread before its audio is left alone."""
PIECE = SAMPLE_RATE
"""Samples put at a time, so that a message of minutes does not count as one block."""


class ClientStream:
    """One client's audio and events. ``closed`` is called once, when the stream has let go of everything."""

    def __init__(
        self,
        engine: Engine,
        make_pipeline: Callable[[], Pipeline],
        closed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: deque[ServiceEvent | Flushed | None] = deque()
        self._room = asyncio.Event()
        self._arrived = asyncio.Event()
        self._when_closed: Callable[[], None] | None = closed
        self._position = 0
        self._flushes = 0  # that have not been answered
        self._clock = AudioClock(WAITING_SECONDS)
        self._ended = False
        self._channel = AudioQueue(
            engine,
            make_pipeline,
            self._take,
            seconds=WAITING_SECONDS,
            held=lambda: len(self._events) >= WAITING_EVENTS,
            stepped=lambda: self._call(self._room.set),
        )

    async def push(self, samples: NDArray[np.float32]) -> None:
        """Take further samples, 16 kHz mono, shape (n,); waits for room, so that a fast client is held back."""
        for begin in range(0, len(samples), PIECE):
            block = AudioBlock(samples[begin : begin + PIECE], self._position)
            self._clock.note(block.position, len(block.samples))
            while not self._ended:
                self._room.clear()  # before looking: what changes from here on is not missed
                if self._channel.offer(block):
                    break
                await self._room.wait()
            self._position += len(block.samples)

    async def pause(self) -> None:
        """Close the open segment: more may be long in coming, and follows without a gap."""
        self._channel.pause()

    async def flush(self) -> None:
        """Close the open segment; a Flushed follows what was said before. Waits where there are many already."""
        while self._flushes >= WAITING_EVENTS and not self._ended:
            self._room.clear()
            await self._room.wait()
        self._flushes += 1
        self._channel.pause(answered=True)

    async def finish(self) -> None:
        """Say that no more audio comes: the iteration ends after the last final."""
        self._channel.end()

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """Give the events, in order."""
        while not self._ended:
            while self._events:
                event = self._events.popleft()
                if len(self._events) == WAITING_EVENTS - 1:
                    self._channel.wake()
                if event is None:
                    return
                if isinstance(event, Flushed):
                    self._flushes -= 1
                    self._room.set()
                assert not isinstance(event, DeviceState)
                yield event
            await self._arrived.wait()
            self._arrived.clear()

    async def close(self) -> None:
        """Let go of everything, whatever is pending; any number of times."""
        self._ended = True
        self._channel.close()
        self._room.set()
        self._arrived.set()
        closed, self._when_closed = self._when_closed, None
        if closed is not None:
            closed()

    def tell(self, speech: Speech) -> None:
        """Take what is known of speech before it is recognised; on the engine's thread."""
        self._take(speech)

    def _take(self, event: ServiceEvent | Flushed | None) -> None:
        """Take an event on the engine's thread."""
        self._events.append(event if event is None or isinstance(event, Flushed) else self._clock.timed(event))
        self._call(self._arrived.set)

    def _call(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(function)
