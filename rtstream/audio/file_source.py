"""Files as a source: played at the speed of sound or faster, once or over and over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rtstream.audio.open import open_audio
from rtstream.audio.pacing import realtime
from rtstream.errors import AudioError
from rtstream.events import AudioBlock, DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.audio.source import SourceItem

BLOCK_SECONDS = 0.02
"""As a microphone's: words must not wait for a block to fill."""
FAST_BLOCK_SECONDS = 0.1


class FileSource:
    """A :class:`~rtstream.audio.source.Source` that plays what ``open_audio`` reads, standard input included.

    ``speed`` is times real time, 0 for as fast as it is taken. Positions go on when a file is played again.
    """

    live = False

    def __init__(self, path: str, *, speed: float = 1.0, loop: bool = False, raw_rate: int | None = None) -> None:
        self.signs = 0
        self.idle = False
        self.quiet = False
        self._path = path
        self._speed = speed
        self._loop = loop
        self._raw_rate = raw_rate
        self._closed = threading.Event()

    def close(self) -> None:
        """End the iteration soon; where it waits for standard input, only when that has something or ends."""
        self._closed.set()

    def __iter__(self) -> Iterator[SourceItem]:
        """Give the file's audio, once or until :meth:`close`."""
        name = "standard input" if self._path == "-" else self._path
        # What comes through a pipe may take any time to come.
        self.idle = self._path == "-"
        yield DeviceState(name, "starting")
        position = 0
        try:
            while not self._closed.is_set():
                begin = position
                for block in self._play(begin):
                    if not position:
                        yield DeviceState(name, "capturing", "playing")
                    self.signs += 1
                    yield block
                    position = block.position + len(block.samples)
                if not self._loop or position == begin:
                    break
        except AudioError as error:
            self.idle = True
            yield DeviceState(name, "lost", str(error))
            return
        self.idle = True
        yield DeviceState(name, "ended", "closed" if self._closed.is_set() else "played to its end")

    def _play(self, begin: int) -> Iterator[AudioBlock]:
        seconds = BLOCK_SECONDS if self._speed else FAST_BLOCK_SECONDS
        with open_audio(self._path, raw_rate=self._raw_rate, block_seconds=seconds) as audio:
            for block in realtime(audio, self._speed, sleep=self._closed.wait) if self._speed else audio:
                if self._closed.is_set():
                    return
                yield AudioBlock(block.samples, begin + block.position)
