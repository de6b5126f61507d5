"""The source's own audio for whoever listens to it now, as it comes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rtstream.events import AudioBlock

WAITING_SECONDS = 2.0
"""Of audio that may wait for one listener; of more, it loses the oldest, and the positions show it."""


class LiveAudio:
    """Takes blocks on the source's thread and gives them to listeners on event loops. Never waits for any."""

    def __init__(self) -> None:
        self._listeners: set[AudioListener] = set()
        self._lock = threading.Lock()

    def put(self, block: AudioBlock) -> None:
        """Hand out a block."""
        if self._listeners:  # of which there are none as a rule
            with self._lock:
                for listener in self._listeners:
                    listener.put(block)

    @contextmanager
    def listening(self) -> Iterator[AudioListener]:
        """Listen from now on, on the running event loop."""
        listener = AudioListener()
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.remove(listener)


class AudioListener:
    """Iterate over it for blocks, without end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[AudioBlock] = deque()
        self._samples = 0
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()

    def put(self, block: AudioBlock) -> None:
        """Take a block; called by LiveAudio."""
        with self._lock:
            self._blocks.append(block)
            self._samples += len(block.samples)
            while self._samples > WAITING_SECONDS * SAMPLE_RATE and len(self._blocks) > 1:
                self._samples -= len(self._blocks.popleft().samples)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def __aiter__(self) -> AsyncIterator[AudioBlock]:
        """Give the blocks, in order."""
        while True:
            self._arrived.clear()
            while (block := self._take()) is not None:
                yield block
            await self._arrived.wait()

    def _take(self) -> AudioBlock | None:
        with self._lock:
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._samples -= len(block.samples)
            return block
