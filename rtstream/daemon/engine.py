"""Recognition of many streams on a few threads: a chunk of one, then a chunk of the next, the first ones before all."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

import structlog

from rtstream.daemon.load_meter import LoadMeter

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()


class Task(Protocol):
    """What the engine serves in turn. ``has_work`` is asked with the engine's lock held."""

    @property
    def first(self) -> bool:
        """Whether it goes before all that are not."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether there is something that can be done now."""
        ...

    def step(self) -> None:
        """Do a piece of it, without the lock; one thread at a time. Raises nothing."""
        ...


class Engine:
    """Worker threads and the order in which tasks get them. Tasks guard what they share with it by ``lock``.

    ``prepares``: whether tasks may use idle time for what may turn out to be in vain.
    """

    def __init__(self, threads: int = 1, load: LoadMeter | None = None, *, prepares: bool = True) -> None:
        self.load = load or LoadMeter()
        self._prepares = prepares
        self.lock = threading.Condition()
        """Notified whenever a step has been done."""
        self._turn: deque[Task] = deque()  # have work and wait for a thread
        self._running: set[Task] = set()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"recognition-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing can be done now."""
        with self.lock:
            return not self._turn and not self._running

    def wake(self, task: Task) -> None:
        """Look at a task that may have work now; with the lock held."""
        if task not in self._running and task not in self._turn and task.has_work:
            self._queue(task)
            self.lock.notify_all()

    def may_prepare(self, task: Task) -> bool:
        """Whether the task that is being served may look ahead: nothing waits, of its own or of another's."""
        with self.lock:
            return self._prepares and not self._turn and not task.has_work

    def wait_for(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until a condition holds, which is asked with the lock held; whether it does."""
        with self.lock:
            return self.lock.wait_for(condition, seconds)

    def is_done(self, task: Task) -> bool:
        """Whether a task has nothing to do and nothing is done for it; with the lock held."""
        return task not in self._running and not task.has_work

    def close(self, seconds: float = 5.0) -> None:
        """Stop after the steps that are being done, or without them after ``seconds``, of all threads together."""
        deadline = time.monotonic() + seconds
        with self.lock:
            self._stopping = True
            self.lock.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self.lock:
                self.lock.wait_for(lambda: self._turn or self._stopping)
                if self._stopping:
                    return
                task = self._turn.popleft()
                self._running.add(task)
            try:
                task.step()
            except Exception:  # such as for want of memory; without its thread nothing would be recognised any more
                log.exception("a step has failed")
            with self.lock:
                self._running.remove(task)
                if task.has_work:
                    self._queue(task)
                self.lock.notify_all()

    def _queue(self, task: Task) -> None:
        """Have a task wait for a thread behind all others, or before them if it is one of the first."""
        if task.first:
            self._turn.appendleft(task)
        else:
            self._turn.append(task)
