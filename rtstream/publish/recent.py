"""The newest finals in memory, and their translations, in the order in which they were published."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from rtstream.publish.items import Position, Published

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recent:
    """The last ``most_finals`` finals, and the translations that came behind them.

    ``unstored``: how many items, the newest, wait for the store. The broker's lock guards it.
    """

    def __init__(self, most_finals: int) -> None:
        self.unstored = 0
        self._most = most_finals
        self._items: deque[Published] = deque()
        self._finals = 0

    def __iter__(self) -> Iterator[Published]:
        return iter(self._items)

    @property
    def first(self) -> int | None:
        """The number of the oldest final; None if there is none."""
        return next((item.sequence for item in self._items if item.sequence is not None), None)

    @property
    def first_unstored(self) -> int | None:
        """The number of the oldest final that waits for the store."""
        return next((item.sequence for item in self.waiting(self.unstored) if item.sequence is not None), None)

    def add(self, item: Published, *, stored: bool) -> None:
        """Take a final or a translation of one; what is too much goes, whether it was stored or not."""
        self._items.append(item)
        self._finals += item.sequence is not None
        self.unstored += not stored
        while self._finals > self._most:
            self._drop()
        self._drop_headless(0)
        self.unstored = min(self.unstored, len(self._items))

    def waiting(self, most: int) -> list[Published]:
        """The oldest of the items that wait for the store, in order."""
        first = len(self._items) - self.unstored
        return list(itertools.islice(self._items, first, min(first + most, len(self._items))))

    def forget(self, before: float = inf) -> None:
        """Let go of what is stored and was published before this uptime."""
        while len(self._items) > self.unstored and self._items[0].uptime < before:
            self._drop()
        self._drop_headless(self.unstored)

    def renumber(self, epoch: str, by: int) -> None:
        """Give all of them higher numbers, of another epoch."""

        def moved(item: Published) -> Published:
            sequence = None if item.sequence is None else item.sequence + by
            of = None if item.translates is None else Position(epoch, item.translates.sequence + by)
            return replace(item, epoch=epoch, sequence=sequence, translates=of, follows=item.follows + by)

        self._items = deque(map(moved, self._items))

    def _drop_headless(self, keep: int) -> None:
        """Drop translations at the begin, which no final is before."""
        while len(self._items) > keep and self._items[0].sequence is None:
            self._drop()

    def _drop(self) -> None:
        self._finals -= self._items.popleft().sequence is not None
