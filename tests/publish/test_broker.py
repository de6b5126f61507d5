"""The broker: every final once and in order to whoever returns, and a slow subscriber costs nobody else."""

import asyncio
import sqlite3
import threading

import pytest

from rtstream.events import DeviceState, Fault, Final, Partial
from rtstream.publish.broker import Broker
from rtstream.publish.items import Gap, Published, SlowSubscriberError
from rtstream.publish.store import MIN_BYTES, Store, StoreError
from rtstream.publish.subscription import PARTIALS_KEPT, LiveQueue
from tests.audio.sound_server import until
from tests.publish.finals import final, partial
from tests.publish.stores import away, back, earlier_run, open_store, take
from tests.publish.test_store import FakeMachine
from tests.rpc.calls import until as arrived


@pytest.fixture(params=["memory", "store", "both"])
def broker(request, tmp_path):
    store = open_store(tmp_path) if request.param != "memory" else None
    made = Broker(store, queue_size=1000, held_finals=0 if request.param == "store" else 1000)
    yield made
    made.close()


def fails(_):
    raise StoreError("DISK_FULL", "the disk is full")


async def take_finals(subscription, count):
    got = []
    while len(got) < count:
        got += [item for item in await take(subscription, 1) if item.position]
    return got


async def rest(subscription):
    return [item async for item in subscription]


def segments(items):
    return [item.event.segment for item in items if isinstance(item, Published) and isinstance(item.event, Final)]


async def test_events_come_in_order_and_finals_are_numbered(broker):
    subscription = broker.subscribe()
    events = [partial(1), final(1), DeviceState("mic", "capturing"), partial(2), final(2), Fault("X", "x")]
    for event in events:
        broker.publish(event)
    got = await take(subscription, len(events))
    assert [item.event for item in got] == events
    assert [item.sequence for item in got] == [None, 1, None, None, 2, None]
    assert {item.epoch for item in got} == {broker.last.epoch}


FULL, WARM, PASSED = (
    Fault("DISK_FULL", "full"),
    Fault("TRANSLATION_BEHIND", "slow"),
    Fault("RECOGNITION_FAILED", "bad luck"),
)


@pytest.mark.parametrize("begin", [{}, {"from_start": True}, {"resume_after": 1}, {"max_age_seconds": 1e6}])
async def test_new_subscriber_first_gets_the_state_of_the_device_and_standing_faults(broker, begin):
    over = Fault("DISK_FULL", "works again", recovered=True)
    for event in (DeviceState("mic", "starting"), FULL, final(1), over, WARM, PASSED, DeviceState("mic", "capturing")):
        broker.publish(event)
    until(lambda: broker.last.sequence == 1, "published")
    follow = broker.subscribe()
    broker.publish(final(2))
    await take(follow, 3)
    if "resume_after" in begin:
        begin = {"resume_after": broker.last._replace(sequence=1)}
    subscription = broker.subscribe(**begin)
    missed = [] if not begin else [final(2)] if "resume_after" in begin else [final(1), final(2)]
    got = [item.event for item in await take(subscription, 2 + len(missed))]
    assert sorted(map(str, got[:2])) == sorted(map(str, [DeviceState("mic", "capturing"), WARM]))
    assert got[2:] == missed
    waiting = asyncio.ensure_future(anext(subscription))
    await arrived(lambda: subscription in broker._subscriptions)
    broker.publish(FULL)
    assert (await waiting).event == FULL


async def test_what_changes_while_a_subscriber_catches_up_is_told_when_it_has(broker):
    follow = broker.subscribe()
    for event in (DeviceState("mic", "capturing"), WARM, final(1)):
        broker.publish(event)
    await take(follow, 3)
    subscription = broker.subscribe(from_start=True)
    await take(subscription, 2)
    over = Fault("TRANSLATION_BEHIND", "caught up", recovered=True)
    for event in (over, FULL, DeviceState("mic", "lost"), DeviceState("mic", "capturing"), final(2)):
        broker.publish(event)
    await take(follow, 5)
    got = [item.event for item in await take(subscription, 5)]
    assert got[:2] == [final(1), final(2)]
    assert sorted(map(str, got[2:])) == sorted(map(str, [over, FULL, DeviceState("mic", "capturing")]))


