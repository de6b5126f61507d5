"""Translations of finals are held with them: who returns gets them behind their finals, once and in order."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from rtstream.client.resuming import Progress
from rtstream.events import Final
from rtstream.publish.broker import HISTORY_PAGE, Broker
from rtstream.publish.items import Gap, Published
from rtstream.publish.store import MIN_BYTES, StoreError
from tests.publish.finals import final, translation
from tests.publish.stores import away, back, open_store, take
from tests.publish.test_store import FakeMachine, numbered


@pytest.fixture(params=["memory", "store", "both", "little"])
def broker(request, tmp_path):
    store = open_store(tmp_path) if request.param != "memory" else None
    made = Broker(store, queue_size=1000, held_finals={"store": 0, "little": 2}.get(request.param, 1000))
    yield made
    made.close()


async def published(broker, *events):
    """The events, once they are published."""
    subscription = broker.subscribe()
    for event in events:
        broker.publish(event)
    got = await take(subscription, len(events))
    subscription.close()
    return got


def told(items):
    """Items in short: F1 for a final, its number and language for a translation."""
    short = []
    for item in items:
        if isinstance(item, Gap):
            short.append("gap")
        elif isinstance(item.event, Final):
            short.append(f"F{item.sequence}")
        else:
            short.append(f"{item.translates.sequence}{item.event.language}")
    return short


STORY = (
    final(1),
    translation(1),
    translation(1, language="fr"),
    final(2),
    final(3),
    translation(2),
    translation(3),
    translation(2, language="fr"),
)
TOLD = ["F1", "1es", "1fr", "F2", "F3", "2es", "3es", "2fr"]


async def test_who_begins_at_the_start_gets_translations_behind_their_finals(broker):
    await published(broker, translation(1, final=False), *STORY)
    subscription = broker.subscribe(from_start=True)
    got = await take(subscription, len(STORY))
    assert [item.event for item in got] == list(STORY)
    assert told(got) == TOLD
    broker.publish(final(4))
    broker.publish(translation(4))
    assert told(await take(subscription, 2)) == ["F4", "4es"]


@pytest.mark.parametrize(("after", "expected"), [(0, TOLD), (1, TOLD[1:]), (2, TOLD[4:]), (3, TOLD[5:])])
async def test_who_resumes_gets_the_translations_made_since_that_final_also_of_earlier_ones(broker, after, expected):
    await published(broker, *STORY)
    subscription = broker.subscribe(resume_after=(broker.last.epoch, after))
    assert told(await take(subscription, len(expected))) == expected
    broker.publish(translation(3, language="fr"))
    assert told(await take(subscription, 1)) == ["3fr"]


async def test_translations_that_come_while_a_subscriber_catches_up_come_once(broker):
    await published(broker, *STORY[:5])
    subscription = broker.subscribe(from_start=True)
    got = [await anext(subscription)]
    await published(broker, STORY[5])
    got += await take(subscription, 5)
    await published(broker, *STORY[6:])
    got += await take(subscription, 2)
    assert told(got) == TOLD
    broker.publish(final(4))
    assert told(await take(subscription, 1)) == ["F4"]


async def test_pages_of_finals_and_translations_join(broker):
    events = []
    for number in range(1, 2 * HISTORY_PAGE + 10):
        events += [final(number), translation(number, language="fr"), *[translation(number - 1)][: number - 1]]
    await published(broker, *events[:500])
    await published(broker, *events[500:])
    got = await take(broker.subscribe(from_start=True), len(events))
    assert [item.event for item in got] == events


async def test_last_time_has_no_translations_of_finals_before_it(tmp_path):
    machine = FakeMachine()
    broker = Broker(open_store(tmp_path, clocks=machine.clocks), clocks=machine.clocks)
    await published(broker, final(1))
    machine.passes(100)
    await published(broker, translation(1), final(2), translation(1, language="fr"), translation(2))
    assert told(await take(broker.subscribe(max_age_seconds=50), 2)) == ["F2", "2es"]
    broker.close()


async def test_translations_are_there_after_a_restart(tmp_path):
    broker = Broker(open_store(tmp_path))
    given = await published(broker, *STORY[:-1], replace(STORY[-1], time=1e9 + 0.125))
    broker.close()
    again = Broker(open_store(tmp_path))
    held = await take(again.subscribe(from_start=True), len(STORY))
    assert held == given
    assert held[-1].event.time == 1e9 + 0.125
    assert told(await take(again.subscribe(resume_after=given[4].position), 3)) == TOLD[5:]
    subscription = again.subscribe(resume_after=given[4].position)
    await published(again, final(1), translation(1))  # segments of another run
    assert told(await take(subscription, 5)) == [*TOLD[5:], "F4", "4es"]
    again.close()


async def test_without_a_store_translations_go_with_their_finals():
    broker = Broker(held_finals=2)
    await published(broker, *STORY[:5], translation(1, "ja", "de"), *STORY[5:])
    start = broker.subscribe(from_start=True)
    assert told(await take(start, 5)) == TOLD[3:]
    resumed = broker.subscribe(resume_after=(broker.last.epoch, 0))
    assert told(await take(resumed, 6)) == ["gap", *TOLD[3:]]
    for number in range(4, 50):
        await published(broker, final(number), translation(number))
    assert len(list(broker._recent)) == 4
    broker.close()


async def test_store_of_before_is_opened_and_takes_translations(tmp_path):
    store = open_store(tmp_path)
    store.append(numbered(store, 1))
    store.close()
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("DROP TABLE translations")
    broker = Broker(open_store(tmp_path))
    await published(broker, final(2), translation(2))
    assert told(await take(broker.subscribe(from_start=True), 3)) == ["F1", "F2", "2es"]
    broker.close()


def translated(store, number, text="dijo", language="es", follows=None):
    of = numbered(store, number)[0]
    event = translation(number, text, language)
    return Published(event, of.epoch, translates=of.position, follows=number if follows is None else follows)


def test_translations_go_with_their_finals_when_those_are_too_old(tmp_path):
    machine = FakeMachine()
    store = open_store(tmp_path, age=100.0, clocks=machine.clocks)
    store.append(numbered(store, 1))
    machine.passes(60)
    store.append([*numbered(store, 2), translated(store, 1, "un secreto", follows=2), translated(store, 2)])
    machine.passes(60)
    store.append(numbered(store, 3))
    assert told(store.after(0, 10)) == ["F2", "2es", "F3"]
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    assert b"un secreto" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_file_stays_near_the_size_that_is_allowed_with_translations(tmp_path):
    store = open_store(tmp_path, size=MIN_BYTES)
    for number in range(1, 200):
        store.append([*numbered(store, number), translated(store, number, "x" * 6000)])
    assert store.path.stat().st_size <= 1.25 * MIN_BYTES
    held = store.after(0, 10_000)
    assert told(held) == [name for number in range(held[0].sequence, 200) for name in (f"F{number}", f"{number}es")]
    assert len(held) > 20
    store.close()


@pytest.mark.parametrize(
    "spoil", ["translation = '?'", "translation = x'00'", "translation = '[1]'", "epoch = CAST(x'ff' AS TEXT)"]
)
def test_bad_translation_costs_itself_alone_and_is_told_once(tmp_path, spoil):
    store = open_store(tmp_path)
    store.append([item for number in range(1, 6) for item in (*numbered(store, number), translated(store, number))])
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute(f"UPDATE translations SET {spoil} WHERE sequence = 3")  # noqa: S608 - of this test
    for _ in "twice":
        assert told(store.after(1, 10)) == ["1es", "F2", "2es", "F3", "F4", "4es", "F5", "5es"]
    (notice,) = store.notices
    assert notice.code == "STORE_DAMAGED"
    assert notice.message.endswith("translations in it cannot be read")
    store.close()


@pytest.mark.parametrize("while_open", [False, True])
def test_damaged_page_of_translations_costs_no_final_and_the_store_goes_on(tmp_path, while_open):
    store = open_store(tmp_path)
    text = "palabras que se dijeron"
    store.append([item for n in range(1, 301) for item in (*numbered(store, n), translated(store, n, text))])
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = store.path.read_bytes()
    pages = [at for at in range(4096, len(data), 4096) if data[at] == 13 and text.encode() in data[at : at + 4096]]
    if not while_open:
        store.close()
    with store.path.open("r+b") as file:
        file.seek(pages[len(pages) // 2])
        file.write(bytes([0x55]) * 4096)
    if not while_open:
        store = open_store(tmp_path)
    assert [item.sequence for item in store.after(0, 1000) if item.sequence] == list(range(1, 301))
    assert "damaged" in store.notices[-1].message
    for _ in range(2):  # the first one may meet the damage
        try:
            store.append([*numbered(store, 301), translated(store, 301)])
        except StoreError:
            store.check()
        else:
            break
    got = told(store.after(0, 1000))
    assert [name for name in got if name[0] == "F"] == [f"F{number}" for number in range(1, 302)]
    assert "1es" in got
    assert got[-2:] == ["F301", "301es"]
    store.close()


async def test_translations_of_a_time_when_the_disk_was_full_are_stored_when_there_is_room(tmp_path):
    store = open_store(tmp_path)
    broker = Broker(store, retry_seconds=0.0)
    await published(broker, final(1))
    full = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {full}")
    live = broker.subscribe()
    broker.publish(translation(1, "x" * 50_000))
    assert [(await anext(live)).event.__class__.__name__ for _ in "ab"] == ["Fault", "Translation"]
    await published(broker, final(2, "y" * 9000), translation(2))
    store._connection.execute("PRAGMA max_page_count = 100000")
    live.close()
    live = broker.subscribe()
    broker.publish(final(3))
    while (await anext(live)).event != final(3):
        pass
    expected = ["F1", "1es", "F2", "2es", "F3"]
    assert told(await take(broker.subscribe(from_start=True), 5)) == expected
    broker.close()
    again = Broker(open_store(tmp_path))
    assert told(await take(again.subscribe(from_start=True), 5)) == expected
    again.close()


async def test_translations_are_renumbered_with_their_finals_when_a_store_is_opened_late(tmp_path):
    earlier = Broker(open_store(tmp_path))
    await published(earlier, final(1), translation(1))
    earlier.close()
    away(tmp_path)
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.0)
    await published(broker, final(1), translation(1))
    back(tmp_path)
    live = broker.subscribe()
    for event in (translation(1, language="fr"), final(2)):
        broker.publish(event)
    while (await anext(live)).event != final(2):
        pass
    expected = ["F1", "1es", "F2", "2es", "2fr", "F3"]
    assert told(await take(broker.subscribe(from_start=True), 6)) == expected
    broker.close()
    again = Broker(open_store(tmp_path))
    assert told(await take(again.subscribe(from_start=True), 6)) == expected
    again.close()


async def test_translation_of_a_final_that_nobody_knows_is_not_held(broker):
    await published(broker, translation(7), final(1))
    assert told(await take(broker.subscribe(from_start=True), 1)) == ["F1"]


async def test_client_that_was_cut_off_has_no_translation_twice(broker):
    progress = Progress(None)
    await published(broker, *STORY[:-1])
    first = await take(broker.subscribe(from_start=True), len(STORY) - 1)
    assert all(progress.take(item) for item in first)
    await published(broker, STORY[-1])
    again = await take(broker.subscribe(resume_after=first[4].position), 3)
    assert told(item for item in again if progress.take(item)) == ["2fr"]
