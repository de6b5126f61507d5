"""The end of the process, whatever its threads are doing."""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def leave(code: int) -> NoReturn:
    """End the process at once with ``code``, once all is published and stored.

    A thread may be inside a model, a driver or a disk that hangs. The interpreter would wait for some of them, and take
    the ground from under the others: what C++ runs there then ends the process by a signal (SIGABRT).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class Aside:
    """A thread of its own for what the event loop must not wait for, and what must not wait for other such things.

    The loop's own threads are few, and may all be inside a sound system or a disk that hangs.
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(1, name)
        self._threads.submit(lambda: None)  # now, while there can be threads

    async def run(self, function: Callable[[], T]) -> T:
        """Call a function in the thread, after those before it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)