async def test_resumed_subscriber_gets_each_missed_final_once_then_what_happens(broker):
    for number in range(1, 351):
        broker.publish(final(number))
    first = broker.subscribe(from_start=True)
    seen = await take(first, 120)
    first.close()
    resumed = broker.subscribe(resume_after=seen[-1].position)
    got = await take(resumed, 100)
    publisher = threading.Thread(target=lambda: [broker.publish(final(n)) for n in range(351, 451)])
    publisher.start()
    got += await take(resumed, 230)
    publisher.join()
    assert segments(seen + got) == list(range(1, 451))
    assert [item.sequence for item in seen + got] == list(range(1, 451))


@pytest.mark.parametrize("kept", ["memory", "store", "both"])
async def test_subscriber_gets_the_finals_of_the_last_time_whatever_the_time_of_day_then_what_happens(tmp_path, kept):
    machine = FakeMachine()
    store = (
        None
        if kept == "memory"
        else Store(tmp_path / "f.db", max_age_seconds=1e6, max_bytes=1 << 22, clocks=machine.clocks)
    )
    broker = Broker(store, clocks=machine.clocks)
    for number in range(1, 6):
        broker.publish(final(number))
        until(lambda n=number: broker.last.sequence == n, "published")
        machine.passes(600)
        machine.time += 1e7  # somebody sets the clock
        if kept == "both" and number == 3:
            store.append = fails
    for age, expected in ((1500, [4, 5]), (601, [5]), (1e9, [1, 2, 3, 4, 5]), (10, []), (0, [])):
        subscription = broker.subscribe(max_age_seconds=age)
        await subscription.find_start()
        assert subscription.position.sequence == 5 - len(expected)
        got = await take(subscription, (kept == "both") + len(expected))  # the disk is full
        next_one = asyncio.ensure_future(anext(subscription))
        await arrived(lambda s=subscription: s in broker._subscriptions)
        broker.publish(partial(9))
        assert (await next_one).event == partial(9)
        assert segments(got) == expected
        subscription.close()
    broker.close()


async def test_every_subscriber_that_joins_while_finals_are_published_gets_all_of_them(broker):
    count = 400

    async def listen(pause):
        got = []
        async with broker.subscribe(from_start=True, queue_size=count) as subscription:
            while len(got) < count:
                got.append(await anext(subscription))
                if pause:
                    await asyncio.sleep(0)
        return got

    publisher = threading.Thread(target=lambda: [broker.publish(final(n)) for n in range(1, count + 1)])
    publisher.start()
    for got in await asyncio.gather(*(listen(n % 2) for n in range(8))):
        assert segments(got) == list(range(1, count + 1))
    publisher.join()
    assert broker.subscribers == 0


async def test_finals_in_order_across_restart_of_the_broker(tmp_path):
    position, got = None, []
    for run in range(4):
        broker = Broker(open_store(tmp_path))
        for number in range(10 * run, 10 * run + 10):
            broker.publish(final(number))
        subscription = broker.subscribe(resume_after=position, from_start=position is None)
        items = await take(subscription, 7 if run < 3 else 40 - len(got))
        position = items[-1].position
        got += items
        broker.close()
    assert segments(got) == list(range(40))
    assert [item.sequence for item in got] == list(range(1, 41))


async def test_older_than_what_is_held_is_a_gap_with_its_length():
    broker = Broker(held_finals=10)
    subscription = broker.subscribe()
    broker.publish(final(1))
    (first,) = await take(subscription, 1)
    subscription.close()
    for number in range(2, 31):
        broker.publish(final(number))
    # It may hand them out in several batches.
    await asyncio.to_thread(until, lambda: broker.last.sequence == 30, "all to be handed out")
    resumed = broker.subscribe(resume_after=first.position)
    gap, *held = await take(resumed, 11)
    assert gap == Gap(first.position, "expired", 19)
    assert segments(held) == list(range(21, 31))
    broker.close()


