"""Connections to an adapter: bounded, and none stays that says nothing."""

import asyncio

import pytest

from rtstream.adapters.connections import Connections
from tests.rpc.calls import until


class Fake:
    def __init__(self, *, busy=False):
        self.busy = busy
        self.ended = False

    def end(self):
        self.ended = True


@pytest.fixture
async def places():
    made = Connections(most=4, per_client=2, idle_seconds=600)
    yield made
    await made.close()


async def test_client_that_has_too_many_loses_the_one_that_is_idle_for_longest(places):
    first, second, other, third = Fake(), Fake(), Fake(), Fake()
    assert places.admit(first, "a")
    assert places.admit(second, "a")
    assert places.admit(other, "b")
    places.rest(first)  # it was of use just now
    assert places.admit(third, "a")
    assert [c.ended for c in (first, second, other, third)] == [False, True, False, False]
    assert len(places) == 3
    assert places.refused == 1


async def test_client_whose_connections_are_all_busy_gets_no_more(places):
    for _ in range(2):
        assert places.admit(Fake(busy=True), "a")
    assert not places.admit(Fake(), "a")
    assert places.admit(Fake(), "b")


async def test_when_all_are_taken_the_client_with_most_gives_one_up(places):
    busy, idle, others = Fake(busy=True), Fake(), [Fake(), Fake()]
    assert places.admit(others[0], "b")
    assert places.admit(busy, "a")
    assert places.admit(idle, "a")
    assert places.admit(others[1], "c")
    assert places.admit(Fake(), "d")
    assert idle.ended
    assert not busy.ended
    assert not any(other.ended for other in others)


async def test_those_that_left_are_forgotten(places):
    for _ in range(100):
        connection = Fake(busy=True)
        assert places.admit(connection, "a")
        places.leave(connection)
    assert not len(places)


async def test_idle_connection_ends_and_a_busy_one_stays():
    places = Connections(most=4, per_client=4, idle_seconds=0.05)
    idle, busy = Fake(), Fake(busy=True)
    assert places.admit(idle, "a")
    assert places.admit(busy, "a")
    await until(lambda: idle.ended)
    assert not busy.ended
    busy.busy = False
    await until(lambda: busy.ended)
    await places.close()


async def test_closing_ends_all(places):
    connection = Fake(busy=True)
    places.admit(connection, "a")
    await places.close()
    assert connection.ended
    await asyncio.sleep(0)
