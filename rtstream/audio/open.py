"""Audio from a file or from standard input, as blocks for the pipeline."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from rtstream.audio.full_scale import FullScale
from rtstream.audio.parts import NO_AUDIO, open_parts
from rtstream.audio.reader import hms
from rtstream.audio.resample import MAX_RATE, MIN_RATE, Resampler
from rtstream.errors import AudioError
from rtstream.events import SAMPLE_RATE, AudioBlock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from rtstream.audio.parts import Parts
    from rtstream.audio.window import ByteStream

_MAX_READ = 1 << 20  # samples of all channels in one read: bounds memory whatever rate and channels a header claims


class AudioFile:
    """An opened source. Iterate over it once for its blocks; use it as a context manager, or call :meth:`close`.

    ``name`` is for messages. ``duration`` is in seconds, None where it cannot be known (pipes, open-ended headers,
    joined files); for a truncated file it may be what the header promised.
    """

    def __init__(self, name: str, parts: Parts, stream: ByteStream, block_seconds: float) -> None:
        self.name = name
        self.duration = parts.duration
        self._parts = parts
        self._stream = stream
        self._block = max(1, round(block_seconds * SAMPLE_RATE))
        self._faults = parts.faults

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Standard input stays open."""
        self._parts.close()
        self._stream.close()

    def __iter__(self) -> Iterator[AudioBlock]:
        """Give the audio in blocks of ``block_seconds``, the last one shorter; that of joined files without a gap.

        The samples do not depend on the block size. Raises AudioError after the last good sample: truncated or damaged
        file, failing device, a sample that is not finite (with its position in seconds), or no audio at all.
        """
        position = 0
        pending = np.zeros(0, np.float32)
        for samples in self._resampled():
            pending = np.concatenate((pending, samples))
            while len(pending) >= self._block:
                block, pending = pending[: self._block], pending[self._block :]
                yield AudioBlock(block, position)
                position += len(block)
        if len(pending):
            yield AudioBlock(pending, position)
            position += len(pending)
        if self._faults:
            raise AudioError(f"{self.name}: {self._faults[0]}")
        if not position:
            raise AudioError(f"{self.name}: {NO_AUDIO}")

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        seconds = 0.0
        for reader in self._parts:
            resampler = Resampler(reader.rate)
            full_scale = FullScale(reader.rate, reader.channels, decide=reader.floats, begin=seconds)
            step = max(1, min(self._block * reader.rate // SAMPLE_RATE, _MAX_READ // reader.channels))
            done = 0
            while full_scale.fault is None and len(frames := reader.read(step)):
                done += len(frames)
                yield resampler.push(full_scale.push(frames))
            yield resampler.push(full_scale.finish())
            yield resampler.finish()
            fault = full_scale.fault or reader.fault
            if fault is not None:
                self._faults.append(fault if not seconds or full_scale.fault else f"behind {hms(seconds)}: {fault}")
            if full_scale.fault is not None:
                return
            seconds += done / reader.rate


def open_audio(path: str | os.PathLike[str], *, raw_rate: int | None = None, block_seconds: float = 0.1) -> AudioFile:
    """Open a file, a FIFO, or standard input (``-``), and read its header.

    A regular file, which standard input may be too, may have any format that libsndfile reads, and several recordings
    one behind the other. Pipes stream WAV, its length known or not. With ``raw_rate`` in Hz the source is raw signed
    16-bit little-endian mono PCM. Any rate from 1 to 768 kHz and up to 256 channels (mixed down); blocks are 16 kHz
    mono. Memory does not grow with the source.

    Raises AudioError, one line that names the source, what is wrong and what to do: missing, directory, no permission,
    empty, not audio, absurd header. What shows only later is raised by the iteration, see :class:`AudioFile`.
    """
    if raw_rate is not None and not MIN_RATE <= raw_rate <= MAX_RATE:
        raise AudioError(f"{_printable(path)}: a rate of {raw_rate} Hz is not possible: give {MIN_RATE} to {MAX_RATE}")
    stream: ByteStream
    if os.fspath(path) == "-":
        name = "standard input"
        stream, descriptor = _standard_input()
    else:
        name = _printable(path)
        stream, descriptor = _open(path, name)
    try:
        parts = open_parts(name, stream, descriptor, raw_rate)
    except OSError as error:
        stream.close()
        raise AudioError(f"{name}: cannot be read: {error.strerror}; check the disk or device") from None
    except BaseException:
        stream.close()
        raise
    return AudioFile(name, parts, stream, block_seconds)


def open_bytes(name: str, data: bytes, *, block_seconds: float = 0.1) -> AudioFile:
    """Read a WAV file in memory, as :func:`open_audio` does those on a disk; ``name`` is for messages."""
    stream = io.BytesIO(data)
    return AudioFile(name, open_parts(name, stream, None, None, size=len(data)), stream, block_seconds)


def open_descriptor(name: str, descriptor: int, *, block_seconds: float = 0.1) -> AudioFile:
    """Read a regular file that is open, from its begin, as :func:`open_audio` does; it is closed with the AudioFile.

    ``name`` is for messages. Raises AudioError.
    """
    stream = os.fdopen(descriptor, "rb")
    try:
        return AudioFile(name, open_parts(name, stream, descriptor, None), stream, block_seconds)
    except BaseException:
        stream.close()
        raise


def _open(path: str | os.PathLike[str], name: str) -> tuple[BinaryIO, int | None]:
    """Open for reading; also give the descriptor if it is of a regular file, else (FIFO, device) None."""
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - AudioFile closes it
    except FileNotFoundError:
        raise AudioError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise AudioError(f"{name}: is a directory; name the audio files in it") from None
    except PermissionError:
        raise AudioError(f"{name}: no permission to read it; check its owner and mode (ls -l)") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{name}: cannot be opened: {reason}; check the path") from None
    return stream, _regular(stream)


def _regular(stream: BinaryIO) -> int | None:
    """Give the descriptor of a regular file that is at its begin; None for pipes and devices."""
    try:
        descriptor = stream.fileno()
        return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) and not stream.tell() else None
    except OSError:  # of streams that are no files
        return None


class _KeptOpen:
    """Standard input: read through, never closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read

    def close(self) -> None:
        pass


def _standard_input() -> tuple[_KeptOpen, int | None]:
    if sys.stdin is None or sys.stdin.closed:
        raise AudioError("standard input: is closed; pipe WAV into it or name a file")
    if sys.stdin.isatty():
        raise AudioError("standard input: is a terminal; pipe WAV into it or name a file")
    return _KeptOpen(sys.stdin.buffer), _regular(sys.stdin.buffer)


def _printable(path: str | os.PathLike[str]) -> str:
    """Write a path so that a message stays one line and can be printed, whatever bytes are in it."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