async def test_all_expired_is_a_gap_too(tmp_path):
    machine = FakeMachine()
    broker = Broker(open_store(tmp_path, age=60, clocks=machine.clocks), clocks=machine.clocks)
    watcher = broker.subscribe()
    for number in range(1, 6):
        broker.publish(final(number))
    items = await take(watcher, 5)
    machine.passes(61)
    resumed = broker.subscribe(resume_after=items[1].position)
    assert await take(resumed, 1) == [Gap(items[1].position, "expired", 3)]
    broker.publish(final(6))
    assert segments(await take(resumed, 1)) == [6]
    broker.close()


async def test_unknown_epoch_is_a_gap_and_then_all_that_is_held(broker):
    for number in range(1, 4):
        broker.publish(final(number))
    await take(broker.subscribe(from_start=True), 3)
    gap, *held = await take(broker.subscribe(resume_after=("elsewhere", 2)), 4)
    assert gap == Gap(("elsewhere", 2), "unknown_epoch")
    assert segments(held) == [1, 2, 3]


async def test_number_that_was_never_given_is_of_an_unknown_history(broker):
    broker.publish(final(1))
    await take(broker.subscribe(from_start=True), 1)
    gap, held = await take(broker.subscribe(resume_after=(broker.last.epoch, 99)), 2)
    assert gap.reason == "unknown_epoch"
    assert held.sequence == 1


async def test_nothing_missing_is_no_gap(broker):
    broker.publish(final(1))
    (item,) = await take(broker.subscribe(from_start=True), 1)
    resumed = broker.subscribe(resume_after=item.position)
    broker.publish(final(2))
    assert segments(await take(resumed, 1)) == [2]


async def test_slow_subscriber_is_ended_with_its_last_number_and_costs_nobody_else():
    broker = Broker(queue_size=16)
    slow, fast = broker.subscribe(), broker.subscribe(queue_size=1000)
    broker.publish(final(0))
    await take(slow, 1)
    for number in range(1, 101):
        broker.publish(final(number))
    assert segments(await take(fast, 101)) == list(range(101))
    with pytest.raises(SlowSubscriberError) as told:
        await rest(slow)
    assert told.value.last == (broker.last.epoch, 1)
    assert (broker.subscribers_ended, broker.subscribers) == (1, 1)
    again = broker.subscribe(resume_after=told.value.last)
    assert segments(await take(again, 100)) == list(range(1, 101))
    broker.close()


async def test_overflow_is_told_to_whoever_passes_the_items_on():
    broker = Broker(queue_size=4)
    slow = broker.subscribe()
    told = asyncio.create_task(slow.overflow())
    for number in range(10):
        broker.publish(final(number))
    await told
    broker.close()


async def test_partials_of_a_slow_subscriber_give_way_to_the_newest_and_finals_stay():
    broker = Broker(queue_size=64)
    subscription, watcher = broker.subscribe(), broker.subscribe(partials=False)
    for number in range(50):
        for letters in range(40):
            broker.publish(partial(number, "x" * letters))
        broker.publish(final(number))
    broker.publish(partial(50, "the newest"))
    await take(watcher, 50)
    got = [item async for item in _until(subscription, partial(50, "the newest"))]
    assert segments(got) == list(range(50))
    assert sum(isinstance(item.event, Partial) for item in got) <= PARTIALS_KEPT + 1
    assert broker.partials_replaced > 0
    broker.close()


async def _until(subscription, event):
    async for item in subscription:
        yield item
        if item.event == event:
            return


