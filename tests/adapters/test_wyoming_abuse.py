"""What a Wyoming port is sent that nobody should send: the others are served all the same, and nothing stays behind."""

import asyncio
import json
import socket

import numpy as np
import pytest

from rtstream.adapters.networks import admits, read_networks
from rtstream.adapters.wyoming import request
from rtstream.adapters.wyoming.config import Limits
from rtstream.errors import ConfigError
from rtstream.events import AudioBlock
from rtstream.recognizer.phrases import Phrase
from rtstream.rpc.security import Address
from tests.adapters.wyoming_served import RATE, error, heard, say, speech, text, until, wyoming

SHORT = Limits(idle_seconds=0.2, pause_seconds=0.05)


async def last(reader):
    """The error that ends a connection."""
    async with asyncio.timeout(120):
        lines = (await reader.read()).split(b"\n")
    header = json.loads(lines[0])
    assert header["type"] == "error"
    return json.loads(lines[1][: header["data_length"]])


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: pi\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 7}\n',
        b'{"type": "ping", "data": []}\n',
        b'{"type": "ping", "data_length": -1}\n',
        b'{"type": "ping", "data_length": true}\n',
        b'{"type": "ping", "data_length": 1e300}\n',
        b'{"type": "ping", "data_length": 99999999999}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
        b'{"type": "ping", "data_length": 2}\n[]',
        b'{"type": "ping", "data_length": 2}\n{{',
        b"x" * 200_000,
        b'{"type": "audio-start"}\n',
        b'{"type": "audio-start", "data": {"rate": "16000", "width": 2, "channels": 1}}\n',
        b'{"type": "audio-start", "data": {"rate": 1, "width": 2, "channels": 1}}\n',
        b'{"type": "audio-start", "data": {"rate": 16000, "width": 9, "channels": 1}}\n',
        b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 100000}}\n',
        b'{"type": "audio-start", "data": {"rate": 1e99, "width": 2, "channels": 1}}\n',
        b'{"type": "transcribe", "data": {"language": {"a": 1}}}\n',
        b'{"type": "transcribe", "data": {"name": ["tiny"]}}\n',
        b'{"type": "select-program", "data": {"name": {}}}\n',
    ],
)
async def test_what_is_no_event_is_answered_by_one_line_that_says_so(garbage):
    async with wyoming() as served:
        reader, writer = await served.connect()
        writer.write(garbage)
        told = await last(reader)
        assert told["code"] in {"protocol", "audio-format", "language-unsupported", "model-unknown", "program-unknown"}
        assert told["text"]
        assert "\n" not in told["text"]
        assert len(told["text"]) < 300
        writer.close()
        async with served.client() as client:
            await say(client, speech(0.5))
            assert text(await heard(client)) == "0.500"


async def test_odd_details_of_a_request_are_passed_over():
    async with wyoming() as served:
        reader, writer = await served.connect()
        data = {"transcript_names": [1, None, {}, "Ada"], "transcript_terms": "Ada", "vad_sensitivity": []}
        writer.write(json.dumps({"type": "transcribe", "data": data}).encode() + b'\n{"type": "ping"}\n')
        assert json.loads(await reader.readline())["type"] == "pong"
        writer.close()


async def test_half_a_character_is_not_repeated():
    async with wyoming() as served:
        reader, writer = await served.connect()
        writer.write(b'{"type": "ping", "data": {"text": "a\\ud800"}}\n')
        header = json.loads(await reader.readline())
        assert json.loads(await reader.readexactly(header["data_length"])) == {"text": "a?"}
        writer.close()


def test_of_names_without_end_only_some_are_looked_at(monkeypatch):
    looked_at = []
    monkeypatch.setattr(request, "parse_phrase", lambda text: looked_at.append(text) or Phrase("", 1.0))
    assert not request.TurnRequest(names=("1",) * 60_000, terms=("a",)).phrases(500)
    assert len(looked_at) == request.MOST_TEXTS


async def test_a_client_that_says_nothing_is_sent_away():
    async with wyoming(limits=SHORT) as served:
        reader, writer = await served.connect()
        assert await asyncio.wait_for(reader.read(), 120) == b""
        writer.close()


@pytest.mark.parametrize(
    "half",
    [b'{"type": "pi', b'{"type": "ping", "data_length": 10}\n{', b'{"type": "audio-chunk", "payload_length": 9}\nx'],
)
async def test_half_an_event_is_not_waited_for_without_end(half):
    async with wyoming(limits=SHORT) as served:
        reader, writer = await served.connect()
        writer.write(half)
        assert await asyncio.wait_for(reader.read(), 120) == b""
        writer.close()


async def test_an_event_that_comes_in_drops_is_not_waited_for_without_end():
    async with wyoming(limits=SHORT) as served:
        reader, writer = await served.connect()
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert ended.exception() is not None or ended.result() == b""
        writer.close()


