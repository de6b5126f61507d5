"""Audio from a file or from standard input, as blocks for the pipeline."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from rtstream.audio import riff
from rtstream.audio.frames import hms
from rtstream.audio.pcm import PcmReader, RawReader
from rtstream.audio.resample import MAX_RATE, MIN_RATE, Resampler
from rtstream.audio.sndfile import NotAudioError, SndfileReader
from rtstream.errors import AudioError
from rtstream.events import SAMPLE_RATE, AudioBlock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from rtstream.audio.frames import FrameReader
    from rtstream.audio.pcm import ByteStream

MAX_CHANNELS = 256
LOUDEST = 1e6
"""Full scale is 1. Float files may exceed it, by a wrong scale even to 32768; beyond this it is no audio."""
_MAX_READ = 1 << 20  # samples of all channels in one read: bounds memory whatever rate and channels a header claims


class AudioFile:
    """An opened source. Iterate over it once for its blocks; use it as a context manager, or call :meth:`close`.

    ``name`` is for messages. ``duration`` is in seconds, None where it cannot be known (pipes, open-ended headers); for
    a truncated file it may be what the header promised.
    """

    def __init__(self, name: str, reader: FrameReader, stream: ByteStream, block_seconds: float) -> None:
        self.name = name
        self.duration = None if reader.frames is None else reader.frames / reader.rate
        self._reader = reader
        self._stream = stream
        self._block = max(1, round(block_seconds * SAMPLE_RATE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Standard input stays open."""
        self._reader.close()
        self._stream.close()

    def __iter__(self) -> Iterator[AudioBlock]:
        """Give the audio in blocks of ``block_seconds``, the last one shorter.

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
        if self._reader.fault is not None:
            raise AudioError(f"{self.name}: {self._reader.fault}")
        if not position:
            raise AudioError(_no_audio(self.name))

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        reader = self._reader
        resampler = Resampler(reader.rate)
        step = max(1, min(self._block * reader.rate // SAMPLE_RATE, _MAX_READ // reader.channels))
        done = 0
        while len(frames := reader.read(step)):
            # NaN compares false: this also finds what is not a number
            good = (np.abs(frames) <= LOUDEST).all(axis=1)
            if not good.all():
                bad = int(np.argmin(good))
                yield resampler.push(frames[:bad])
                value = frames[bad][~(np.abs(frames[bad]) <= LOUDEST)][0]
                reader.fault = (
                    f"the sample at {hms((done + bad) / reader.rate)} is {value:g}, not audio: "
                    "the file is damaged, all before it was read"
                )
                break
            done += len(frames)
            yield resampler.push(frames)
        yield resampler.finish()


def open_audio(path: str | os.PathLike[str], *, raw_rate: int | None = None, block_seconds: float = 0.1) -> AudioFile:
    """Open a file, a FIFO, or standard input (``-``), and read its header.

    A regular file may have any format that libsndfile reads. Standard input and FIFOs stream WAV, its length known or
    not. With ``raw_rate`` in Hz the source is raw signed 16-bit little-endian mono PCM. Any rate from 1 to 768 kHz and
    up to 256 channels (averaged); blocks are 16 kHz mono. Memory does not grow with the source.

    Raises AudioError, one line that names the source, what is wrong and what to do: missing, directory, no permission,
    empty, not audio, absurd header. What shows only later is raised by the iteration, see :class:`AudioFile`.
    """
    if raw_rate is not None and not MIN_RATE <= raw_rate <= MAX_RATE:
        raise AudioError(f"{_printable(path)}: a rate of {raw_rate} Hz is not possible: give {MIN_RATE} to {MAX_RATE}")
    stream: ByteStream
    if os.fspath(path) == "-":
        name, stream, descriptor = "standard input", _standard_input(), None
    else:
        name = _printable(path)
        stream, descriptor = _open(path, name)
    try:
        reader = _reader(name, stream, descriptor, raw_rate)
    except OSError as error:
        stream.close()
        raise AudioError(f"{name}: cannot be read: {error.strerror}; check the disk or device") from None
    except BaseException:
        stream.close()
        raise
    return AudioFile(name, reader, stream, block_seconds)


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
    descriptor = stream.fileno()
    return stream, descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


class _KeptOpen:
    """Standard input: read through, never closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = stream.read

    def close(self) -> None:
        pass


def _standard_input() -> _KeptOpen:
    if sys.stdin is None or sys.stdin.closed:
        raise AudioError("standard input: is closed; pipe WAV into it or name a file")
    if sys.stdin.isatty():
        raise AudioError("standard input: is a terminal; pipe WAV into it or name a file")
    return _KeptOpen(sys.stdin.buffer)


def _reader(name: str, stream: ByteStream, descriptor: int | None, raw_rate: int | None) -> FrameReader:
    size = None if descriptor is None else os.fstat(descriptor).st_size
    if raw_rate is not None and size != 0:
        return _not_empty(name, RawReader(stream, raw_rate, size))
    head = stream.read(12)
    if not head:
        raise AudioError(f"{name}: is empty, it holds not a single byte; record it again")
    if riff.is_wav(head):
        try:
            header = riff.read_header(head, stream.read)
        except riff.RiffError as error:
            raise AudioError(f"{name}: {error}; the file is damaged, get another copy") from None
        _check(name, header.rate, header.channels)
        if header.width:
            return _not_empty(name, PcmReader(stream, header, size))
        if descriptor is None:
            raise AudioError(f"{name}: is WAV with compressed audio (format {header.coding:#06x}); {_STREAMABLE}")
    elif descriptor is None:
        raise AudioError(f"{name}: {_guess(head)}; {_STREAMABLE}")
    try:
        reader = SndfileReader(descriptor)
    except NotAudioError as error:
        raise AudioError(
            f"{name}: not audio that can be read ({error}); "
            "give WAV, FLAC, Ogg, MP3 or another format that libsndfile knows"
        ) from None
    _check(name, reader.rate, reader.channels)
    return _not_empty(name, reader)


def _check(name: str, rate: int, channels: int) -> None:
    """Refuse headers whose numbers no audio has."""
    if not 1 <= channels <= MAX_CHANNELS:
        what, can = f"{channels} channels", f"1 to {MAX_CHANNELS}"
    elif not MIN_RATE <= rate <= MAX_RATE:
        what, can = f"a rate of {rate} Hz", f"{MIN_RATE} to {MAX_RATE}"
    else:
        return
    raise AudioError(f"{name}: its header says {what} ({can} can be read); it is damaged or no audio, get another copy")


def _not_empty(name: str, reader: FrameReader) -> FrameReader:
    if reader.frames == 0:
        raise AudioError(_no_audio(name))
    return reader


def _no_audio(name: str) -> str:
    return f"{name}: holds no audio, not one sample; record it again"


_STREAMABLE = "a pipe must carry uncompressed WAV (ffmpeg -i FILE -f wav - | ...) or raw 16-bit PCM whose rate is given"


def _guess(head: bytes) -> str:
    kinds = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"FORM": "AIFF"}
    kind = next((kind for magic, kind in kinds.items() if head.startswith(magic)), None)
    return f"is {kind}, not WAV" if kind else "is not WAV"


def _printable(path: str | os.PathLike[str]) -> str:
    """Write a path so that a message stays one line and can be printed, whatever bytes are in it."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