def test_queue_keeps_every_partial_of_a_subscriber_that_reads():
    queue = LiveQueue(4, partials=True)
    for number in range(100):
        item = Published(partial(number), "e")
        queue.put(item)
        assert queue.take() is item
    assert queue.replaced == 0


async def test_partials_are_left_out_on_request(broker):
    subscription = broker.subscribe(partials=False)
    for event in (partial(1), final(1), partial(2), final(2)):
        broker.publish(event)
    assert [item.event for item in await take(subscription, 2)] == [final(1), final(2)]


async def test_new_limits_of_the_store_hold_although_nobody_speaks(tmp_path):
    store = open_store(tmp_path)
    broker = Broker(store)
    subscription = broker.subscribe()
    for number in range(3):
        broker.publish(final(number, "x" * 200_000))
    await take(subscription, 3)
    broker.retain(max_age_seconds=1e6, max_bytes=2 * MIN_BYTES)
    async with asyncio.timeout(60):
        while len(store.after(0, 10)) == 3:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert [item.sequence for item in store.after(0, 10)] == [2, 3]
    broker.close()


async def test_full_disk_finals_go_on_and_are_stored_when_there_is_room(tmp_path):
    store = open_store(tmp_path)
    faults = []
    broker = Broker(store, retry_seconds=0.0, on_fault=faults.append)
    subscription = broker.subscribe()
    broker.publish(final(1))
    await take(subscription, 1)
    full = store._connection.execute("PRAGMA page_count").fetchone()[0]
    before = store._connection.execute(f"PRAGMA max_page_count = {full}").fetchone()[0]
    assert before == full  # SQLite itself now says that the disk is full
    number, got, fine = 1, [], 5
    while fine:
        number += 1
        broker.publish(final(number, "x" * 3000))
        while number not in segments(got):
            got += await take(subscription, 1)
        fine -= bool(faults)
    store._connection.execute("PRAGMA max_page_count = 100000")
    broker.publish(final(number + 1))
    recovered, last = await take(subscription, 2)
    assert [fault.code for fault in faults] == ["DISK_FULL", "DISK_FULL"]
    assert recovered.event == faults[1]
    assert [fault.recovered for fault in faults] == [False, True]
    assert segments([*got, last]) == list(range(2, number + 2))
    assert broker.finals_unstored == 5
    broker.close()
    again = Broker(open_store(tmp_path))
    held = await take(again.subscribe(from_start=True), number + 1)
    assert segments(held) == list(range(1, number + 2))
    assert held[-1].position == last.position
    again.close()


async def test_killed_while_the_disk_was_full_is_a_gap_for_who_was_away(tmp_path):
    store = open_store(tmp_path)
    broker = Broker(store, retry_seconds=1e6)
    subscription = broker.subscribe()
    broker.publish(final(1))
    (first,) = await take(subscription, 1)
    full = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {full}")
    number = 1
    unstored = None
    while unstored is None:
        number += 1
        broker.publish(final(number, "x" * 3000))
        item = await anext(subscription)
        if isinstance(item.event, Fault):
            unstored = await anext(subscription)
    broker.close()  # what is in memory alone goes, as with kill -9
    again = Broker(open_store(tmp_path))
    again.publish(final(number + 1))
    items = await take(again.subscribe(resume_after=first.position), number)
    *stored, gap, new = items
    assert segments(stored) == list(range(2, number))
    assert isinstance(gap, Gap)
    assert gap.reason == "expired"
    assert segments([new]) == [number + 1]
    lost, *_ = await take(again.subscribe(resume_after=unstored.position), 1)
    assert lost.reason == "unknown_epoch"
    assert unstored.position != new.position
    again.close()


async def test_damaged_store_is_reported(tmp_path):
    (tmp_path / "finals.db").write_bytes(b"rubbish" * 999)
    faults = []
    broker = Broker(open_store(tmp_path), on_fault=faults.append)
    broker.publish(final(1))
    assert segments(await take(broker.subscribe(from_start=True), 1)) == [1]
    assert [fault.code for fault in faults] == ["STORE_DAMAGED"]
    broker.close()


