"""One subscriber's view of what is published: first what it missed, then what happens."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self, TypeVar

from rtstream.publish.items import (
    Gap,
    Item,
    Position,
    Published,
    SinceFinal,
    SlowSubscriberError,
    Standing,
    passing_kind,
)
from rtstream.publish.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from rtstream.publish.broker import Broker, Held

T = TypeVar("T")

STORE_PATIENCE_SECONDS = 15.0
"""That a store may fail to be read: it may only lack a file descriptor, or be away until it is tried anew."""
STORE_PAUSE_SECONDS = 0.2
PARTIALS_KEPT = 8
"""Partials, and translations of such, that may wait while a subscriber reads; of more, the newest of a kind stays."""


class LiveQueue:
    """What waits for one subscriber. Bounded: partials give way, anything else that does not fit overflows it.

    The broker's lock guards it. ``partials``, ``partial_translations`` and ``speech``: whether such are wanted.
    """

    def __init__(self, size: int, *, partials: bool, partial_translations: bool = True, speech: bool = True) -> None:
        self._size = size
        self._wanted = {"partial": partials, "translation": partial_translations, "speech": speech}
        self._items: deque[Published] = deque()
        self._partials = 0
        self.overflowed = False
        self.replaced = 0

    def put(self, item: Published) -> None:
        """Take an item; when it does not fit, or did not before, the queue is empty and ``overflowed``."""
        if self.overflowed:
            return
        if kind := passing_kind(item.event):
            if not self._wanted[kind[0]]:
                return
            if self._partials >= PARTIALS_KEPT:
                self._drop_partials(kind)
            self._partials += 1
        elif len(self._items) - self._partials >= self._size:
            self._items.clear()
            self.overflowed = True
            return
        self._items.append(item)

    def take(self) -> Published | None:
        """Give the next item, None if there is none."""
        if not self._items:
            return None
        item = self._items.popleft()
        self._partials -= passing_kind(item.event) is not None
        return item

    def _drop_partials(self, coming: tuple[str, ...]) -> None:
        """Drop partials, but for the newest of each kind; also that of the kind of which a newer one is coming."""
        kept: deque[Published] = deque()
        newer = {coming}
        for item in reversed(self._items):
            kind = passing_kind(item.event)
            if kind is None or kind not in newer:
                kept.appendleft(item)
            if kind is not None:
                newer.add(kind)
        dropped = len(self._items) - len(kept)
        self._items = kept
        self._partials -= dropped
        self.replaced += dropped


class Subscription:
    """Iterate over it for Published and Gap; ``async with`` or :meth:`close` ends it. Made by ``Broker.subscribe``.

    Every final after the position that was asked for comes once and in order, with the translations that were made
    since, then the other events as they happen. Translations that were given between that final and the next one may
    have been read before: :class:`SinceFinal` passes over them.
    The iteration ends when the broker is closed. It raises SlowSubscriberError when the subscriber has not kept up.
    """

    def __init__(
        self,
        broker: Broker,
        queue: LiveQueue,
        start: Position,
        resume_after: Position | None,
        max_age_seconds: float | None = None,
    ) -> None:
        self.position = start
        """Of the last final that was given; before any, where the subscription began."""
        self.revision: int | None = None
        """Of what is held, if all of it has been given."""
        self.queue = queue
        self.loop = asyncio.get_running_loop()
        self._broker = broker
        self._unchecked = resume_after
        self._max_age = max_age_seconds
        self._exact = resume_after is not None  # else what is missing at the beginning was not asked for
        self._had = SinceFinal()
        # The final from which on translations are given; None: from the first one on that is.
        self._oldest = 0 if resume_after is not None else None
        self._history: deque[Item] = deque()
        self._known: dict[str, Published] = {}  # of what stands
        self._live = False
        self._wake = asyncio.Event()
        self._overflowed = asyncio.Event()
        self._closed = False
        self._failing_since: float | None = None  # the store, by the loop's time

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        item = await self.get()
        if item is None:
            raise StopAsyncIteration
        return item

    async def find_start(self) -> None:
        """See to it that ``position`` is where the subscription begins, for which the disk may have to be read."""
        if self._max_age is not None:
            age = self._max_age
            self.position = await self._read(
                lambda: self._broker.before(age), lambda: self._broker.before(age, stored=False)
            )
            self._max_age = None

    async def get(self) -> Item | None:
        """The next item; None when nothing more comes. May be cancelled without loss."""
        while not self._closed:
            if self._history:
                return self._given(self._history.popleft())
            if not self._live:
                await self._catch_up()
                continue
            self._wake.clear()
            if (item := self._broker.take(self.queue)) is not None:
                return self._given(item)
            if self.queue.overflowed:
                raise SlowSubscriberError(self.position)
            if self._broker.closed:
                break
            await self._wake.wait()
        return None

    def tell(self, standing: Standing) -> None:
        """Give what stands and is not known before all that is still to come; called by the broker."""
        self._history.extend(standing.news(self._known))

    def begin_live(self, last: Position) -> None:
        """Start with what is published from now on; called by the broker, which feeds the queue from here."""
        self.position = last
        self._live = True

    async def overflow(self) -> None:
        """Wait until the subscriber has fallen too far behind: for whoever hangs in passing on what it was given."""
        await self._overflowed.wait()

    def close(self) -> None:
        """End it, and with it the waiting :meth:`get`; what was not taken is dropped."""
        self._closed = self._live = True
        self._broker.detach(self)
        self._wake.set()

    def notify(self) -> None:
        """Say that something has changed; called on the subscriber's loop."""
        self._wake.set()
        if self.queue.overflowed:
            self._overflowed.set()

    async def _catch_up(self) -> None:
        """Read on in what is held, or turn to the queue when there is no more."""
        await self.find_start()
        if self._unchecked is not None:
            requested = self._unchecked
            known = await self._read(lambda: self._broker.knows(requested), lambda: False)
            self._unchecked = None
            if not known:
                self._history.append(Gap(requested, "unknown_epoch"))
                self.position, self._exact, self._oldest = Position(self._broker.last.epoch, 0), False, None
                return
        if self._broker.attach(self):
            self._live = True
            return
        position, had = self.position, self._had
        held = await self._read(
            lambda: self._broker.held_after(position, had), lambda: self._broker.held_after(position, had, stored=False)
        )
        if self._live:  # closed meanwhile
            return
        self._fill(held)

    async def _read(self, read: Callable[[], T], without: Callable[[], T]) -> T:
        """What the store gives, or what there is ``without`` it if it fails for longer: what is in it is a gap then."""
        while True:
            try:
                found = await asyncio.to_thread(read)
            except StoreError:
                now = self.loop.time()
                self._failing_since = now if self._failing_since is None else self._failing_since
                if now - self._failing_since >= STORE_PATIENCE_SECONDS:
                    return without()
                await asyncio.sleep(STORE_PAUSE_SECONDS)
            else:
                self._failing_since = None
                return found

    def _fill(self, held: Held) -> None:
        """Queue what was read, and a gap wherever numbers are missing."""
        at = self.position
        for item in held.items:
            self._had.take(item)
            if item.position is not None:
                self._note_gap(at, item.position.sequence - 1)
                self._exact = True
                if self._oldest is None or item.position.sequence > at.sequence + 1:
                    self._oldest = item.position.sequence
                at = item.position
            elif item.translates is None or self._oldest is None or item.translates.sequence < self._oldest:
                continue  # its final was not given
            self._history.append(item)
        self.revision = None if held.items else held.revision
        if not held.items and held.last.sequence > at.sequence:  # all of it is gone
            self._note_gap(at, held.last.sequence)
            self.position = held.last

    def _note_gap(self, at: Position, until: int) -> None:
        if self._exact and until > at.sequence:
            self._history.append(Gap(at, "expired", until - at.sequence))

    def _given(self, item: Item) -> Item:
        if isinstance(item, Published) and item.position is not None:
            self.position = item.position
        return item
