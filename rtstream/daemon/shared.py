"""An answer that takes long to find, for all who ask for it meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from rtstream.daemon.leaving import Aside

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FRESH_SECONDS = 1.0


class Shared(Generic[T]):
    """Calls ``find``, in a thread of its own, once for all who ask while it runs and for a moment after."""

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._aside: Aside | None = None
        self._answer: asyncio.Future[T] | None = None
        self._until = 0.0

    async def get(self) -> T:
        """The answer. Raises what ``find`` does."""
        if self._answer is None or (self._answer.done() and time.monotonic() >= self._until):
            self._answer = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._answer)  # who leaves does not take the others' answer away

    async def _ask(self) -> T:
        self._aside = self._aside or Aside("devices")
        try:
            return await self._aside.run(self._find)
        finally:
            self._until = time.monotonic() + FRESH_SECONDS