async def test_close_hands_out_what_was_published_and_ends_the_iteration(broker):
    subscription = broker.subscribe()
    for number in range(100):
        broker.publish(final(number))
    await asyncio.to_thread(broker.close)
    assert segments(await rest(subscription)) == list(range(100))
    assert await rest(broker.subscribe(from_start=True)) == []
    broker.publish(final(1))  # nobody hears it, and that is no error


async def test_closed_subscription_is_forgotten_and_its_reader_released(broker):
    subscription = broker.subscribe()
    reader = asyncio.create_task(rest(subscription))
    await asyncio.sleep(0)
    assert broker.subscribers == 1
    subscription.close()
    assert await reader == []
    assert broker.subscribers == 0


async def test_cancelled_read_loses_nothing(broker):
    subscription = broker.subscribe()
    got = []
    for number in range(50):
        reader = asyncio.create_task(subscription.get())
        await asyncio.sleep(0)
        reader.cancel()
        broker.publish(final(number))
        got += await take(subscription, 1)
    assert segments(got) == list(range(50))


def test_subscribers_of_a_loop_that_ended_do_no_harm(broker):
    async def leave():
        broker.subscribe()

    asyncio.run(leave())
    broker.publish(final(1))

    async def listen():
        return segments(await take(broker.subscribe(from_start=True), 1))

    assert asyncio.run(listen()) == [1]


async def test_publishing_goes_on_while_the_disk_hangs(tmp_path):
    store = open_store(tmp_path, size=MIN_BYTES * 8)
    hung, release = threading.Event(), threading.Event()
    append = store.append

    def hang(finals):
        hung.set()
        release.wait()
        append(finals)

    store.append = hang
    broker = Broker(store)
    subscription = broker.subscribe(queue_size=5000)
    broker.publish(final(0))
    hung.wait()
    for number in range(1, 3001):  # returns at once, or the test would not end
        broker.publish(partial(number))
        broker.publish(final(number))
    release.set()
    items = []
    while not (items and isinstance(items[-1].event, Fault)):
        items += await take(subscription, 1)
    lost = items[-1].event
    assert lost.code == "FINALS_LOST"
    assert broker.finals_lost == 2000
    broker.close()


async def test_store_that_cannot_be_opened_at_first_gets_all_finals_when_it_can(tmp_path):
    (tmp_path / "finals.db").mkdir()
    faults = []
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.0, on_fault=faults.append)
    subscription = broker.subscribe()
    for number in range(1, 4):
        broker.publish(final(number))
    assert segments(await take_finals(subscription, 3)) == [1, 2, 3]
    assert [(fault.code, fault.recovered) for fault in faults] == [("STORE_FAILED", False)]
    assert "is a folder" in faults[0].message
    assert segments(await take_finals(broker.subscribe(from_start=True), 3)) == [1, 2, 3]
    (tmp_path / "finals.db").rmdir()
    broker.publish(final(4))
    recovered, last = await take(subscription, 2)
    assert recovered.event == Fault("STORE_FAILED", f"store {tmp_path}/finals.db: works again", recovered=True)
    assert last.sequence == 4
    broker.close()
    again = Broker(open_store(tmp_path))
    assert segments(await take_finals(again.subscribe(from_start=True), 4)) == [1, 2, 3, 4]
    assert segments(await take_finals(again.subscribe(resume_after=last.position._replace(sequence=2)), 2)) == [3, 4]
    again.close()


