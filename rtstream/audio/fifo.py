"""Raw PCM from a FIFO, whose writers come and go."""

from __future__ import annotations

import os
import select
import shlex
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtstream.audio import riff
from rtstream.audio.resample import Resampler
from rtstream.audio.source import PAUSE_SECONDS
from rtstream.errors import AudioError
from rtstream.events import AudioBlock, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rtstream.audio.source import SourceItem

RETRY_SECONDS = 1.0
CHECK_SECONDS = 1.0
"""Without audio, after which it is looked whether the path still names the FIFO that is open."""
HEADER = "its writer sends WAV, and raw 16-bit mono PCM is wanted: arecord -t raw, ffmpeg -f s16le -ac 1"
MODE = 0o660
"""Of a FIFO that is made here."""
GATHER_SECONDS = 0.16
"""Of audio, while nobody speaks: less than a pipe holds."""
_PIECE = 1 << 13


class FifoSource:
    """A :class:`~rtstream.audio.source.Source` of signed 16-bit little-endian mono samples at ``rate`` Hz.

    The FIFO may be made later or anew: the path counts, once the one that was open gives nothing more. When a writer
    closes it, the source is "ended" until the next one writes; when it keeps it open and writes nothing for
    ``pause_seconds``, the source is "paused" until it goes on. Shorter delays change nothing. Positions go on without
    a gap, since nothing tells how much time has passed for the writer. With ``create`` it is made where there is none,
    and its group may write, as with the service's socket.
    """

    live = False

    def __init__(self, path: str, rate: int, *, pause_seconds: float = PAUSE_SECONDS, create: bool = False) -> None:
        self.signs = 0
        self.idle = True  # whoever writes decides when
        self.quiet = False
        self._path = path
        self._rate = rate
        self._pause = pause_seconds
        self._create = create
        self._closing = os.eventfd(0, os.EFD_CLOEXEC)
        self._closed = False
        self._position = 0

    def close(self) -> None:
        """End the iteration soon."""
        self._closed = True
        os.eventfd_write(self._closing, 1)

    def __iter__(self) -> Iterator[SourceItem]:
        """Give what is written until :meth:`close`."""
        state = DeviceState(self._path, "starting", "waiting for a writer")
        yield state
        while not self._closed:
            try:
                descriptor = _open(self._path, create=self._create)
            except AudioError as error:
                new = DeviceState(self._path, "lost", str(error))
                if new != state:
                    yield new
                state = new
                self._wait_for(None, RETRY_SECONDS)
                continue
            try:
                for item in self._read(descriptor):
                    if isinstance(item, DeviceState):
                        state = item
                    yield item
            finally:
                os.close(descriptor)
        yield DeviceState(self._path, "ended", "closed")

    def _read(self, descriptor: int) -> Iterator[SourceItem]:
        """Give what one writer, or several at a time, write until the last closes."""
        resampler = Resampler(self._rate)
        rest = b""
        speaking = heard = full = False
        last = time.monotonic()
        while not self._closed:
            if self.quiet and speaking and not full:
                self._wait_for(None, max(0.0, last + GATHER_SECONDS - time.monotonic()))
            left = self._pause - (time.monotonic() - last) if speaking else CHECK_SECONDS
            if not self._wait_for(descriptor, min(CHECK_SECONDS, max(0.0, left))):
                if _replaced(self._path, descriptor, has_writer=heard):
                    break
                if speaking and time.monotonic() - last >= self._pause and not self._closed:
                    speaking = False
                    yield DeviceState(self._path, "paused", f"its writer has written nothing for {self._pause:g} s")
                continue
            last = time.monotonic()
            data = os.read(descriptor, _PIECE)
            if not data:
                break
            full = len(data) == _PIECE  # the writer does not keep to the speed of sound
            if riff.is_wav(data) and not heard:
                yield DeviceState(self._path, "lost", HEADER)
                self._discard(descriptor)
                return
            if not speaking:
                speaking = heard = True
                yield DeviceState(self._path, "capturing", f"{self._rate} Hz")
            self.signs += 1
            data = rest + data
            whole = len(data) - len(data) % 2
            rest = data[whole:]
            samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768)
            yield from self._block(resampler.push(samples))
        yield from self._block(resampler.finish())
        if heard and not self._closed:
            cut = " in the middle of a sample, which was left out: it must write 16-bit mono PCM" if rest else ""
            yield DeviceState(self._path, "ended", f"its writer has closed it{cut}; waiting for the next one")

    def _discard(self, descriptor: int) -> None:
        """Read to the end of what the writers write, so that they are not stopped."""
        while self._wait_for(descriptor, None) and os.read(descriptor, _PIECE):
            self.signs += 1

    def _block(self, samples: NDArray[np.float32]) -> Iterator[AudioBlock]:
        if len(samples):
            yield AudioBlock(samples, self._position)
            self._position += len(samples)

    def _wait_for(self, descriptor: int | None, seconds: float | None) -> bool:
        """Whether there is something to read, or the writers have gone; False after ``seconds`` and when closed."""
        poll = select.poll()
        poll.register(self._closing, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return not self._closed and bool(ready)


def _replaced(path: str, descriptor: int, *, has_writer: bool) -> bool:
    """Whether the path names another FIFO than the one that is open, or none and nobody holds the open one."""
    try:
        now = Path(path).stat()
    except OSError:
        return not has_writer
    return not os.path.samestat(now, os.fstat(descriptor))


def _open(path: str, *, create: bool) -> int:
    made = f"mkfifo {shlex.quote(path)}"
    try:
        if create:
            _make(path)
        if not stat.S_ISFIFO(Path(path).stat().st_mode):
            raise AudioError(f"{path}: is not a FIFO; make one there: {made}")
        # Without waiting for a writer; and a new descriptor is not at its end before the first one has come and gone.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such FIFO; make it: {made}, or have it made: fifo:PATH?create=1") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}; check its owner and mode (ls -l)") from None


def _make(path: str) -> None:
    """Make a FIFO unless something is there. Raises AudioError."""
    try:
        os.mkfifo(path, 0o600)
        os.chmod(path, MODE)  # noqa: PTH101 - whatever the umask
    except FileExistsError:
        return
    except OSError as error:
        folder = Path(path).parent
        raise AudioError(
            f"{path}: cannot be made: {error.strerror}; check the folder {folder}, and its owner"
        ) from None
