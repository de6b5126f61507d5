"""A recording that a client sends as a file of some format, decoded while it comes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING

import structlog

from rtstream.audio.live import ByteQueue, open_live
from rtstream.errors import AudioError
from rtstream.wire.failures import RequestFailedError, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import numpy as np
    from numpy.typing import NDArray

    from rtstream.audio.live import Container

log = structlog.get_logger()

BLOCK_SECONDS = 0.02
"""What is left of a page or block that came waits for the next one; it is shorter than this."""
MOST_BLOCKS = 500
"""That wait: ten seconds. Of some formats a message holds an hour."""


class FileDecoder:
    """Bytes of a file, cut anywhere, to 16 kHz mono samples; in a thread of its own, which :meth:`close` ends.

    Chained Ogg and joined files of the other formats count as one. Raises RequestFailedError behind the last good
    sample.
    """

    def __init__(self, kind: Container) -> None:
        self._kind = kind
        self._queue = ByteQueue()
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._room = threading.Semaphore(MOST_BLOCKS)
        self._any = False
        self._closed = False
        self._done = False
        self._failure: RequestFailedError | None = None
        self._thread = threading.Thread(target=self._run, name="client's file", daemon=True)
        self._thread.start()

    async def push(self, data: bytes) -> AsyncIterator[NDArray[np.float32]]:
        """The samples that a chunk brings, in small pieces."""
        self._any = self._any or bool(data)
        self._queue.put(data)
        async for samples in self._decoded():
            yield samples
        if self._failure is not None:
            raise self._failure

    async def finish(self) -> AsyncIterator[NDArray[np.float32]]:
        """The last samples of the stream."""
        self._queue.end()
        async for samples in self._decoded():
            yield samples
        if self._failure is not None and self._any:  # nothing that is sent is nothing that is wrong
            raise self._failure

    def close(self) -> None:
        """End the thread, whatever it does."""
        self._closed = True
        self._room.release()
        self._queue.end()

    async def _decoded(self) -> AsyncIterator[NDArray[np.float32]]:
        """All that can be decoded of what came."""
        while True:
            await asyncio.to_thread(self._queue.wait, lambda: self._done or len(self._blocks) >= MOST_BLOCKS)
            more = not self._done and len(self._blocks) >= MOST_BLOCKS
            while self._blocks:
                yield self._blocks.popleft()
                self._room.release()
            if not more:
                return

    # The thread.

    def _run(self) -> None:
        try:
            with open_live("audio", self._kind, self._queue, block_seconds=BLOCK_SECONDS) as audio:
                for block in audio:
                    self._room.acquire()
                    if self._closed:
                        return
                    self._blocks.append(block.samples)
                    if len(self._blocks) >= MOST_BLOCKS:
                        self._queue.notify()
        except AudioError as error:
            self._failure = invalid("audio", str(error).removeprefix("audio: "))
        except Exception:  # an error of this program, or of a decoder on what anybody may send
            log.exception("a client's file cannot be decoded")
            self._failure = RequestFailedError("INTERNAL", "an error of the service; its log has the details")
        finally:
            self._done = True
            self._queue.notify()
