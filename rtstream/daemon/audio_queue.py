"""One stream on its way through the engine: audio in, bounded, events out."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog

from rtstream.events import SAMPLE_RATE, AudioBlock, AudioLost, Fault, Flushed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.daemon.engine import Engine
    from rtstream.events import ServiceEvent
    from rtstream.recognizer.pipeline import Pipeline

log = structlog.get_logger()

QUIET_SECONDS = 0.16
"""While nobody speaks so much audio is taken at a time: each time that a thread wakes costs more than what it does."""


class _Mark:
    """A place in the audio."""


_PAUSE = _Mark()
_ANSWERED_PAUSE = _Mark()
_FLUSH = _Mark()
_END = _Mark()


class AudioQueue:
    """A :class:`~rtstream.daemon.engine.Task`: the audio of one stream, of which at most ``seconds`` wait.

    ``sink`` gets the events in order, on the engine's threads, and None at the end; it must not wait. While ``held``
    gives True nothing is recognised: whoever takes the events is behind, and tells the end of it by :meth:`wake`.
    ``stepped`` is called on the engine's threads when there is room again, and must not wait either. ``first``: it is
    served before all that are not, however far behind it is. ``make_pipeline`` is also called anew when recognition has
    failed.
    """

    def __init__(
        self,
        engine: Engine,
        make_pipeline: Callable[[], Pipeline],
        sink: Callable[[ServiceEvent | Flushed | None], None],
        *,
        seconds: float,
        first: bool = False,
        held: Callable[[], bool] = lambda: False,
        stepped: Callable[[], None] = lambda: None,
    ) -> None:
        self.lost_samples = 0
        """Audio that was not recognised because recognition was behind."""
        self.cut_short = False
        """Whether some of it was given up at the end."""
        self.failures = 0
        """How often recognition has failed, each time a segment."""
        self.first = first
        self._engine = engine
        self._make_pipeline = make_pipeline
        self._sink = sink
        self._capacity = int(seconds * SAMPLE_RATE)
        self._least = min(int(QUIET_SECONDS * SAMPLE_RATE), self._capacity // 2)
        self._held = held
        self._stepped = stepped
        self._pipeline = make_pipeline()
        self._broken = False
        self._chunk = self._pipeline.chunk_samples
        self._waiting: deque[tuple[float, AudioBlock] | AudioLost | _Mark] = deque()
        self._samples = 0  # of the waiting audio
        self._others = 0  # that wait and are no audio
        self._quiet = False
        self._losing: AudioLost | None = None
        self._closed = False

    # For who brings the audio: any thread.

    @property
    def waiting_seconds(self) -> float:
        """How much audio waits for recognition."""
        return self._samples / SAMPLE_RATE

    @property
    def quiet(self) -> bool:
        """Whether nobody seems to speak, so that audio may gather before it is brought."""
        return self._quiet

    def offer(self, block: AudioBlock) -> bool:
        """Take a block if there is room, which there is for one of any size when nothing waits."""
        with self._engine.lock:
            if self._samples and self._samples + len(block.samples) > self._capacity:
                self._quiet = False  # what waits must make room
                self._engine.wake(self)
                return self._closed
            self._append((time.monotonic(), block))
            return True

    def put(self, block: AudioBlock) -> None:
        """Take a block as soon as there is room."""
        while not self.offer(block):
            self._engine.wait_for(lambda: self._closed or self._samples + len(block.samples) <= self._capacity)

    def put_live(self, block: AudioBlock) -> None:
        """Take a block or lose it, and what follows until half of what waits is done: one long gap, not many."""
        with self._engine.lock:
            room = self._capacity - self._samples
            if len(block.samples) > room or (self._losing is not None and room < self._capacity // 2):
                begin = block.position if self._losing is None else self._losing.position
                self._losing = AudioLost(begin, block.position + len(block.samples) - begin, "behind")
                self.lost_samples += len(block.samples)
                return
            self._tell_loss()
            self._append((time.monotonic(), block))

    def note(self, lost: AudioLost) -> None:
        """Pass on that audio was lost before it came here."""
        with self._engine.lock:
            self._tell_loss()
            self._append(lost)

    def pause(self, *, answered: bool = False) -> None:
        """Close the open segment: what follows, follows without a gap, but may be long in coming.

        ``answered``: with a Flushed when all before it has been given.
        """
        with self._engine.lock:
            self._append(_ANSWERED_PAUSE if answered else _PAUSE)

    def flush(self) -> None:
        """Close the open segment: nothing follows for now."""
        with self._engine.lock:
            self._tell_loss()
            self._append(_FLUSH)

    def end(self) -> None:
        """Say that nothing more comes."""
        with self._engine.lock:
            self._tell_loss()
            self._append(_END)

    def wake(self) -> None:
        """Say that the events are being taken again."""
        with self._engine.lock:
            self._engine.wake(self)

    def cut(self) -> None:
        """Give up the audio that waits, and tell so: there is no time for it."""
        with self._engine.lock:
            blocks = [item[1] for item in self._waiting if isinstance(item, tuple)]
            marks = [item for item in self._waiting if not isinstance(item, tuple)]
            self._waiting.clear()
            self._samples = 0
            if blocks:
                self.cut_short = True
                begin, end = blocks[0].position, blocks[-1].position + len(blocks[-1].samples)
                self.lost_samples += sum(len(block.samples) for block in blocks)
                self._waiting.append(AudioLost(begin, end - begin, "behind"))
            self._waiting.extend(mark for mark in marks if isinstance(mark, _Mark))
            self._others = len(self._waiting)
            self._engine.wake(self)

    def close(self) -> None:
        """Drop everything; no event comes after the one that is being made."""
        with self._engine.lock:
            self._closed = True
            self._waiting.clear()
            self._samples = self._others = 0
            self._engine.lock.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until all audio is recognised; whether it is."""
        return self._engine.wait_for(lambda: self._engine.is_done(self), seconds)

    def _append(self, item: tuple[float, AudioBlock] | AudioLost | _Mark) -> None:
        if self._closed:
            return
        self._waiting.append(item)
        if isinstance(item, tuple):
            self._samples += len(item[1].samples)
        else:
            self._others += 1
        self._engine.wake(self)

    def _tell_loss(self) -> None:
        if self._losing is not None:
            lost, self._losing = self._losing, None
            log.warning("recognition is behind", lost_seconds=round(lost.samples / SAMPLE_RATE, 2))
            self._append(lost)

    # For the engine.

    @property
    def has_work(self) -> bool:
        """Whether something waits that is worth a step, and its events would be taken."""
        least = self._least if self._quiet and not self._others else 0
        return bool(self._waiting) and self._samples >= least and not self._held()

    def step(self) -> None:
        """Recognise about a chunk of what waits."""
        items, samples, arrived = self._take()
        self._stepped()
        began = time.thread_time()
        for item in items:
            self._try(partial(self._do, item))
        latency = None if arrived is None else time.monotonic() - arrived
        self._quiet = self._pipeline.quiet
        if not self._quiet and not self._broken and self._engine.may_prepare(self):
            self._try(self._pipeline.prepare)
        self._engine.load.add(samples, time.thread_time() - began, latency)

    def _take(self) -> tuple[list[AudioBlock | AudioLost | _Mark], int, float | None]:
        """What to do next, blocks joined where they follow one another; its audio; when the last of it had come."""
        items: list[AudioBlock | AudioLost | _Mark] = []
        joined: list[AudioBlock] = []
        samples, arrived = 0, None
        with self._engine.lock:
            while self._waiting and samples < self._chunk:
                item = self._waiting.popleft()
                if not isinstance(item, tuple):
                    items += [*_join(joined), item]
                    joined = []
                    self._others -= 1
                    continue
                arrived, block = item
                if joined and block.position != joined[-1].position + len(joined[-1].samples):
                    items += _join(joined)
                    joined = []
                joined.append(block)
                samples += len(block.samples)
            self._samples -= samples
            self._engine.lock.notify_all()  # there is room
        return [*items, *_join(joined)], samples, arrived

    def _try(self, action: Callable[[], None]) -> None:
        try:
            if self._broken:
                self._renew()
            action()
        except Exception as error:  # a stream that fails must not end the others, nor its own next segment
            log.exception("recognition has failed")
            self.failures += 1
            self._broken = True
            with suppress(Exception):  # such as for want of memory: then before the next piece
                self._renew()
            self._give(Fault("RECOGNITION_FAILED", f"a segment was dropped: {type(error).__name__}: {error}"))

    def _renew(self) -> None:
        self._pipeline = self._make_pipeline()
        self._broken = False

    def _do(self, item: AudioBlock | AudioLost | _Mark) -> None:
        if isinstance(item, AudioLost):
            # The segment before the gap is complete, and its final comes before the news of the gap.
            for event in self._pipeline.finish():
                self._give(event)
            self._give(item)
            return
        if isinstance(item, AudioBlock):
            events = self._pipeline.push(item)
        else:
            pauses = item in {_PAUSE, _ANSWERED_PAUSE}
            events = self._pipeline.pause() if pauses else self._pipeline.finish()
        for event in events:
            self._give(event)
        if item is _ANSWERED_PAUSE:
            self._give(Flushed())
        if item is _END:
            self._sink(None)

    def _give(self, event: ServiceEvent | Flushed) -> None:
        if not self._closed:
            self._sink(event)


def _join(blocks: list[AudioBlock]) -> list[AudioBlock]:
    if len(blocks) <= 1:
        return blocks
    return [AudioBlock(np.concatenate([block.samples for block in blocks]), blocks[0].position)]