async def test_a_turn_without_audio_ends_with_what_was_said_and_the_reason():
    async with wyoming(limits=SHORT) as served, served.client() as client:
        await say(client, speech(1.0), stop=False)
        events = await heard(client, "error")
        assert text(events) == "0.500"
        assert error(events) == "idle"
        await until(lambda: not served.hub.open_streams)


async def test_idle_connections_give_way_to_new_ones():
    async with wyoming(limits=Limits(8, 4, 120.0, 120.0)) as served:
        idle = [await served.connect() for _ in range(50)]
        async with served.client() as client:
            await say(client, speech(0.5))
            assert text(await heard(client)) == "0.500"
        await until(lambda: len(served.server._doors[0]._open) <= 4)
        for _, writer in idle:
            writer.close()


async def test_connections_that_are_served_keep_their_place_and_a_new_one_is_told():
    limits = Limits(8, 2, 120.0, 120.0)
    async with wyoming(limits=limits) as served, served.client() as first, served.client() as second:
        for client in (first, second):
            await say(client, speech(1.0), stop=False)
            await heard(client, "transcript-chunk")
        async with served.client() as third:
            assert error(await heard(third)) == "too-many-connections"
        await say(first, b"")
        assert text(await heard(first)) == "0.500"


async def test_a_flood_of_events_keeps_nobody_else_from_being_served():
    async with wyoming() as served:
        _, writer = await served.connect()

        async def flood():
            while True:
                writer.write(b'{"type": "transmogrify"}\n' * 100)
                await writer.drain()

        flooding = asyncio.ensure_future(flood())
        for _ in range(5):
            async with served.client() as client:
                await say(client, speech(0.5))
                assert text(await heard(client)) == "0.500"
        flooding.cancel()
        writer.close()


async def test_a_client_that_does_not_read_is_sent_away():
    async with wyoming(limits=Limits(idle_seconds=0.5, pause_seconds=60.0)) as served:
        _, writer = await served.connect()
        writer.transport.pause_reading()
        ping = json.dumps({"type": "ping", "data": {"text": "x" * 60_000}}).encode() + b"\n"

        async def flood():
            while True:
                writer.write(ping)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(), 120)
        writer.close()
        await until(lambda: not served.server._doors[0]._open)


async def test_who_hears_the_microphone_and_does_not_read_holds_up_nobody():
    async with wyoming(microphone=True, limits=Limits(idle_seconds=0.5, pause_seconds=60.0)) as served:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)  # noqa: FBT003 - the library's signature
        await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", served.server.ports[1]))
        door = served.server._doors[1]
        await until(lambda: door._open and served.audio._listeners)
        block = AudioBlock(np.zeros(RATE, np.float32), 0)
        async with asyncio.timeout(120):
            while door._open:
                served.audio.put(block)
                assert all(listener._samples <= 2 * RATE for listener in served.audio._listeners)
                await asyncio.sleep(0.001)
        assert not served.audio._listeners
        slow.close()


async def test_a_turn_has_its_end(monkeypatch):
    monkeypatch.setattr("rtstream.adapters.wyoming.turn.LONGEST_SECONDS", 2.0)
    async with wyoming() as served, served.client() as client:
        await say(client, speech(4.0), stop=False)
        events = await heard(client, "error")
        assert text(events).startswith("0.500")
        assert error(events) == "audio-too-long"


async def test_who_is_not_among_those_that_may_connect_is_not_served():
    allow = read_networks(["192.168.1.5", "10.0.0.0/8"], "wyoming.allow")
    assert admits(allow, "192.168.1.5")
    assert admits(allow, "10.3.2.1")
    assert not admits(allow, "192.168.1.6")
    assert not admits(allow, "2001:db8::/64")
    assert admits(allow, "loopback")
    assert admits(allow, "unix")
    with pytest.raises(ConfigError, match=r"wyoming\.allow: 'pi' is no address"):
        read_networks(["pi"], "wyoming.allow")


async def test_a_unix_socket_has_its_mode_and_goes_with_the_service(tmp_path):
    path = tmp_path / "wyoming.sock"
    async with wyoming(listen=Address(path=str(path)), unix_mode=0o600):
        assert path.stat().st_mode & 0o777 == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"type": "ping"}\n')
        assert json.loads(await reader.readline())["type"] == "pong"
        writer.close()
    assert not path.exists()


async def test_an_address_that_is_taken_is_told_in_one_line():
    async with wyoming() as served:
        with pytest.raises(ConfigError, match=r"wyoming.listen = '127.0.0.1:\d+': cannot be listened on"):
            async with wyoming(listen=Address(host="127.0.0.1", port=served.port)):
                pass
