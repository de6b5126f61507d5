"""Subscribe: passes a subscription on to a client, and lets go of one that does not read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.events import AudioLost, DeviceState, Fault, Final, Partial, Speech, Translation
from rtstream.languages import canonical, within
from rtstream.publish.items import Gap, SlowSubscriberError
from rtstream.wire.convert import read_position, to_seconds
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rtstream.publish.broker import Broker
    from rtstream.publish.items import Item, Position
    from rtstream.publish.subscription import Subscription

    Write = Callable[[Item | Position], Awaitable[None]]

HEARTBEAT_SECONDS = 15.0
HEARTBEAT_RANGE = (1.0, 600.0)
LONGEST_EPOCH = 100

_KINDS: dict[pb.EventKind, type] = {
    pb.EVENT_KIND_PARTIAL: Partial,
    pb.EVENT_KIND_FINAL: Final,
    pb.EVENT_KIND_TRANSLATION: Translation,
    pb.EVENT_KIND_AUDIO_LOST: AudioLost,
    pb.EVENT_KIND_DEVICE_STATE: DeviceState,
    pb.EVENT_KIND_FAULT: Fault,
    pb.EVENT_KIND_SPEECH: Speech,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A SubscribeRequest that has been checked; ``kinds``: classes of events.

    ``languages``: of translations; None for all that are made, and that are held of those that were made once.
    """

    resume_after: Position | None
    from_start: bool
    max_age: float | None
    kinds: frozenset[type]
    words: bool
    heartbeat: float
    languages: frozenset[str] | None
    partial_translations: bool

    @classmethod
    def read(cls, request: pb.SubscribeRequest, made: Sequence[str]) -> Wanted:
        """Check a request to a service that translates into ``made``. Raises RequestFailedError."""
        resume_after = None
        if request.HasField("resume_after"):
            resume_after = read_position(request.resume_after)
            if request.from_start:
                raise invalid("from_start", "not possible together with resume_after; choose one")
            if not 0 < len(resume_after.epoch) <= LONGEST_EPOCH or resume_after.sequence >= 1 << 63:
                raise invalid("resume_after", "its epoch and sequence must be those of a final or heartbeat")
        max_age = to_seconds(request.max_age) if request.HasField("max_age") else None
        if max_age is not None:
            if request.from_start or resume_after is not None:
                raise invalid("max_age", "not possible together with resume_after or from_start; choose one")
            if max_age < 0:
                raise invalid("max_age", f"{max_age:g} s is not possible; it must be at least 0")
        if unknown := [kind for kind in request.kinds if kind not in pb.EventKind.values() or not kind]:
            raise invalid("kinds", f"{unknown[0]} is no kind of event")
        kinds = frozenset(_KINDS[kind] for kind in request.kinds if kind in _KINDS)
        heartbeat = (
            to_seconds(request.heartbeat_interval) if request.HasField("heartbeat_interval") else HEARTBEAT_SECONDS
        )
        low, high = HEARTBEAT_RANGE
        if not low <= heartbeat <= high:
            raise invalid("heartbeat_interval", f"{heartbeat:g} s is not possible; it must be {low:g} to {high:g} s")
        return cls(
            resume_after,
            request.from_start,
            max_age,
            kinds if request.kinds else frozenset(_KINDS.values()),
            request.words,
            heartbeat,
            made_languages(request.languages, made),
            not request.no_partial_translations,
        )

    def includes(self, item: Item) -> bool:
        """Whether the client is to be sent an item."""
        if isinstance(item, Gap):
            return True
        if isinstance(item.event, Translation) and self.languages is not None:
            return Translation in self.kinds and item.event.language in self.languages
        return type(item.event) in self.kinds


def made_languages(wanted: Sequence[str], made: Sequence[str]) -> frozenset[str] | None:
    """Those of the languages that are made which are wanted; None if none are named. Raises RequestFailedError."""
    found: set[str] = set()
    for language in wanted:
        try:
            tag = canonical(language)
        except ValueError as error:
            raise invalid("languages", str(error)) from None
        matching = {name for name in made if within(name, tag)}
        if not matching:
            all_made = f"it does into {', '.join(made)}" if made else "it does not translate"
            raise invalid("languages", f"the service does not translate into '{language}'; {all_made}")
        found |= matching
    return frozenset(found) or None


async def pass_on(wanted: Wanted, broker: Broker, write: Write, patience: float, idle_seconds: float) -> None:
    """Write what is published until the client leaves; a position is a heartbeat. Raises RequestFailedError.

    Writing to a client that does not read would wait for ever, once what the network lets wait is full: it is given
    ``idle_seconds`` for an event, and ``patience`` seconds from when its queue has overflowed.
    """
    async with broker.subscribe(
        resume_after=wanted.resume_after,
        from_start=wanted.from_start,
        max_age_seconds=wanted.max_age,
        partials=Partial in wanted.kinds,
        speech=Speech in wanted.kinds,
        partial_translations=Translation in wanted.kinds and wanted.partial_translations,
    ) as subscription:
        await subscription.find_start()
        sender = _Sender(wanted, subscription, write, idle_seconds)
        sending = asyncio.ensure_future(sender.run())
        overflow = asyncio.ensure_future(subscription.overflow())
        try:
            await asyncio.wait({sending, overflow}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                await asyncio.wait({sending}, timeout=patience)
            if sending.done():
                sending.result()
            raise _too_slow(sender.sent)
        except SlowSubscriberError:
            raise _too_slow(sender.sent) from None
        finally:
            sending.cancel()
            overflow.cancel()


class _Sender:
    """``sent``: the number of the last final that was written, or passed over."""

    def __init__(self, wanted: Wanted, subscription: Subscription, write: Write, idle_seconds: float) -> None:
        self.sent = subscription.position
        self._wanted = wanted
        self._subscription = subscription
        self._give = write
        self._idle_seconds = idle_seconds

    async def run(self) -> None:
        """Write until an error ends it."""
        clock = asyncio.get_running_loop().time
        await self._write(self._subscription.position)
        due = clock() + self._wanted.heartbeat
        while True:
            try:
                async with asyncio.timeout_at(due):
                    item = await self._subscription.get()
            except TimeoutError:
                await self._write(self._subscription.position)
                due = clock() + self._wanted.heartbeat
                continue
            if item is None:
                raise RequestFailedError("STOPPING", "the service ends; subscribe again when it is back")
            if self._wanted.includes(item):
                await self._write(item)
                due = clock() + self._wanted.heartbeat
            self.sent = self._subscription.position

    async def _write(self, news: Item | Position) -> None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self._give(news)
        except TimeoutError:
            raise SlowSubscriberError(self.sent) from None


def _too_slow(last: Position) -> RequestFailedError:
    error = SlowSubscriberError(last)
    return RequestFailedError("SLOW_SUBSCRIBER", str(error), epoch=last.epoch, sequence=str(last.sequence))