async def test_history_of_a_store_that_is_opened_late_comes_before_what_was_said_meanwhile(tmp_path):
    last_earlier = (await earlier_run(tmp_path, 30))[-1]
    away(tmp_path)
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.0)
    subscription = broker.subscribe()
    for number in range(31, 34):
        broker.publish(final(number))
    meanwhile = await take_finals(subscription, 3)
    late = broker.subscribe(resume_after=meanwhile[0].position)  # begins before, is read after
    back(tmp_path)
    broker.publish(final(34))
    (new,) = await take_finals(subscription, 1)
    assert new.sequence == 34
    assert segments(await take_finals(late, 3)) == [32, 33, 34]

    async def check(now):
        assert segments(await take_finals(now.subscribe(from_start=True), 34)) == list(range(1, 35))
        for position, missed in ((last_earlier.position, [31, 32, 33, 34]), (meanwhile[1].position, [33, 34])):
            assert segments(await take_finals(now.subscribe(resume_after=position), len(missed))) == missed
        gap, *_ = await take(now.subscribe(resume_after=meanwhile[0].position._replace(sequence=99)), 1)
        assert gap.reason == "unknown_epoch"

    await check(broker)
    broker.close()
    again = Broker(open_store(tmp_path))
    await check(again)
    again.close()


async def test_store_that_is_full_at_the_start_recovers_and_says_so(tmp_path):
    first = Broker(open_store(tmp_path))
    first.publish(final(1))
    (item,) = await take(first.subscribe(from_start=True), 1)
    first.close()
    store = open_store(tmp_path)
    store.trouble = StoreError("DISK_FULL", "the disk is full")  # as if it had been when it was opened
    faults = []
    broker = Broker(store, retry_seconds=0.0, on_fault=faults.append)
    subscription = broker.subscribe(resume_after=item.position)
    broker.publish(final(2))
    assert segments(await take_finals(subscription, 1)) == [2]
    await asyncio.to_thread(until, lambda: len(faults) == 2, "recovery")
    assert [(fault.code, fault.recovered) for fault in faults] == [("DISK_FULL", False), ("DISK_FULL", True)]
    broker.close()
    again = Broker(open_store(tmp_path))
    assert segments(await take(again.subscribe(from_start=True), 2)) == [1, 2]
    again.close()


async def test_deleted_store_is_noticed_also_when_nobody_speaks(tmp_path):
    faults = []
    broker = Broker(open_store(tmp_path), retry_seconds=0.01, on_fault=faults.append)
    subscription = broker.subscribe()
    broker.publish(final(1))
    await take(subscription, 1)
    for file in tmp_path.iterdir():
        file.unlink()
    await asyncio.to_thread(until, lambda: faults, "noticed")
    assert [fault.code for fault in faults] == ["STORE_DELETED"]
    assert not [item for item in broker._standing.news({}) if isinstance(item.event, Fault)]  # it is over
    broker.publish(final(2))
    (item,) = await take_finals(subscription, 1)
    assert item.sequence == 2
    broker.close()
    again = Broker(open_store(tmp_path))
    gap, held = await take(again.subscribe(resume_after=item.position._replace(sequence=0)), 2)
    assert (gap.missed, segments([held])) == (1, [2])
    again.close()


async def test_damaged_finals_are_a_gap_and_the_others_come_and_the_damage_is_told(tmp_path):
    broker = Broker(open_store(tmp_path), queue_size=1000)
    for number in range(1, 301):
        broker.publish(final(number))
    items = await take(broker.subscribe(from_start=True), 300)
    broker.close()
    with sqlite3.connect(tmp_path / "finals.db") as connection:
        connection.execute("UPDATE finals SET final = '?' WHERE sequence IN (150, 151)")
    faults = []
    again = Broker(open_store(tmp_path), queue_size=1000, on_fault=faults.append)
    got = await take(again.subscribe(resume_after=items[99].position), 199)
    assert segments(got) == [*range(101, 150), *range(152, 301)]
    assert [item for item in got if isinstance(item, Gap)] == [Gap(items[148].position, "expired", 2)]
    await asyncio.to_thread(until, lambda: faults, "told")
    assert faults[0].code == "STORE_DAMAGED"
    assert "number 150 to 151 cannot be read" in faults[0].message
    again.close()


