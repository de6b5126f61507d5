"""The process that captures, from the side of the one that started it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from typing import TYPE_CHECKING, Self

from rtstream.audio.capture_protocol import Kind, Parser
from rtstream.audio.devices import CAPTURE_PROGRAM

if TYPE_CHECKING:
    from types import TracebackType

    from rtstream.audio.capture_protocol import CaptureRequest, Message

_PIECE = 1 << 16
_OPENING_SECONDS = 1.0


class CaptureProcess:
    """Use it as a context manager. Once ``closing``, a descriptor, is readable, it has nothing more to say."""

    def __init__(self, request: CaptureRequest, closing: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*CAPTURE_PROGRAM, request.to_json()],
            bufsize=0,
            stdin=subprocess.PIPE,  # never written: its end tells the process that we are gone
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # ALSA's libraries chatter there
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._closing = closing
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._poll.register(closing, select.POLLIN)
        self._parser = Parser()
        self._opened = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if not self._opened:
            # Killed while a library makes its files, it would leave them half made (rtstream.audio.jack).
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_OPENING_SECONDS)
        # No more politeness: it could hang together with the driver, and the device is released by its end.
        self._process.kill()
        self._process.stdout.close()
        self._process.wait()

    def read(self, seconds: float) -> Message | None:
        """Give the next message, None when there will be none. Raises TimeoutError if it does not come in time."""
        deadline = time.monotonic() + seconds
        while (message := self._parser.take()) is None:
            ready = {descriptor for descriptor, _ in self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)}
            if self._closing in ready:
                return None
            if not ready:
                raise TimeoutError
            piece = os.read(self._out, _PIECE)
            if not piece:
                return None
            self._parser.feed(piece)
        self._opened = self._opened or message.kind is Kind.FORMAT
        return message
