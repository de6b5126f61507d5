"""Uncompressed samples from a byte stream: the audio of a WAV file, or raw PCM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from rtstream.audio import riff
from rtstream.audio.frames import cut_short, hms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtstream.audio.riff import WavHeader


class ByteStream(Protocol):
    """The part of a buffered binary file that is needed here."""

    def read(self, size: int, /) -> bytes:
        """Give the next ``size`` bytes, fewer only at the end."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class PcmReader:
    """Reads interleaved little-endian samples; a :class:`~rtstream.audio.frames.FrameReader`.

    ``stream`` stands at the first byte of audio; ``size`` is the whole file's in bytes, None for a pipe. Never
    allocates more than one call's frames, whatever the header claims.
    """

    def __init__(self, stream: ByteStream, header: WavHeader, size: int | None) -> None:
        self.rate = header.rate
        self.channels = header.channels
        self.fault: str | None = None
        self._stream = stream
        self._header = header
        self._frame_bytes = header.channels * header.width
        self._done = 0
        claim = header.data_bytes
        # A pipe's writer could not know the length. A file's length can be known, so there a false one is a fault.
        self._promised = None if claim is None or (header.placeholder and size is None) else claim
        known = [n for n in (self._promised, None if size is None else size - header.offset) if n is not None]
        self.frames = min(known) // self._frame_bytes if known else None

    def read(self, count: int) -> NDArray[np.float32]:
        """Give the next frames as float32 of shape (n, channels), n <= ``count``; n is 0 only at the end."""
        wanted = count * self._frame_bytes
        if self._promised is not None:
            wanted = min(wanted, self._promised - self._done)
        try:
            data = self._stream.read(wanted) if wanted else b""
        except OSError as error:
            self.fault = f"reading failed after {self._seconds(self._done)}: {error.strerror}; check the disk or device"
            data = b""
        self._done += len(data)
        if len(data) < count * self._frame_bytes and self.fault is None:
            self.fault = self._shortfall()
        whole = len(data) - len(data) % self._frame_bytes
        return _decode(data[:whole], self._header).reshape(-1, self.channels)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _shortfall(self) -> str | None:
        if self._promised is None or self._promised - self._done < self._frame_bytes:
            return None
        if self._header.placeholder:
            return (
                f"its header promises {self._seconds(self._promised)} of audio and it holds {self._seconds(self._done)}"
                ", all of which was read: a recording that was not completed? Repair it (ffmpeg -i FILE fixed.wav) "
                "or give it on standard input"
            )
        return cut_short(self._done // self._frame_bytes, self._promised // self._frame_bytes, self.rate)

    def _seconds(self, size: int) -> str:
        return hms(size / self._frame_bytes / self.rate)


class RawReader(PcmReader):
    """Reads raw signed 16-bit little-endian mono samples at ``rate`` Hz."""

    def __init__(self, stream: ByteStream, rate: int, size: int | None) -> None:
        super().__init__(stream, riff.WavHeader(riff.PCM, 1, rate, 2, None, placeholder=False, offset=0), size)

    def _shortfall(self) -> str | None:
        if self._done % 2:
            return "it ends in the middle of a sample, all before it was read; raw audio must be 16-bit mono PCM"
        return None


def _decode(data: bytes, header: WavHeader) -> NDArray[np.float32]:
    """Give samples of shape (n,), integers scaled to [-1, 1)."""
    if header.coding == riff.FLOAT:
        with np.errstate(over="ignore"):  # too large for float32: infinite, and reported as such
            return np.frombuffer(data, f"<f{header.width}").astype(np.float32)
    if header.width == 1:  # 8-bit WAV is unsigned
        return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if header.width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    integers = np.frombuffer(data, f"<i{header.width}")
    return (integers / 2.0 ** (8 * header.width - 1)).astype(np.float32)
