"""/v1/realtime, as OpenAI's own client and one that means harm use it."""

import asyncio
import base64
from contextlib import asynccontextmanager, suppress

import aiohttp
import numpy as np
import openai
import pytest

from tests.adapters.http_served import serving
from tests.rpc.calls import until

PATH = "/v1/realtime?intent=transcription"
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def audio(seconds=1.0, level=0.5):
    samples = np.full(round(24_000 * seconds), round(level * 32768), "<i2")
    return base64.b64encode(samples.tobytes()).decode()


@asynccontextmanager
async def connected(served, turn_detection=None, **transcription):
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as api:  # noqa: SIM117
        async with api.realtime.connect(extra_query={"intent": "transcription"}) as connection:
            created = await anext(aiter(connection))
            assert created.type == "session.created"
            source = {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "whisper-1", **transcription},
                "turn_detection": turn_detection,
            }
            await connection.session.update(session={"type": "transcription", "audio": {"input": source}})
            assert (await anext(aiter(connection))).type == "session.updated"
            yield connection


async def collect(connection, last, count=1):
    """Events up to and with the ``count``-th whose type ends so."""
    events = []
    async with asyncio.timeout(120):
        async for event in connection:
            events.append(event)
            if sum(found.type.endswith(last) for found in events) == count:
                break
    return events


def levels(completed):
    """What the script heard, to a twentieth: resampling rings a little."""
    return [round(float(text) * 20) / 20 for text in completed.transcript.split()]


def kinds(events):
    return [event.type.removeprefix("conversation.item.").removeprefix("input_audio_") for event in events]


async def test_client_commits_its_turns():
    async with serving() as served, connected(served, prompt="Grafana, Wren Hollow") as connection:
        await connection.input_audio_buffer.append(audio=audio(1.0))
        await connection.input_audio_buffer.append(audio=audio(0.5))
        await connection.input_audio_buffer.commit()
        events = await collect(connection, "transcription.completed")
        assert levels(events[-1]) == [0.5, 0.5]
        assert events[-1].usage.seconds == pytest.approx(1.5, abs=0.01)
        assert served.hub.settings[0].phrases == ("Grafana", "Wren Hollow")
        assert "buffer.committed" in kinds(events)
        deltas = [event.delta for event in events if event.type == f"{TRANSCRIPTION}.delta"]
        assert "".join(deltas).startswith("half")  # the scripted partial, which its final does not extend
        assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1
        await connection.input_audio_buffer.append(audio=audio(0.5, 0.25))
        await connection.input_audio_buffer.commit()
        again = await collect(connection, "transcription.completed")
        assert levels(again[-1]) == [0.25]
        assert again[-1].item_id != events[-1].item_id
        committed = next(event for event in again if event.type == "input_audio_buffer.committed")
        assert committed.previous_item_id == events[-1].item_id


async def test_service_finds_the_turns():
    vad = {"type": "server_vad", "silence_duration_ms": 400}
    async with serving() as served, connected(served, vad) as connection:
        await connection.input_audio_buffer.append(audio=audio(2.5))
        events = await collect(connection, "transcription.completed", 2)
        assert events[0].type == "input_audio_buffer.speech_started"
        assert [levels(event) for event in events if event.type.endswith("completed")] == [[0.5], [0.5]]
        assert served.hub.settings[0].silence_ms == 400
        assert served.hub.settings[0].speech


async def test_pause_of_the_client_ends_a_turn_and_gives_its_place_back():
    async with serving(pause_seconds=0.1, idle_seconds=5.0) as served:  # noqa: SIM117
        async with connected(served, {"type": "server_vad"}) as connection:
            await connection.input_audio_buffer.append(audio=audio(0.5))
            events = await collect(connection, "transcription.completed")
            assert levels(events[-1]) == [0.5]
            await until(lambda: not served.hub.open_streams)
            await connection.input_audio_buffer.append(audio=audio(1.0))
            assert levels((await collect(connection, "transcription.completed"))[-1]) == [0.5]


async def test_cleared_audio_is_forgotten():
    async with serving() as served, connected(served) as connection:
        await connection.input_audio_buffer.append(audio=audio(0.5))
        await connection.input_audio_buffer.clear()
        await collect(connection, "input_audio_buffer.cleared")
        await connection.input_audio_buffer.append(audio=audio(0.5, 0.25))
        await connection.input_audio_buffer.commit()
        assert levels((await collect(connection, "transcription.completed"))[-1]) == [0.25]


async def test_session_is_in_the_language_that_it_names():
    async with serving() as served:
        for named, wanted in (("en", ("en",)), ("auto", ()), ("", None)):
            async with connected(served, language=named) as connection:
                await connection.input_audio_buffer.append(audio=audio(1.0))
                await connection.input_audio_buffer.commit()
                await collect(connection, "transcription.completed")
            assert served.hub.settings[-1].languages == wanted


