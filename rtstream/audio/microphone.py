"""A microphone that may be absent, busy, unplugged, hung or replaced, and is captured whenever it can be."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rtstream.audio.capture_process import CaptureProcess
from rtstream.audio.capture_protocol import Kind
from rtstream.audio.resample import Resampler
from rtstream.events import SAMPLE_RATE, AudioBlock, AudioLost, DeviceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from rtstream.audio.capture_protocol import CaptureRequest, Message
    from rtstream.audio.source import SourceItem
    from rtstream.events import CaptureState


@dataclass(frozen=True, slots=True)
class MicrophoneConfig:
    """When to give a device up and try again; all in seconds.

    ``open_seconds``: for the device to open. ``stall_seconds``: without a block it counts as stalled and is opened
    anew. ``retry_seconds``, doubled at each failure up to ``retry_most_seconds``: between attempts.
    """

    open_seconds: float = 15.0
    stall_seconds: float = 3.0
    retry_seconds: float = 0.5
    retry_most_seconds: float = 15.0


class Microphone:
    """A :class:`~rtstream.audio.source.Source` that captures a device and never ends by itself.

    Positions go on across everything: what the ring lost is an AudioLost of exactly that length, the time without a
    device is one too, by the monotonic ``clock``. Not a sign of life is a device that opens and gives nothing.
    """

    live = True

    def __init__(
        self,
        request: CaptureRequest,
        config: MicrophoneConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signs = 0
        self.idle = False
        self.quiet = False
        self._request = request
        self._config = config or MicrophoneConfig()
        self._clock = clock
        self._closed = threading.Event()
        self._closing = os.eventfd(0, os.EFD_CLOEXEC)
        self._name = request.device
        self._state: DeviceState | None = None
        self._position = 0
        self._heard: float | None = None  # when the audio before the position had come
        self._failures = 0  # since audio came last

    def close(self) -> None:
        """End the iteration soon."""
        self._closed.set()
        os.eventfd_write(self._closing, 1)

    def __iter__(self) -> Iterator[SourceItem]:
        """Give what is captured until :meth:`close`."""
        yield from self._tell("starting", "looking for the device")
        while not self._closed.is_set():
            try:
                process = CaptureProcess(self._request, self._closing)
            except OSError as error:  # too many files or processes: those are there again some time
                self.signs += 1
                yield from self._tell("lost", f"no capturing process can be started: {error.strerror}; trying again")
            else:
                with process:
                    yield from self._capture(process)
            # At least once: else a device that is lost as soon as it is opened would keep a core busy.
            delay = self._config.retry_seconds * 2 ** min(self._failures, 16)
            self._failures += 1
            self._closed.wait(min(delay, self._config.retry_most_seconds))
        yield from self._tell("ended", "closed")

    def _capture(self, process: CaptureProcess) -> Iterator[SourceItem]:
        """Give the audio of the device until it is lost, or tell why there is none."""
        seconds = self._config.open_seconds
        run: _Run | None = None
        try:
            message = process.read(seconds)
            if message is not None and message.kind is Kind.FORMAT:
                form = json.loads(message.body)
                self._name = form["device"]
                seconds = self._config.stall_seconds
                while (message := process.read(seconds)) is not None and message.kind is Kind.AUDIO:
                    self.signs += 1
                    frames = np.frombuffer(message.body, "<i2").reshape(-1, form["channels"])
                    now = self._clock()
                    if run is None:
                        run = _Run(form["rate"], message.position, self._resumed(now - len(frames) / form["rate"]))
                        yield from self._begin(run, form)
                    elif message.lost:
                        yield from self._blocks(run.finish())
                        run = run.after_gap(message.position)
                        yield from self._lose(run.start, "overflow")
                    yield from self._blocks(run.push(frames))
                    self._heard = now
            state, detail = self._ending(message, opened=seconds == self._config.stall_seconds)
        except TimeoutError:
            state, detail = "stalled", f"no audio for {seconds:g} s; opening it anew"
        if run is not None:
            yield from self._blocks(run.finish())
        if not self._closed.is_set():
            yield from self._tell(state, detail)

    def _begin(self, run: _Run, form: dict[str, Any]) -> Iterator[SourceItem]:
        self._failures = 0
        yield from self._lose(run.start, "device")
        plural = "s" if form["channels"] > 1 else ""
        yield from self._tell("capturing", f"{form['rate']} Hz, {form['channels']} channel{plural}")

    def _ending(self, message: Message | None, *, opened: bool) -> tuple[Literal["stalled", "lost"], str]:
        if message is None:
            return "lost", "the capturing process has ended; starting it again"
        if not opened:
            self.signs += 1  # it was looked for, which is all that can be done while it is absent
        return "lost", f"{json.loads(message.body)['message']}; trying again"

    def _resumed(self, began: float) -> int:
        """The position of audio that began at a time, after a time without a device."""
        if self._heard is None:
            return self._position
        return self._position + max(0, round((began - self._heard) * SAMPLE_RATE))

    def _lose(self, position: int, reason: Literal["overflow", "device"]) -> Iterator[AudioLost]:
        if position > self._position:
            yield AudioLost(self._position, position - self._position, reason)
            self._position = position

    def _blocks(self, samples: NDArray[np.float32]) -> Iterator[AudioBlock]:
        if len(samples):
            yield AudioBlock(samples, self._position)
            self._position += len(samples)

    def _tell(self, state: CaptureState, detail: str) -> Iterator[DeviceState]:
        """Give a state, unless it was given last: a device that is absent for days is one event."""
        new = DeviceState(self._name, state, detail)
        if new != self._state:
            self._state = new
            yield new


class _Run:
    """Audio without a gap: from frames of the device at their rate to samples at 16 kHz that begin at ``start``."""

    def __init__(self, rate: int, frame: int, start: int) -> None:
        self.start = start
        self._rate = rate
        self._frame = frame  # the device's number of the frame at the start
        self._given = 0
        self._resampler = Resampler(rate)

    def push(self, frames: NDArray[np.int16]) -> NDArray[np.float32]:
        """Give the samples that ``frames`` complete."""
        return self._count(self._resampler.push(frames.astype(np.float32) / np.float32(32768)))

    def finish(self) -> NDArray[np.float32]:
        """Give the last samples."""
        return self._count(self._resampler.finish())

    def after_gap(self, frame: int) -> _Run:
        """What goes on at a later frame."""
        start = self.start + round((frame - self._frame) * SAMPLE_RATE / self._rate)
        return _Run(self._rate, frame, max(start, self.start + self._given))

    def _count(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self._given += len(samples)
        return samples
