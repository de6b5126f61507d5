"""A bounded ring of bytes between PortAudio's callback and the thread that reads."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import NamedTuple


class Run(NamedTuple):
    """Consecutive frames from a ring: ``lost`` frames are missing before ``position``, where ``data`` begins."""

    position: int
    data: bytes
    lost: int


class Ring:
    """Frames of ``frame_bytes`` bytes, ``capacity`` of them at most; one thread writes, one reads.

    :meth:`write` copies into memory that is there already, takes no lock and never waits, so that a realtime callback
    may call it: each side changes its own counter alone, and only after the bytes are in place. What does not fit is
    lost and counted; writing goes on once half of the ring is free, so that a loss is one long gap and not many.
    """

    def __init__(self, capacity: int, frame_bytes: int) -> None:
        self._capacity = capacity
        self._frame = frame_bytes
        self._memory = memoryview(bytearray(capacity * frame_bytes))
        self._written = 0  # frames that are in the ring or were read from it; the writer's
        self._read = 0  # the reader's
        self._gaps: deque[tuple[int, int]] = deque()  # frames lost before the frame of that number, never many
        self._overflowing = False
        self._lost = 0
        self._given_lost = 0  # of the lost frames, those that the reader was told of
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def lost(self) -> int:
        """Frames that found no room, in all."""
        return self._lost

    def fileno(self) -> int:
        """A descriptor that is readable when there may be something to read, for ``poll``."""
        return self._wake

    def close(self) -> None:
        """Release the descriptor, once nobody writes any more."""
        os.close(self._wake)

    def write(self, data: bytes | memoryview) -> None:
        """Add whole frames, all or none of them."""
        frames = len(data) // self._frame
        free = self._capacity - (self._written - self._read)
        if free < frames or (self._overflowing and free < self._capacity // 2):
            self._overflowing = True
            self.lose(frames)
            return
        self._overflowing = False
        start = self._written % self._capacity
        first = min(frames, self._capacity - start)
        at, cut = start * self._frame, first * self._frame
        self._memory[at : at + cut] = data[:cut]
        if first < frames:
            self._memory[: len(data) - cut] = data[cut:]
        self._written += frames
        os.eventfd_write(self._wake, 1)

    def lose(self, frames: int) -> None:
        """Count frames that the device itself has lost just now."""
        self._lost += frames
        if self._gaps and self._gaps[-1][0] == self._written:
            # The reader takes a gap away only together with frames behind it, of which there are none yet.
            self._gaps[-1] = (self._written, self._gaps[-1][1] + frames)
        else:
            self._gaps.append((self._written, frames))

    def read(self, most: int) -> Run | None:
        """Give up to ``most`` frames up to the next gap; None if there are none."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        frames = min(self._written - self._read, most)
        if not frames:
            return None
        lost = 0
        while self._gaps and self._gaps[0][0] == self._read:
            lost += self._gaps.popleft()[1]
        if self._gaps:
            frames = min(frames, self._gaps[0][0] - self._read)
        self._given_lost += lost
        position = self._read + self._given_lost
        start = self._read % self._capacity
        first = min(frames, self._capacity - start)
        data = bytes(self._memory[start * self._frame : (start + first) * self._frame])
        data += bytes(self._memory[: (frames - first) * self._frame])
        self._read += frames
        if self._written != self._read:
            os.eventfd_write(self._wake, 1)
        return Run(position, data, lost)
