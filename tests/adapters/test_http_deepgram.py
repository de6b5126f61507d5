"""/v1/listen, as Deepgram's own client uses it, and as one that means harm does."""

import asyncio
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import websockets
from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment

from tests.adapters.http_served import serving, to_the_end
from tests.rpc.calls import until

SECOND = b"\x00\x40" * 16_000
TOKEN = "correct-horse-battery"  # noqa: S105


@pytest.fixture
async def served():
    async with serving() as made:
        yield made


@asynccontextmanager
async def connected(served, key="none", **options):
    ws = served.url.replace("http:", "ws:")
    environment = DeepgramClientEnvironment(base=served.url, production=ws, agent=ws, agent_rest=served.url)
    client = AsyncDeepgramClient(api_key=key, environment=environment)
    options = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, **options}
    async with client.listen.v1.connect(**options) as connection:
        yield connection


async def rest(connection):
    async with asyncio.timeout(120):
        return [message async for message in connection]


def texts(messages, *, final=True):
    return [m.channel.alternatives[0].transcript for m in messages if m.type == "Results" and m.is_final is final]


async def test_deepgram_s_client_gets_interim_and_final_results(served):
    options = {"interim_results": "true", "vad_events": "true", "utterance_end_ms": 1000, "endpointing": 300}
    async with connected(served, **options, keyterm=["Ada Lovelace"]) as connection:
        await connection.send_media(SECOND)
        await connection.send_keep_alive()
        await connection.send_media(SECOND[: len(SECOND) // 2])
        await connection.send_close_stream()
        messages = await rest(connection)
    kinds = [message.type for message in messages]
    assert kinds == ["SpeechStarted", "Results", "Results", "UtteranceEnd", "Results", "UtteranceEnd", "Metadata"]
    assert texts(messages, final=False) == ["half"]
    assert texts(messages) == ["0.500", "0.500"]
    last = next(message for message in reversed(messages) if message.type == "Results")
    assert (last.start, last.duration, last.speech_final, last.from_finalize) == (1.0, 0.5, True, False)
    [word] = last.channel.alternatives[0].words
    assert (word.punctuated_word, word.start, word.end, word.confidence) == ("0.500", 1.0, 1.5, 0.5)
    assert messages[-1].duration == 1.5
    assert messages[-1].request_id == last.metadata.request_id
    [settings] = served.hub.settings
    assert (settings.silence_ms, settings.phrases) == (300, ("Ada Lovelace",))
    await until(lambda: not served.hub.open_streams)


async def test_what_was_said_is_final_when_the_client_says_so(served):
    async with connected(served) as connection:
        await connection.send_media(SECOND[: len(SECOND) // 2])
        await connection.send_finalize()
        async with asyncio.timeout(120):
            first, second = [await connection.recv(), await connection.recv()]
        assert first.channel.alternatives[0].transcript == "0.500"
        assert (second.from_finalize, second.channel.alternatives[0].transcript) == (True, "")
        await connection.send_close_stream()
        assert [message.type for message in await rest(connection)] == ["Metadata"]


async def test_key_is_the_token(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    async with serving(tokens=tokens) as served:
        async with connected(served, key=TOKEN) as connection:
            await connection.send_close_stream()
            assert [message.type for message in await rest(connection)] == ["Metadata"]
        with pytest.raises(Exception, match="401"):
            async with connected(served, key="wrong-horse-battery"):
                pass


async def test_language_may_be_one_that_the_model_knows_or_any(served):
    served.hub.recognized_languages = ("en", "es")
    for asked, wanted in ((None, None), ("es-419", ("es",)), ("multi", ())):
        async with connected(served, **({} if asked is None else {"language": asked})) as connection:
            await connection.send_close_stream()
            await rest(connection)
        assert served.hub.settings[-1].languages == wanted


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "encoding"),
        ("encoding=opus", "encoding"),
        ("encoding=linear16", "sample_rate"),
        ("encoding=linear16&sample_rate=1e9", "sample_rate"),
        ("encoding=linear16&sample_rate=99999999999999999999", "sample_rate"),
        ("encoding=linear16&sample_rate=16000&channels=0", "channels"),
        ("encoding=linear16&sample_rate=16000&language=de", "language"),
    ],
)
async def test_what_cannot_be_asked_is_named_before_it_begins(served, query, field):
    async with served.session.get(f"/v1/listen?{query}") as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["param"] == field


async def test_what_was_said_before_something_wrong_is_told_and_then_what_is_wrong(served):
    async with connected(served) as connection:
        await connection.send_media(SECOND)
        await connection._websocket.send('{"type": "Configure"}')
        messages, _ = await to_the_end(connection._websocket)
    assert messages[0]["channel"]["alternatives"][0]["transcript"] == "0.500"
    assert messages[-1]["type"] == "Error"
    assert "Configure" in messages[-1]["description"]


async def test_when_all_streams_are_taken_it_is_told():
    query = "encoding=linear16&sample_rate=16000"
    async with serving(limit=0) as served, served.session.ws_connect(f"/v1/listen?{query}") as socket:
        assert (await socket.receive_json())["variant"] == "TOO_MANY_STREAMS"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1013


async def test_client_that_goes_away_frees_its_stream(served):
    with suppress(websockets.ConnectionClosed):
        async with connected(served) as connection:
            await connection.send_media(SECOND)
            await until(lambda: served.hub.open_streams)
            connection._websocket.transport.abort()
    await until(lambda: not served.hub.open_streams)
