"""From the one who recognises to all who listen: numbers the finals, stores them, hands everything out.

A thread of its own does that, so that neither a disk nor a subscriber ever holds up recognition.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rtstream.events import Fault, Final, Translation
from rtstream.publish.clock import Clocks
from rtstream.publish.items import Position, Published, SinceFinal, Standing, passing_kind
from rtstream.publish.recent import Recent
from rtstream.publish.store import StoreError, new_epoch
from rtstream.publish.subscription import LiveQueue, Subscription

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from rtstream.events import ServiceEvent
    from rtstream.publish.store import Store

PENDING = 1_000
"""Events that may wait for the disk. At a final every two seconds that is half an hour."""
PENDING_PARTIALS = 64
HISTORY_PAGE = 100
"""Finals read at a time for a subscriber that catches up."""
NUMBERED = 1_000
"""Finals whose number is known when their translation comes."""
BACKFILL = 16
"""Finals and translations stored in one transaction when the disk is back."""
RETRY_SECONDS = 10.0
"""How often a store that failed is tried again, and one that works is looked at."""
SHORTEST_WAIT = 0.05


class Held(NamedTuple):
    """What a subscriber that catches up is given next: ``items``, ``last`` being the last number of all.

    ``revision`` changes with each item that is held.
    """

    last: Position
    revision: int
    items: list[Published]


class Broker:
    """Takes events from any thread and gives them to subscribers on event loops.

    Finals, and their translations, are durable in ``store`` before anyone sees them. The last ``held_finals`` are in
    memory too, which is all that there is without a store, and from which a subscriber that returns is served whatever
    the disk does.
    ``open_store`` gives a store instead: now or, if it cannot be opened, as soon as it can. ``on_fault`` hears, on the
    broker's thread, of every Fault that the broker itself publishes. :meth:`close` takes over the store.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        open_store: Callable[[], Store] | None = None,
        epoch: str | None = None,
        queue_size: int = 256,
        held_finals: int = 1000,
        retry_seconds: float = RETRY_SECONDS,
        on_fault: Callable[[Fault], None] | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self.closed = False
        self.finals_published = 0
        self.finals_unstored = 0
        """Finals that the store did not take when they were published; it may have got them later."""
        self.finals_lost = 0
        """Finals that were dropped before anyone saw them, because the disk hung for very long."""
        self.subscribers_ended = 0
        """Subscribers that were ended because they read too slowly."""
        self._replaced = 0
        self._open_store = open_store
        self._failed: StoreError | None = None
        self._told: str | None = None  # the code of the fault that stands
        self._retry_at = 0.0  # by the monotonic clock
        self._retry_seconds = retry_seconds
        self._store = store or self._opened()
        self._queue_size = queue_size
        self._on_fault = on_fault
        self._standing = Standing()
        self._uptime = (clocks or Clocks()).uptime
        self._last = self._store.last if self._store is not None else Position(epoch or new_epoch(), 0)
        self._epochs = {self._last.epoch}  # of this run
        self._shifts = dict(self._store.shifts) if self._store is not None else {}  # see Store.shifts
        self._recent = Recent(held_finals)
        self._revision = 0  # how many items were held so far
        self._numbers: dict[int, Position] = {}  # of the newest finals, by segment
        self._subscriptions: set[Subscription] = set()
        self._lock = threading.Lock()  # guards all that a subscriber sees
        self._pending: deque[ServiceEvent] = deque()
        self._pending_partials = 0
        self._lost = 0
        self._limits: tuple[float, int] | None = None  # of the store, that are to be set
        self._arrived = threading.Condition()  # guards what is pending
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether events are handed out: False after :meth:`close`, or if an error of this program ended the thread."""
        return self._thread.is_alive()

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)

    @property
    def partials_replaced(self) -> int:
        """Partials that slow subscribers were not given, since newer ones were there."""
        with self._lock:
            return self._replaced + sum(subscription.queue.replaced for subscription in self._subscriptions)

    @property
    def last(self) -> Position:
        """The number of the last final that was given to subscribers."""
        with self._lock:
            return self._last

    def publish(self, event: ServiceEvent) -> None:
        """Take an event, in order; returns at once, from any thread. After :meth:`close` it does nothing."""
        with self._arrived:
            if self._closing:
                return
            if passing_kind(event):
                if self._pending_partials >= PENDING_PARTIALS:
                    self._pending = deque(event for event in self._pending if passing_kind(event) is None)
                    self._pending_partials = 0
                self._pending_partials += 1
            elif len(self._pending) - self._pending_partials >= PENDING:
                self._lost += isinstance(event, Final)
                return
            self._pending.append(event)
            self._arrived.notify()

    def retain(self, *, max_age_seconds: float, max_bytes: int) -> None:
        """Change how much the store keeps, see :meth:`Store.retain`; returns at once, from any thread."""
        with self._arrived:
            self._limits = max_age_seconds, max_bytes
            self._arrived.notify()

    def subscribe(
        self,
        *,
        resume_after: tuple[str, int] | None = None,
        from_start: bool = False,
        max_age_seconds: float | None = None,
        partials: bool = True,
        partial_translations: bool = True,
        speech: bool = True,
        queue_size: int | None = None,
    ) -> Subscription:
        """Begin to listen, on the running event loop: from now on, after a final, or from the oldest that is held.

        ``max_age_seconds``: from the oldest that is no older.
        """
        last = self.last
        start = Position(*resume_after) if resume_after is not None else Position(last.epoch, 0) if from_start else last
        resumed = Position(*resume_after) if resume_after is not None else None
        queue = LiveQueue(
            queue_size or self._queue_size,
            partials=partials,
            partial_translations=partial_translations,
            speech=speech,
        )
        subscription = Subscription(self, queue, start, resumed, max_age_seconds)
        with self._lock:
            subscription.tell(self._standing)
            if resumed is None and not from_start and max_age_seconds is None:
                # At once, not when it is first read: nothing that is published from here on is missed.
                subscription.begin_live(self._last)
                self._subscriptions.add(subscription)
        return subscription

    def close(self, seconds: float | None = None) -> bool:
        """Hand out what was published, end all subscriptions and close the store; whether that was done.

        Waits for the disk, up to ``seconds``.
        """
        with self._arrived:
            self._closing = True
            self._arrived.notify()
        self._thread.join(seconds)
        self.closed = True
        self._notify(self._subscriptions)
        if self._thread.is_alive():
            return False
        if self._store is not None:
            self._store.close()
            self._store = None
        return True

    # What subscriptions ask.

    def take(self, queue: LiveQueue) -> Published | None:
        """The next item of a queue."""
        with self._lock:
            return queue.take()

    def attach(self, subscription: Subscription) -> bool:
        """Feed the subscription from now on, if it has all that is held so far; else False."""
        with self._lock:
            subscription.position = self._renumbered(subscription.position)
            if subscription.revision != self._revision and not self.closed:
                return False
            subscription.tell(self._standing)
            self._subscriptions.add(subscription)
            return True

    def detach(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
                self._replaced += subscription.queue.replaced

    def knows(self, position: Position) -> bool:
        """Whether the numbers after ``position`` are this history's. Raises StoreError while that cannot be told."""
        with self._lock:  # over all of it: between two looks the store may have been opened
            here = position.epoch in self._epochs or position.epoch in self._shifts
            if not here and self._store is None and self._failed is not None:
                raise self._failed  # it may be in the history that cannot be opened yet
            if self._renumbered(position).sequence > self._last.sequence:
                return False
            store = self._store
        return here or (store is not None and store.knows(position.epoch))

    def before(self, age_seconds: float, *, stored: bool = True) -> Position:
        """The number before the oldest final that is held and not older.

        Reads the disk where the memory does not go back so far, unless those that are ``stored`` do not matter. Raises
        StoreError.
        """
        with self._lock:
            self._forget_old()
            last, youngest = self._last, self._uptime() - age_seconds
            finals = [(item.sequence, item.uptime) for item in self._recent if item.sequence is not None]
            found = [sequence for sequence, uptime in finals if uptime >= youngest]
            whole = len(found) < len(finals)
        if stored and not whole and (store := self._store) is not None:
            first = store.first_within(age_seconds)
            found += [] if first is None else [first]
        return Position(last.epoch, min(found) - 1) if found else last

    def held_after(self, position: Position, had: SinceFinal, *, stored: bool = True) -> Held:
        """The next finals after ``position`` that are held, and translations, but for those that were ``had`` there.

        Reads the disk for what is no longer in memory, unless those that are ``stored`` do not matter. Raises
        StoreError.
        """
        with self._lock:
            self._forget_old()
            sequence = self._renumbered(position).sequence
            last, revision = self._last, self._revision
            in_memory = self._recent.first or last.sequence + 1
            recent = [item for item in self._recent if item.place >= sequence]

        def is_new(item: Published) -> bool:
            return item.place > sequence or (item.sequence is None and not had.has(item))

        found: list[Published] = []
        # Also for the translations behind a final that is not in memory itself.
        if stored and in_memory > max(sequence, 1) and (store := self._store) is not None:
            found = [item for item in store.after(sequence, HISTORY_PAGE) if item.place < in_memory and is_new(item)]
            if store.notices:
                with self._arrived:
                    self._arrived.notify()
        return Held(last, revision, found or [item for item in recent if is_new(item)][:HISTORY_PAGE])

    def _renumbered(self, position: Position) -> Position:
        """A number as it is in the present history; with the lock held."""
        shift = self._shifts.get(position.epoch)
        return position if shift is None else Position(self._last.epoch, position.sequence + shift)

    def _forget_old(self) -> None:
        """Let go of finals that are older than what the store keeps; with the lock held."""
        if (store := self._store) is not None:
            self._recent.forget(before=self._uptime() - store.max_age_seconds)

    # The broker's own thread.

    def _run(self) -> None:
        if self._failed is not None:
            self._tell_failure(self._failed)
        elif self._store is not None and self._store.trouble is not None:
            self._fail(self._store.trouble)
        while True:
            self._tell_notices()
            with self._arrived:
                if not self._pending and not self._closing and self._limits is None:
                    looks = self._store is not None or self._failed is not None
                    self._arrived.wait(max(self._retry_seconds, SHORTEST_WAIT) if looks else None)
                events, self._pending, self._pending_partials = self._pending, deque(), 0
                lost, self._lost = self._lost, 0
                limits, self._limits = self._limits, None
                closing = self._closing
            if limits is not None and self._store is not None:
                with suppress(StoreError):  # a disk that is at fault is told with the next final
                    self._store.retain(max_age_seconds=limits[0], max_bytes=limits[1])
            if lost:
                self.finals_lost += lost
                self._report(Fault("FINALS_LOST", f"{lost} finals were dropped while the store hung; check the disk"))
            if closing:
                self._retry_at = 0.0  # it is the last time
            self._hand_out(events)
            if closing and not events:
                return

    def _hand_out(self, events: Iterable[ServiceEvent]) -> None:
        storing = self._catch_up()
        items = self._numbered(events)
        held = [item for item in items if item.is_held]
        finals = sum(item.sequence is not None for item in held)
        stored = not held or (storing and self._stored(held))
        if not stored:
            self.finals_unstored += finals if self._failed is not None else 0
            # Numbers that are nowhere stored could be given again after a restart: they are of an epoch of their own.
            items = self._numbered(events)
            if finals and self._store is not None and self._recent.first_unstored is None:
                self._store.mark_incomplete(incomplete=True)
        self.finals_published += finals
        self._distribute(items, stored=stored)

    def _numbered(self, events: Iterable[ServiceEvent]) -> list[Published]:
        """Number finals after the last one, and give their translations the same numbers."""
        (epoch, sequence), now = self._last, self._uptime()
        items = []
        for event in events:
            number = translates = None
            if isinstance(event, Final):
                number = sequence = sequence + 1
                self._numbers[event.segment] = Position(epoch, number)
                if len(self._numbers) > NUMBERED:
                    del self._numbers[next(iter(self._numbers))]
            elif isinstance(event, Translation) and event.final:
                translates = self._numbers.get(event.segment)
            items.append(Published(event, epoch, number, translates, sequence, uptime=now))
        return items

    def _opened(self) -> Store | None:
        """The store, if there is to be one and it can be opened."""
        try:
            return None if self._open_store is None else self._open_store()
        except StoreError as error:
            self._failed = error
            self._retry_at = time.monotonic() + self._retry_seconds
            return None

    def _catch_up(self) -> bool:
        """Have the store take what it could not take before; whether it takes finals now."""
        with self._lock:
            self._forget_old()
        if self._failed is not None and time.monotonic() < self._retry_at:
            return False
        store = self._store
        if store is None:
            if (store := self._opened()) is None:
                if self._failed is not None:
                    self._fail(self._failed)
                return False
            self._go_on_in(store)
        try:
            if store.check():
                self._forget_stored()
            if self._behind(store):
                self._go_on_in(store)
            if self._failed is not None:
                self._append_held(store)
        except StoreError as error:
            self._fail(error)
            return False
        if self._failed is not None:
            self._failed = None
            self._tell_recovery(f"store {store.path}: works again")
        return True

    def _append_held(self, store: Store) -> None:
        store.append([])  # also when nothing waits: it has recovered only if it can be written
        while waiting := self._recent.waiting(BACKFILL):
            store.append(waiting)
            with self._lock:
                self._recent.unstored -= len(waiting)
        store.mark_incomplete(incomplete=False)

    def _forget_stored(self) -> None:
        """Let go of finals that the store had: who deletes it wants them gone."""
        with self._lock:
            self._recent.forget()

    def _behind(self, store: Store) -> bool:
        """Whether the store is of a history that has other finals of the numbers that are to come."""
        return store.last.sequence >= (self._recent.first_unstored or self._last.sequence + 1)

    def _go_on_in(self, store: Store) -> None:
        """Go on after the finals of a store that was opened late: what was numbered without it gets higher numbers."""
        with self._lock:
            self._store = store  # with the numbers: who reads between them would miss what only it has
            self._shifts = {**store.shifts, **self._shifts}
            if not self._behind(store):
                return
            by = store.last.sequence
            for epoch in {*self._shifts, *self._epochs} - store.shifts.keys():
                self._shifts[epoch] = self._shifts.get(epoch, 0) + by
                store.renumber(epoch, self._shifts[epoch])
            self._last = Position(new_epoch(), self._last.sequence + by)
            self._epochs.add(self._last.epoch)
            epoch = self._last.epoch
            self._recent.renumber(epoch, by)
            self._numbers = {of: Position(epoch, number.sequence + by) for of, number in self._numbers.items()}

    def _stored(self, held: list[Published]) -> bool:
        """Make finals and translations durable. When that fails, a new epoch begins."""
        assert self._store is not None
        try:
            self._store.append(held)
        except StoreError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: StoreError) -> None:
        """Note that the store fails, and begin a new epoch if it did not before."""
        if self._failed is None and self._store is not None:
            with self._lock:
                self._last = Position(new_epoch(), self._last.sequence)
                self._epochs.add(self._last.epoch)
        self._failed = error
        self._retry_at = time.monotonic() + self._retry_seconds
        self._tell_failure(error)

    def _tell_failure(self, error: StoreError) -> None:
        if self._told != error.code:
            self._tell_recovery(f"it is {error.code} now")
            self._told = error.code
            self._report(Fault(error.code, f"{error}; transcripts go on, but a restart would lose them"))

    def _tell_recovery(self, message: str) -> None:
        code, self._told = self._told, None
        if code is not None:
            self._report(Fault(code, message, recovered=True))

    def _tell_notices(self) -> None:
        if self._store is not None:
            while self._store.notices:
                self._report(self._store.notices.pop(0))

    def _report(self, fault: Fault) -> None:
        fault = replace(fault, time=round(time.time(), 3))
        if self._on_fault is not None:
            self._on_fault(fault)
        self._distribute([Published(fault, self._last.epoch)])

    def _distribute(self, items: list[Published], *, stored: bool = True) -> None:
        if not items:
            return
        with self._lock:
            for item in items:
                if item.position is not None:
                    self._last = item.position
                if item.is_held:
                    self._recent.add(item, stored=stored)
                    self._revision += 1
                self._standing.note(item)
                for subscription in self._subscriptions:
                    subscription.queue.put(item)
            overflowed = {subscription for subscription in self._subscriptions if subscription.queue.overflowed}
            self.subscribers_ended += len(overflowed)
            told = set(self._subscriptions)
            self._subscriptions -= overflowed
            self._replaced += sum(subscription.queue.replaced for subscription in overflowed)
        self._notify(told)

    @staticmethod
    def _notify(subscriptions: Iterable[Subscription]) -> None:
        """Wake subscriptions, with one call for each event loop."""
        loops: dict[asyncio.AbstractEventLoop, list[Subscription]] = {}
        for subscription in subscriptions:
            loops.setdefault(subscription.loop, []).append(subscription)
        for loop, woken in loops.items():
            with suppress(RuntimeError):  # the loop is closed, and its subscribers with it
                loop.call_soon_threadsafe(_wake, woken)


def _wake(subscriptions: list[Subscription]) -> None:
    for subscription in subscriptions:
        subscription.notify()
