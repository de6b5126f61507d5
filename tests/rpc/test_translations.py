"""Translations over real gRPC."""

import asyncio

import grpc
import pytest

from rtstream.client import ServerError
from rtstream.events import Fault, Translation
from rtstream.publish.items import Position
from tests.publish.finals import final, partial, translation
from tests.rpc.calls import until

EVENTS = [
    partial(1),
    translation(1, "d", final=False),
    translation(1, "f", "pt-BR", final=False),
    final(1),
    translation(1),
    translation(1, "falou", "pt-BR"),
    Fault("X", "x"),
]


async def received(served, **options):
    """What a subscriber gets of the events."""
    async with served.client() as client:
        items = client.subscribe(words=True, **options)
        first = asyncio.ensure_future(anext(items))
        await until(lambda: served.broker.subscribers)
        for event in EVENTS:
            served.broker.publish(event)
        got = [await first]
        while got[-1].event != EVENTS[-1]:
            got.append(await anext(items))
    await until(lambda: not served.broker.subscribers)
    return got


async def test_all_translations_come_with_the_number_of_their_final(served):
    got = await received(served)
    assert [item.event for item in got] == EVENTS
    number = Position(served.broker.last.epoch, 1)
    assert [item.translates for item in got] == [None, None, None, None, number, number, None]
    assert [item.position for item in got] == [None, None, None, number, None, None, None]


@pytest.mark.parametrize(("asked", "given"), [(["es"], "es"), (["PT"], "pt-BR"), (["pt_BR", "es"], None), ([], "")])
async def test_subscriber_gets_the_languages_that_it_asks_for(served, asked, given):
    got = await received(served, languages=asked)
    others = [event for event in EVENTS if isinstance(event, Translation) and given not in {None, event.language}]
    expected = [event for event in EVENTS if event not in others]
    assert [item.event for item in got] == expected


async def test_without_partials_there_are_translations_of_finals_alone(served):
    got = await received(served, partials=False)
    assert [item.event for item in got] == [EVENTS[3], *EVENTS[4:]]


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("de", "does not translate into 'de'; it does into es, pt-BR"),
        ("pt-PT", "does not translate into 'pt-PT'"),
        ("spanish", "'spanish' is no language tag"),
    ],
)
async def test_language_that_is_not_made_is_told_with_those_that_are(served, language, told):
    async with served.client() as client:
        with pytest.raises(ServerError, match=told) as error:
            await anext(client.subscribe(languages=[language]))
    assert error.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.value.reason == "INVALID_REQUEST"
    assert error.value.metadata["field"] == "languages"


async def test_daemon_without_translation_says_so(served):
    served.hub.languages = ()
    async with served.client() as client:
        assert (await client.status()).languages == ()
        with pytest.raises(ServerError, match="it does not translate"):
            await anext(client.subscribe(languages=["es"]))


async def test_status_names_the_languages(served):
    async with served.client() as client:
        assert (await client.status()).languages == ("es", "pt-BR")


async def test_who_resumes_gets_missed_finals_with_their_translations_and_those_made_from_then_on(served):
    held = [final(1), translation(1), final(2)]
    for event in held:
        served.broker.publish(event)
    await until(lambda: served.broker.last.sequence == 2)
    async with served.client() as client:
        items = client.subscribe(from_start=True, words=True)
        assert [(await anext(items)).event for _ in held] == held
        next_ = asyncio.ensure_future(anext(items))
        await until(lambda: served.broker.subscribers)  # it has caught up
        served.broker.publish(translation(2))
        late = await next_
        assert (late.event, late.translates.sequence) == (translation(2), 2)


async def test_held_translations_come_also_when_the_service_no_longer_makes_any(served):
    for event in (final(1), translation(1)):
        served.broker.publish(event)
    await until(lambda: served.broker.last.sequence == 1)
    served.hub.languages = ()
    async with served.client() as client:
        items = client.subscribe(from_start=True, words=True)
        assert [(await anext(items)).event for _ in "ab"] == [final(1), translation(1)]
        unwanted = client.subscribe(from_start=True, words=True, languages=())
        assert (await anext(unwanted)).event == final(1)
        served.broker.publish(final(2))
        assert (await anext(unwanted)).event == final(2)