async def test_closing_does_not_wait_for_ever_for_a_disk_that_hangs(tmp_path):
    store = open_store(tmp_path)
    hung, release = threading.Event(), threading.Event()

    def hang(_):
        hung.set()
        release.wait()

    store.append = hang
    broker = Broker(store)
    subscription = broker.subscribe()
    broker.publish(final(1))
    hung.wait()
    assert await asyncio.to_thread(broker.close, 0.05) is False
    assert await rest(subscription) == []
    release.set()
    assert await asyncio.to_thread(broker.close, 60) is True


@pytest.mark.parametrize("patience", [60.0, 0.0])
async def test_store_that_cannot_be_read_for_a_moment_is_asked_again_and_is_a_gap_if_it_goes_on(
    tmp_path, monkeypatch, patience
):
    monkeypatch.setattr("rtstream.publish.subscription.STORE_PATIENCE_SECONDS", patience)
    monkeypatch.setattr("rtstream.publish.subscription.STORE_PAUSE_SECONDS", 0.01)
    store = open_store(tmp_path)
    broker = Broker(store, held_finals=2)
    live = broker.subscribe()
    for number in range(1, 6):
        broker.publish(final(number))
    items = await take(live, 5)
    fails, after = [True] * 3, store.after

    def sometimes(sequence, limit):
        if fails:
            fails.pop()
            raise StoreError("STORE_FAILED", "too many open files")
        return after(sequence, limit)

    store.after = sometimes
    resumed = broker.subscribe(resume_after=items[0].position)
    if patience:
        assert segments(await take(resumed, 4)) == [2, 3, 4, 5]
    else:
        gap, *held = await take(resumed, 3)
        assert (gap, segments(held)) == (Gap(items[0].position, "expired", 2), [4, 5])
        broker.publish(final(6))
        assert segments(await take(resumed, 1)) == [6]
    broker.close()


async def test_who_returns_while_the_store_cannot_be_read_gets_every_final_and_no_gap(tmp_path, monkeypatch):
    monkeypatch.setattr("rtstream.publish.subscription.STORE_PATIENCE_SECONDS", 0.0)
    faults = []
    broker = Broker(open_store(tmp_path), retry_seconds=0.01, on_fault=faults.append)
    live = broker.subscribe()
    for number in range(1, 6):
        broker.publish(final(number))
    items = await take_finals(live, 5)
    away(tmp_path)
    await asyncio.to_thread(until, lambda: faults, "the fault")
    broker.publish(final(6))
    await take_finals(live, 1)
    for begin in ({"resume_after": items[1].position}, {"from_start": True}, {"max_age_seconds": 1e6}):
        got = await take_finals(broker.subscribe(**begin), 4 if "resume_after" in begin else 6)
        assert segments(got) == list(range(got[0].sequence, 7))
    back(tmp_path)
    await asyncio.to_thread(until, lambda: len(faults) == 2, "recovery")
    assert [(fault.code, fault.recovered) for fault in faults] == [("STORE_FAILED", False), ("STORE_FAILED", True)]
    assert segments(await take_finals(broker.subscribe(resume_after=items[1].position), 4)) == [3, 4, 5, 6]
    broker.close()
    again = Broker(open_store(tmp_path), held_finals=0)
    assert segments(await take(again.subscribe(resume_after=items[0].position), 5)) == [2, 3, 4, 5, 6]
    again.close()


async def test_who_returns_while_the_store_of_earlier_runs_cannot_be_opened_waits_for_it(tmp_path):
    items = await earlier_run(tmp_path, 3)
    away(tmp_path)
    faults = []
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.1, on_fault=faults.append)
    broker.publish(final(4))
    returned = asyncio.ensure_future(take_finals(broker.subscribe(resume_after=items[0].position), 3))
    await asyncio.to_thread(until, lambda: faults, "the fault")
    back(tmp_path)
    assert segments(await returned) == [2, 3, 4]
    broker.close()


