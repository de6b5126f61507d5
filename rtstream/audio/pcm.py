"""Uncompressed samples from a byte stream: the audio of a WAV file, or raw PCM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rtstream.audio import riff
from rtstream.audio.reader import cut_short, reading_failed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtstream.audio.riff import WavHeader
    from rtstream.audio.window import Lookahead


class PcmReader:
    """Reads interleaved little-endian samples; a :class:`~rtstream.audio.reader.FrameReader`.

    ``stream`` stands at the first byte of audio; ``size`` is all of it in bytes, None for a pipe. A header's
    length is a hint: behind it other chunks are passed over, and what is no chunk is audio, as in files of more than
    4 GiB. ``followed`` tells, once the frames have ended, that another WAV file begins. Never
    allocates more than one call's frames, whatever the header claims.
    """

    def __init__(self, stream: Lookahead, header: WavHeader, size: int | None) -> None:
        self.rate = header.rate
        self.channels = header.channels
        self.floats = header.coding == riff.FLOAT
        self.fault: str | None = None
        self.followed = False
        self._stream = stream
        self._header = header
        self._frame_bytes = header.channels * header.width
        self._size = size
        self._left = header.data_bytes  # of the audio, as far as the header says
        self._done = 0
        self._missing = 0  # bytes that were promised and did not come
        rest = None if size is None else size - stream.place
        known = [length for length in (header.data_bytes or None, rest) if length is not None]
        self.frames = min(known) // self._frame_bytes if known else None

    def read(self, count: int) -> NDArray[np.float32]:
        """Give the next frames as float32 of shape (n, channels), n <= ``count``; n is 0 only at the end."""
        data = b""
        try:
            while (wanted := count * self._frame_bytes - len(data)) and not self.followed:
                if self._left == 0 and not self._go_on():
                    break
                more = self._stream.read(wanted if self._left is None else min(wanted, self._left))
                if not more:
                    self._missing, self._left = self._left or 0, 0
                    break
                data += more
                self._left = None if self._left is None else self._left - len(more)
        except OSError as error:
            self.fault = reading_failed((self._done + len(data)) / self._frame_bytes / self.rate, error)
        self._done += len(data)
        if len(data) < count * self._frame_bytes and self.fault is None:
            self.fault = self._shortfall()
        whole = len(data) - len(data) % self._frame_bytes
        return _decode(data[:whole], self._header).reshape(-1, self.channels)

    def close(self) -> None:
        """Do nothing: the stream is its owner's."""

    def _go_on(self) -> bool:
        """Find the audio that goes on behind the length that the header gives; False at the end."""
        if self._missing:
            return False
        if self._header.data_bytes is not None and self._header.data_bytes % 2 and self._stream.peek(1) == b"\0":
            self._stream.read(1)  # chunks begin at even places
        while len(head := self._stream.peek(12)) >= 8:
            if riff.is_wav(head):
                self.followed = True
                return False
            end = max(self._size or 0, self._header.end)
            size = riff.chunk_size(head[:8], end - self._stream.place - 8 if end else riff.HEADER_LIMIT)
            if size is None:
                self._left = None
                return True
            self._stream.read(8)
            if head[:4] == b"data":
                self._left = size
                return True
            self._stream.skip(size + size % 2)
        return False

    def _shortfall(self) -> str | None:
        if self._missing < self._frame_bytes:
            return None
        done = self._done // self._frame_bytes
        return cut_short(done, done + self._missing // self._frame_bytes, self.rate)


class RawReader(PcmReader):
    """Reads raw signed 16-bit little-endian mono samples at ``rate`` Hz."""

    def __init__(self, stream: Lookahead, rate: int, size: int | None) -> None:
        super().__init__(stream, riff.WavHeader(riff.PCM, 1, rate, 2, None, end=0), size)

    def _shortfall(self) -> str | None:
        if self._done % 2:
            return "it ends in the middle of a sample, all before it was read; raw audio must be 16-bit mono PCM"
        return None


def _decode(data: bytes, header: WavHeader) -> NDArray[np.float32]:
    """Give samples of shape (n,), integers scaled to [-1, 1)."""
    if header.coding == riff.FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):  # infinite or no number, and reported as such
            return np.frombuffer(data, f"<f{header.width}").astype(np.float32)
    if header.width == 1:  # 8-bit WAV is unsigned
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if header.width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    integers = np.frombuffer(data, f"<i{header.width}")
    return (integers / 2.0 ** (8 * header.width - 1)).astype(np.float32)
