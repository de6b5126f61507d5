"""Recordings that are read while they come: WAV, and what libsndfile reads front to back (Ogg and FLAC)."""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Literal

from rtstream.audio import riff
from rtstream.audio.open import AudioFile
from rtstream.audio.parts import PartError, Parts, open_parts, opened
from rtstream.audio.sndfile import NotAudioError, SndfileReader
from rtstream.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rtstream.audio.reader import FrameReader

Container = Literal["wav", "ogg", "flac"]

_NAMES = {"ogg": "Ogg", "flac": "FLAC"}
_MAGIC = {"ogg": b"OggS\0", "flac": b"fLaC"}
_OGG_PAGE = re.compile(rb"OggS\0([\0-\7])")
_OGG_BEGINS = 2
_FLAC = re.compile(rb"fLaC([\0\x80])\0\0\x22")
_LONGEST_MARK = 8
_CLAIMED = {"ogg": 4096, "flac": 1 << 60}
"""A length to tell libsndfile: in Ogg it looks from there backwards for the last page, in FLAC it stops there."""
_HEAD = 12
"""That libsndfile reads to tell formats apart, before it asks for anything else."""


class ByteQueue:
    """Bytes on their way from the thread that brings them to the one that decodes them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._data = bytearray()
        self._place = 0  # of the first byte of _data
        self._ended = False
        self._starving = False

    def put(self, data: bytes) -> None:
        """Bring further bytes."""
        with self._changed:
            self._data += data
            self._starving = False
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no more come."""
        with self._changed:
            self._ended, self._starving = True, False
            self._changed.notify_all()

    def peek(self, place: int, size: int, least: int = 1) -> bytes:
        """Wait for ``least`` bytes from ``place`` on and see up to ``size`` of them; at the end there are fewer."""
        with self._changed:
            begin = place - self._place
            while len(self._data) - begin < least and not self._ended:
                self._starving = True
                self._changed.notify_all()
                self._changed.wait()
                begin = place - self._place
            return bytes(self._data[begin : begin + size])

    def forget(self, place: int) -> None:
        """Let go of what stands before ``place``."""
        with self._changed:
            del self._data[: max(0, place - self._place)]
            self._place = max(place, self._place)

    def wait(self, done: Callable[[], bool]) -> None:
        """Wait until the decoder has done what it can with all that came, or ``done``; see :meth:`notify`."""
        with self._changed:
            self._changed.wait_for(lambda: self._starving or done())

    def notify(self) -> None:
        """Have those who wait look again."""
        with self._changed:
            self._changed.notify_all()


def open_live(name: str, kind: Container, queue: ByteQueue, *, block_seconds: float) -> AudioFile:
    """Read recordings while they come, in the thread of whoever iterates; several may follow one another.

    ``name`` is for messages. Raises AudioError as :func:`~rtstream.audio.open.open_audio` does. A stream that is not
    closed as its format wants it, as a live one is, is no error.
    """
    stream = _Stream(queue)
    if kind == "wav":
        if not riff.is_wav(queue.peek(0, _HEAD, _HEAD)):
            raise AudioError(f"{name}: does not begin as a WAV file does; say what its encoding is")
        return AudioFile(name, open_parts(name, stream, None, None), stream, block_seconds)
    try:
        parts = Parts(_recordings(kind, queue), [], alone=False)
    except (NotAudioError, PartError) as error:
        raise AudioError(f"{name}: is no {_NAMES[kind]} that can be read: {error}") from None
    return AudioFile(name, parts, stream, block_seconds)


def _recordings(kind: Container, queue: ByteQueue) -> Iterator[FrameReader]:
    place = 0
    while head := queue.peek(place, 4, 4):
        if not _MAGIC[kind].startswith(head):  # libsndfile would take anything that it knows
            raise PartError("it does not begin as one")
        recording = _Recording(kind, queue, place)
        reader = opened(SndfileReader(recording, live=True))
        recording.opened = True
        yield reader
        place = recording.leave()


class _Stream:
    """All of a queue, read front to back."""

    def __init__(self, queue: ByteQueue) -> None:
        self._queue = queue
        self._place = 0

    def read(self, size: int) -> bytes:
        data = self._queue.peek(self._place, size, size)
        self._place += len(data)
        self._queue.forget(self._place)
        return data

    def close(self) -> None:
        pass


class _Recording:
    """One of the recordings in a queue, as the file that libsndfile wants: it goes back only while it opens it.

    Then it also looks for the end, which has not come yet: what it reads there is empty.
    """

    def __init__(self, kind: Container, queue: ByteQueue, begin: int) -> None:
        self.error: OSError | None = None
        self.opened = False
        """Whether libsndfile goes but forward from here on."""
        self._kind = kind
        self._queue = queue
        self._begin = self._place = self._read = begin
        self._end: int | None = None  # where the next recording begins
        self._body = kind == "flac"  # more has come than the pages with which Ogg streams begin together
        self._searching = False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._begin, os.SEEK_CUR: self._place, os.SEEK_END: self._begin + _CLAIMED[self._kind]}[
            whence
        ]
        self._place = max(self._begin, base + offset)
        known = self._begin < self._place <= self._read
        self._searching = self._kind == "ogg" and self._read - self._begin > _HEAD and not known
        return self._place - self._begin

    def tell(self) -> int:
        return self._place - self._begin

    def read(self, size: int) -> bytes:
        if self._searching:
            return b""
        data = self._next(size)
        self._place += len(data)
        self._read = max(self._read, self._place)
        if self.opened:
            self._queue.forget(self._place)
        return data

    def leave(self) -> int:
        """Where the next recording begins; what is left of this one is passed over."""
        while self.read(1 << 16):
            pass
        return self._place

    def close(self) -> None:
        pass

    def _next(self, size: int) -> bytes:
        if self._end is not None:
            return self._queue.peek(self._place, min(size, self._end - self._place))
        data = self._queue.peek(self._place, size + _LONGEST_MARK)
        if len(data) <= size and (kept := _begun(data, _MAGIC[self._kind])):
            if len(data) > kept:
                return data[:-kept]  # it may be where the next one begins: that shows when more has come
            data = self._queue.peek(self._place, size + _LONGEST_MARK, kept + _LONGEST_MARK)
        for match in (_OGG_PAGE if self._kind == "ogg" else _FLAC).finditer(data):
            place = self._place + match.start()
            if match.start() >= size:
                break
            begins = self._kind == "flac" or bool(match[1][0] & _OGG_BEGINS)
            if begins and self._body and place > self._begin:
                self._end = place
                return data[: match.start()]
            self._body = self._body or not begins
        return data[:size]


def _begun(data: bytes, magic: bytes) -> int:
    """How many of the last bytes may be the begin of a mark."""
    return next((count for count in range(len(magic), 0, -1) if data.endswith(magic[:count])), 0)