async def test_store_that_is_opened_late_is_there_when_its_numbers_are(tmp_path, monkeypatch):
    """Who read between the two was told of a gap, and of finals that the store had."""
    items = await earlier_run(tmp_path, 3)
    go_on, numbered, read = Broker._go_on_in, threading.Event(), threading.Event()

    def slowly(broker, store):
        go_on(broker, store)
        numbered.set()
        read.wait(60)

    monkeypatch.setattr(Broker, "_go_on_in", slowly)
    away(tmp_path)
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.01)
    broker.publish(final(4))
    back(tmp_path)
    await asyncio.to_thread(numbered.wait, 60)
    got = await take_finals(broker.subscribe(resume_after=items[0].position), 3)
    read.set()
    assert segments(got) == [2, 3, 4]
    broker.close()


async def test_number_of_an_unopened_store_is_not_unknown_because_nothing_was_said_since(tmp_path):
    items = await earlier_run(tmp_path, 3)
    away(tmp_path)
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.01)
    with pytest.raises(StoreError):
        broker.knows(items[1].position)
    returned = asyncio.ensure_future(take_finals(broker.subscribe(resume_after=items[1].position), 1))
    await asyncio.sleep(0.05)
    back(tmp_path)
    assert segments(await returned) == [3]
    broker.close()


async def test_whether_a_number_is_known_is_not_asked_between_two_stores(tmp_path):
    """Who asked while the store was being opened saw neither it nor its failure, and was told of a gap."""
    items = await earlier_run(tmp_path, 1)
    away(tmp_path)
    broker = Broker(open_store=lambda: open_store(tmp_path), retry_seconds=0.01)

    class Torn(Broker):
        @property
        def _store(self):
            seen = self.__dict__["_store"]
            if seen is None and threading.current_thread().name == "asks" and not self._lock.locked():
                back(tmp_path)
                until(lambda: self._failed is None, "opened")
            return seen

        @_store.setter
        def _store(self, store):
            self.__dict__["_store"] = store

    broker.__class__ = Torn
    answers = []

    def ask():
        try:
            answers.append(broker.knows(items[0].position))
        except StoreError:
            answers.append("not yet")

    asks = threading.Thread(target=ask, name="asks")
    asks.start()
    await asyncio.to_thread(asks.join)
    assert answers == ["not yet"]
    broker.close()


async def test_deleted_finals_are_not_given_from_memory_either(tmp_path):
    faults = []
    broker = Broker(open_store(tmp_path), retry_seconds=0.01, on_fault=faults.append)
    live = broker.subscribe()
    for number in range(1, 4):
        broker.publish(final(number))
    items = await take(live, 3)
    for file in tmp_path.iterdir():
        file.unlink()
    await asyncio.to_thread(until, lambda: faults, "noticed")
    broker.publish(final(4))
    await take_finals(live, 1)
    assert segments(await take_finals(broker.subscribe(from_start=True), 1)) == [4]
    gap, held = await take(broker.subscribe(resume_after=items[0].position), 2)
    assert (gap, segments([held])) == (Gap(items[0].position, "expired", 2), [4])
    broker.close()


@pytest.mark.parametrize("said", [False, True])
async def test_killed_while_the_store_was_away_is_a_gap_if_anything_was_said_meanwhile(tmp_path, said):
    faults = []
    broker = Broker(open_store(tmp_path), retry_seconds=0.01, on_fault=faults.append)
    live = broker.subscribe()
    broker.publish(final(1))
    (first,) = await take(live, 1)
    away(tmp_path)
    await asyncio.to_thread(until, lambda: faults, "the fault")
    if said:
        broker.publish(final(2))
        await take_finals(live, 1)
    broker.close()  # what is in memory alone goes, as with kill -9
    back(tmp_path)
    again = Broker(open_store(tmp_path))
    again.publish(final(3))
    *gaps, new = await take(again.subscribe(resume_after=first.position), 1 + said)
    assert (gaps, segments([new])) == ([Gap(first.position, "expired", 1)] if said else [], [3])
    again.close()
