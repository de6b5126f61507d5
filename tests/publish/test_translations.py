"""Translations among what is published: which final they are of, and what gives way to what."""

from rtstream.events import Partial, Translation
from rtstream.publish.broker import NUMBERED, PENDING_PARTIALS, Broker
from rtstream.publish.items import Position, Published
from rtstream.publish.subscription import PARTIALS_KEPT, LiveQueue
from tests.publish.finals import final, partial, translation


def kinds(items):
    return [type(item.event) for item in items]


def drained(queue):
    items = []
    while (item := queue.take()) is not None:
        items.append(item)
    return items


async def test_translation_of_a_final_has_its_number_and_that_of_a_partial_none():
    broker = Broker()
    subscription = broker.subscribe()
    events = [translation(7, final=False), final(7), final(8), translation(7), translation(8), translation(9)]
    for event in events:
        broker.publish(event)
    got = [await anext(subscription) for _ in events]
    assert [item.event for item in got] == events
    epoch = broker.last.epoch
    assert [item.translates for item in got] == [*([None] * 3), Position(epoch, 1), Position(epoch, 2), None]
    assert [item.position for item in got[3:]] == [None] * 3  # nobody resumes after a translation
    broker.close()


def test_numbers_of_old_finals_are_forgotten():
    broker = Broker(held_finals=1)
    for number in range(NUMBERED + 10):
        broker.publish(final(number))
    broker.close()
    assert len(broker._numbers) == NUMBERED


def test_newest_partial_and_newest_translation_of_each_language_stay_for_a_slow_subscriber():
    queue = LiveQueue(100, partials=True)
    for count in range(50):
        queue.put(Published(partial(1, "w" * count), "e"))
        for language in ("es", "fr"):
            queue.put(Published(translation(1, "p" * count, language, final=False), "e"))
        if count == 20:
            queue.put(Published(translation(0), "e"))
    items = drained(queue)
    newest = {}
    for item in items:
        newest[type(item.event), getattr(item.event, "language", "")] = item.event.text
    assert len(items) <= PARTIALS_KEPT + 1
    assert newest.pop((Partial, "")) == "w" * 49
    assert newest == {(Translation, "es"): "p" * 49, (Translation, "fr"): "p" * 49}
    assert [item.event for item in items if isinstance(item.event, Translation) and item.event.final] == [
        translation(0)
    ]
    assert queue.replaced == 150 - (len(items) - 1)


def test_translations_of_finals_count_against_the_queue_and_those_of_partials_do_not():
    queue = LiveQueue(8, partials=True)
    for number in range(100):
        queue.put(Published(translation(number, final=False), "e"))
    assert not queue.overflowed
    for number in range(9):
        queue.put(Published(translation(number), "e"))
    assert queue.overflowed
    assert queue.take() is None


def test_what_is_not_wanted_of_partials_is_left_out():
    events = (partial(1), translation(1, final=False), final(1), translation(1))
    for partials, translations in ((True, False), (False, True), (False, False)):
        queue = LiveQueue(8, partials=partials, partial_translations=translations)
        for event in events:
            queue.put(Published(event, "e"))
        expected = [event for event, wanted in zip(events, (partials, translations, True, True), strict=True) if wanted]
        assert [item.event for item in drained(queue)] == expected


async def test_translations_of_partials_do_not_pile_up_while_the_disk_hangs():
    broker = Broker()
    with broker._arrived:  # nothing is handed out meanwhile
        for number in range(10 * PENDING_PARTIALS):
            broker._pending.append(translation(number, final=False))
            broker._pending_partials += 1
        broker.publish(translation(0, final=False))
        assert list(broker._pending) == [translation(0, final=False)]
    broker.close()
