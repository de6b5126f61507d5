"""Byte streams that the readers of formats need: a part of a file, and a look at what comes next."""

from __future__ import annotations

import os
from typing import Protocol

_PIECE = 1 << 16


class ByteStream(Protocol):
    """The part of a buffered binary file that is needed here."""

    def read(self, size: int, /) -> bytes:
        """Give the next ``size`` bytes, fewer only at the end."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class SeekableBytes(Protocol):
    """The part of a binary file that libsndfile needs; ``error`` is what reading has failed with, as if at the end."""

    error: OSError | None

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go to a place."""
        ...

    def tell(self) -> int:
        """Say where the next byte is read."""
        ...

    def read(self, size: int, /) -> bytes:
        """Give the next bytes, ``size`` at most, none only at the end."""
        ...


class Lookahead:
    """A byte stream whose next bytes can be seen before they are read. ``place``: how many have been read."""

    def __init__(self, stream: ByteStream) -> None:
        self.place = 0
        self.close = stream.close
        self._stream = stream
        self._seen = b""

    def peek(self, size: int) -> bytes:
        """See the next ``size`` bytes, fewer only at the end."""
        if len(self._seen) < size:
            self._seen += self._stream.read(size - len(self._seen))
        return self._seen[:size]

    def read(self, size: int) -> bytes:
        """Give the next ``size`` bytes, fewer only at the end."""
        data, self._seen = self._seen[:size], self._seen[size:]
        if len(data) < size:
            data += self._stream.read(size - len(data))
        self.place += len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over the next ``size`` bytes with little memory, fewer only at the end."""
        end = self.place + size
        while self.place < end and self.read(min(_PIECE, end - self.place)):
            pass


class Window:
    """The bytes from ``begin`` to ``end`` of a regular file, as a file of its own; closing it leaves the descriptor.

    ``claimed`` is a length to tell instead of the true one, to decoders that take it for a promise; the bytes end where
    they do. ``patch`` is a place and the bytes to give there instead of those of the file. ``error`` is what reading
    has failed with, which then looks like the end.
    """

    def __init__(
        self,
        descriptor: int,
        begin: int,
        end: int,
        *,
        claimed: int | None = None,
        patch: tuple[int, bytes] | None = None,
    ) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._begin = begin
        self._length = end - begin
        self._claimed = claimed or self._length
        self._patch_at, self._patch = patch or (0, b"")
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as files do."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._claimed}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Say where the next byte is read."""
        return self._position

    def read(self, size: int) -> bytes:
        """Give the next ``size`` bytes, fewer only at the end or where reading fails."""
        if self.is_beyond(self._position):
            # Who looks for tags at the claimed end shall find none, and not fail.
            data = bytes(max(0, min(size, self._claimed - self._position)))
        else:
            data = self._patched(
                self._read(min(size, self._length - self._position, self.reach(self._position + size)))
            )
        self._position += len(data)
        return data

    def is_beyond(self, place: int) -> bool:
        """Tell whether a place is behind the end."""
        return place > self._length

    def reach(self, place: int) -> int:
        """Give how many of the next bytes may be read, of those before ``place``."""
        return place - self._position

    def close(self) -> None:
        """Do nothing: the descriptor is its owner's."""

    def _read(self, size: int) -> bytes:
        data = b""
        try:
            while len(data) < size and (more := os.pread(self._descriptor, size - len(data), self._place(data))):
                data += more
        except OSError as error:
            self.error = error
        return data

    def _patched(self, data: bytes) -> bytes:
        start = self._patch_at - self._position
        low, high = max(start, 0), min(start + len(self._patch), len(data))
        return data if low >= high else data[:low] + self._patch[low - start : high - start] + data[high:]

    def _place(self, data: bytes) -> int:
        return self._begin + self._position + len(data)
