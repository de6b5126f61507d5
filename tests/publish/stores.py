"""Stores for tests of the broker, and what an earlier run left in one."""

from rtstream.publish.broker import Broker
from rtstream.publish.store import Store
from tests.publish.finals import final


def open_store(path, size=1 << 22, age=1e6, clocks=None):
    return Store(path / "finals.db", max_age_seconds=age, max_bytes=size, clocks=clocks)


async def take(subscription, count):
    return [await anext(subscription) for _ in range(count)]


async def earlier_run(path, count):
    """The finals, so many of them, of a run that has ended."""
    broker = Broker(open_store(path))
    for number in range(1, count + 1):
        broker.publish(final(number))
    items = await take(broker.subscribe(from_start=True), count)
    broker.close()
    return items


def away(path):
    """A store whose file is put aside, and a link to nowhere in its place; at no moment is there nothing, see back."""
    (path / "aside").hardlink_to(path / "finals.db")
    (path / "link").symlink_to(path / "no folder" / "finals.db")
    (path / "link").replace(path / "finals.db")


def back(path):
    """In one step: a broker that looks between two would begin a new store where it finds none."""
    (path / "aside").replace(path / "finals.db")
