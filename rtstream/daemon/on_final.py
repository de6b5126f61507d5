"""A command of the user's own for every final: its text on standard input, never through a shell, never for long."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from rtstream.events import Fault
from rtstream.formats.lines import time_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.config import Service as ServiceConfig
    from rtstream.events import Final, ServiceEvent

WAITING = 32
"""Finals that may wait for the command; a command that takes longer than people talk misses the oldest."""
CODE = "ON_FINAL_FAILED"
WRITTEN_BYTES = 400
"""Of what the command writes to standard error: the end, whose last line is told."""


class OnFinal:
    """Runs ``settings().on_final`` for one final after the other, on a thread of its own, which begins when needed.

    A command that fails is a fault until one succeeds again; so is one that is not done after ``on_final_seconds``, and
    is ended then with all that it has started. :meth:`submit` returns at once.
    """

    def __init__(self, settings: Callable[[], ServiceConfig], publish: Callable[[ServiceEvent], None]) -> None:
        self._settings = settings
        self._publish = publish
        self._changed = threading.Condition()
        self._waiting: deque[Final] = deque()
        self._missed = 0
        self._failed = False
        self._busy = False
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, final: Final) -> None:
        """Take a final; one without text, or where there is no command, is passed over."""
        if not final.text or not self._settings().on_final:
            return
        with self._changed:
            if self._closing:
                return
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self._missed += 1
            self._waiting.append(final)
            failure = self._start()
            self._changed.notify_all()
        if failure is not None:
            self._tell(self._settings().on_final[0], failure)

    def finish(self, seconds: float) -> None:
        """Run it for the finals that wait, for up to ``seconds``, and then no more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            if self._thread is not None:
                self._changed.wait_for(lambda: not (self._waiting or self._busy), max(0.0, seconds))
            self._waiting.clear()
            if self._process is not None:
                _kill(self._process)

    def _start(self) -> str | None:
        """Begin the thread, if there is none; why not, else None: then the next final tries it again."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="on_final", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                return f"cannot be started: {str(error) or 'no memory'}; the system allows no more threads or memory"
            self._thread = thread
        return None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                final = self._waiting.popleft()
                missed, self._missed = self._missed, 0
                self._busy = True
            settings = self._settings()
            if not settings.on_final:  # taken away meanwhile
                continue
            failure = self._command(settings.on_final, final, settings.on_final_seconds)
            if failure is None and missed:
                failure = f"takes longer than people talk: {missed} finals were passed over"
            self._tell(settings.on_final[0], failure)

    def _tell(self, name: str, failure: str | None) -> None:
        if failure is not None:
            self._publish(Fault(CODE, f"on_final: {name} {failure}"))
        elif self._failed:
            self._publish(Fault(CODE, f"on_final: {name} works again", recovered=True))
        self._failed = failure is not None

    def _command(self, command: tuple[str, ...], final: Final, seconds: float) -> str | None:
        """Run a command to its end; None if it has succeeded, else why not."""
        try:
            process = subprocess.Popen(  # noqa: S603 - an argument list of the user's own settings, and no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment(final),
                start_new_session=True,  # what it has started ends with it
            )
        except (OSError, ValueError) as error:
            return f"cannot be started: {getattr(error, 'strerror', None) or error}; check service.on_final"
        with self._changed:
            self._process = process
            self._changed.notify_all()
        try:
            _, written = process.communicate(f"{final.text}\n".encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"was not done after {seconds:g} s and was ended; see service.on_final_seconds"
        finally:
            with self._changed:
                self._process = None
            _let_go(process)
        if not process.returncode:
            return None
        lines = written[-WRITTEN_BYTES:].decode(errors="replace").split("\n")
        code = process.returncode
        ended = f"has failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        return ": ".join([ended, *[line for line in lines if line.strip()][-1:]])


def _environment(final: Final) -> dict[str, str]:
    found = {"RTSTREAM_SEGMENT": str(final.segment)}
    if final.confidence is not None:
        found["RTSTREAM_CONFIDENCE"] = f"{final.confidence:.3f}"
    if final.language:
        found["RTSTREAM_LANGUAGE"] = final.language
    if time := time_field(final.time):
        found["RTSTREAM_TIME"] = time["time"]
    return os.environ | found


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it has started, unless it has ended by itself."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with suppress(OSError):  # what was not written yet
                pipe.close()