async def test_what_is_wrong_is_told_and_the_connection_stays():
    async with serving() as served, served.session.ws_connect(PATH) as socket:
        assert (await socket.receive_json())["type"] == "session.created"
        wrong = [
            ("not json", "type"),
            ("[" * 100_000, "type"),
            ({"type": "response.create"}, "type"),
            ({"type": "x" * 100_000}, "type"),
            (update(transcription={"language": "\ud800"}), "language"),
            (update(transcription={"language": "x" * 100_000}), "language"),
            ({"type": "input_audio_buffer.append", "audio": "%"}, "audio"),
            ({"type": "input_audio_buffer.commit"}, "audio"),
            ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
            ({"type": "session.update", "session": {"audio": 3}}, "session.audio"),
            (update(format={"type": "audio/pcmu"}), "session.audio.input.format"),
            (update(transcription={"language": "de"}), "language"),
            (
                update(turn_detection={"silence_duration_ms": 9}),
                "session.audio.input.turn_detection.silence_duration_ms",
            ),
        ]
        for message, param in wrong:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_json(message))
            error = await socket.receive_json()
            assert (error["type"], error["error"]["param"]) == ("error", param)
            assert len(error["error"]["message"]) < 300
        await socket.send_json(update(transcription={"model": "\ud800"}))  # half a character
        assert (await socket.receive_json())["type"] == "session.updated"
        await socket.send_json({"type": "input_audio_buffer.append", "audio": audio(1.0)})
        assert (await socket.receive_json())["type"] == "input_audio_buffer.speech_started"


def update(**source):
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": source}}}


async def test_when_all_streams_are_taken_it_is_told():
    async with serving(limit=0) as served, served.session.ws_connect(PATH) as socket:
        await socket.receive_json()
        await socket.send_json({"type": "input_audio_buffer.append", "audio": audio(1.0)})
        assert (await socket.receive_json())["error"]["code"] == "too_many_streams"
        assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}


async def test_client_that_goes_away_frees_its_stream():
    async with serving() as served:
        async with served.session.ws_connect(PATH) as socket:
            await socket.receive_json()
            await socket.send_json({"type": "input_audio_buffer.append", "audio": audio(1.0)})
            await until(lambda: served.hub.open_streams)
        await until(lambda: not served.hub.open_streams)


async def test_message_that_is_too_large_ends_the_connection():
    async with serving() as served, served.session.ws_connect(PATH) as socket:
        await socket.receive_json()
        with suppress(ConnectionError):  # it may end while it is sent
            await socket.send_str("x" * (5 << 20))
        await until(lambda: not len(served.server.connections))
        assert not served.hub.settings


@pytest.mark.parametrize("what", ["nonsense", "audio", "pings"])
async def test_flood_whose_answers_are_not_read_ends_and_keeps_nobody_from_being_served(what, monkeypatch):
    monkeypatch.setattr("rtstream.adapters.http.live.PING_SECONDS", 1.0)
    async with serving(idle_seconds=1.0) as served, served.session.ws_connect(PATH, autoping=False) as socket:
        append = {"type": "input_audio_buffer.append", "audio": audio(0.5)}
        served.hub.padding = "x" * 20_000  # of each final, of which half a second of audio makes one with the next

        async def flood():
            while True:
                if what == "pings":
                    await socket.ping(b"x" * 100)
                else:
                    await socket.send_json({"type": "x" * 1_000} if what == "nonsense" else append)

        flooding = asyncio.ensure_future(flood())
        for _ in range(3):
            async with connected(served) as connection:
                await connection.input_audio_buffer.append(audio=audio(1.0))
                await connection.input_audio_buffer.commit()
                await collect(connection, "completed")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flooding, 120)
        await until(lambda: not served.hub.open_streams)


@pytest.mark.parametrize(
    "frame", [b"\x81", b"\x81\xfe\xff\xff", b"\x81\x05hello", b"\xff\x80\x00\x00\x00\x00", b"\x89\xff"]
)
async def test_half_a_frame_and_what_is_none_end_the_connection(frame, monkeypatch):
    monkeypatch.setattr("rtstream.adapters.http.live.PING_SECONDS", 0.5)
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        writer.write(head.encode())
        assert b"101" in await reader.readline()
        writer.write(frame)
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 120)
        await until(lambda: not len(served.server.connections))
        writer.close()


async def test_browser_s_page_of_another_origin_and_another_intent_are_refused():
    async with serving() as served:
        for path, headers, status in ((PATH, {"Origin": "http://evil.example"}, 403), ("/v1/realtime", {}, 400)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await served.session.ws_connect(path, headers=headers)
            assert refused.value.status == status
