"""GET /events: what a program asks for it gets, from where it left off, and who does not read costs nobody else."""

import asyncio
import json

import pytest

from rtstream.events import Speech
from rtstream.publish.broker import Broker
from tests.adapters.http_served import serving, unread
from tests.publish.finals import final, partial, translation
from tests.rpc.calls import until


@pytest.fixture
async def served():
    async with serving() as made:
        yield made


async def events(answer, count):
    """The first events of a stream, as (kind, id, data)."""
    found, kind, number = [], "", None
    async with asyncio.timeout(120):
        while len(found) < count:
            line = (await answer.content.readline()).decode()
            assert line, found
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                kind, number = value, None
            elif name == "id":
                number = value
            elif name == "data":
                found.append((kind, number, json.loads(value)))
    return found


async def ask(served, query, count, **options):
    """The events that this request begins with, behind the one that tells of the service."""
    async with served.session.get(f"/events?{query}", **options) as answer:
        assert answer.status == 200, await answer.text()
        [(kind, _, hello), *rest] = await events(answer, count + 1)
        assert (kind, hello["languages"]) == ("service", ["es", "pt-BR"])
        return rest


async def say(served, *said):
    before = served.broker.finals_published
    for event in said:
        served.broker.publish(event)
    await until(lambda: served.broker.finals_published == before + len(said))


async def test_what_is_held_comes_first_with_the_ids_to_resume_after(served):
    await say(served, *(final(number, f"final {number}") for number in range(3)))
    held = await ask(served, "from=start", 3)
    assert [(kind, data["text"]) for kind, _, data in held] == [("final", f"final {n}") for n in range(3)]
    second = held[1][1]
    assert second == f"{held[1][2]['epoch']}:2"
    [(_, _, resumed)] = await ask(served, f"after={second}", 1)
    assert resumed["text"] == "final 2"
    # The header, which a browser sends by itself, is stronger than what stands in the address.
    [(_, _, resumed)] = await ask(served, "from=start", 1, headers={"Last-Event-ID": second})
    assert resumed["text"] == "final 2"


async def test_what_is_not_wanted_does_not_come(served):
    async def live(query):
        async with served.session.get(f"/events?{query}") as answer:
            await events(answer, 1)
            served.broker.publish(Speech(0, 0, "started"))
            served.broker.publish(partial(0))
            served.broker.publish(final(0, "the end"))
            served.broker.publish(translation(0, "el fin", "es"))
            served.broker.publish(translation(0, "o fim", "pt-BR"))
            served.broker.publish(final(1, "last"))
            found = []
            while not found or found[-1][1].get("text") != "last":
                found += [(kind, data) for kind, _, data in await events(answer, 1)]
            return found

    assert [kind for kind, _ in await live("partials=0")] == ["final", "translation", "translation", "final"]
    some = await live("languages=es&words=1")
    assert [data["language"] for kind, data in some if kind == "translation"] == ["es"]
    assert {"speech", "partial"} <= {kind for kind, _ in some}
    assert some[-1][1]["words"][0]["word"] == "words"


async def test_position_of_another_life_is_answered_by_a_gap(served):
    await say(served, final(0))
    [(kind, number, gap), (_, _, held)] = await ask(served, "after=another:7", 2)
    assert (kind, number, gap["after"]) == ("gap", None, {"epoch": "another", "sequence": 7})
    assert held["sequence"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("form=start", "form"),
        ("from=end", "from"),
        ("since=-1", "since"),
        ("since=nan", "since"),
        ("since=soon", "since"),
        ("after=7", "after"),
        ("after=x:99999999999999999999", "after"),
        (f"after={'x' * 300}:1", "after"),
        ("words=yes", "words"),
        ("languages=xx-klingon-1", "languages"),
        ("languages=de", "languages"),
    ],
)
async def test_what_is_wrong_in_a_request_is_named(served, query, field):
    async with served.session.get(f"/events?{query}") as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["param"] == field


EVENTS = b"GET /events?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("why", ["queue overflows", "event is not taken in time"])
async def test_who_does_not_read_is_sent_away_and_costs_nobody_else(why):
    overflowing = why == "queue overflows"
    broker = Broker(queue_size=50 if overflowing else 100_000)
    async with serving(broker, idle_seconds=60.0 if overflowing else 1.0) as served:
        slow = await unread(served, EVENTS)
        await until(lambda: served.broker.subscribers == 1)
        async with served.session.get("/events") as answer:
            await events(answer, 1)
            number = 0
            while served.broker.subscribers == 2:
                await say(served, final(number, "x" * 20_000))
                [(_, _, heard)] = await events(answer, 1)
                number += 1
                assert heard["sequence"] == number
                assert number < 5_000
        slow.close()
        assert len(await ask(served, "from=start", number)) == number  # it can come back, and misses nothing
    await until(lambda: not len(served.server.connections))


async def test_many_that_do_not_read_leave_room_for_who_does():
    async with serving(Broker(queue_size=20), connections=16, connections_per_client=16, idle_seconds=1.0) as served:
        slow = [await unread(served, EVENTS) for _ in range(15)]
        await until(lambda: served.broker.subscribers == 15)
        number = 0
        while served.broker.subscribers:
            await say(served, final(number, "x" * 20_000))
            number += 1
            await asyncio.sleep(0.01)
        async with served.session.get("/health") as answer:
            assert answer.status == 200
        for each in slow:
            each.close()
