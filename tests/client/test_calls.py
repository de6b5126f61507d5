"""The client against a real server: everything that it offers, and what it does when the server goes away."""

import asyncio
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from rtstream.client import ServerError, Transcript
from rtstream.client.samples import SampleClient
from rtstream.errors import AudioError
from rtstream.events import AudioLost, DeviceState, Fault, Final, Partial, Translation
from rtstream.publish.broker import Broker
from rtstream.publish.items import Gap, Position
from rtstream.wire.values import StreamSettings
from tests.publish.finals import final, partial
from tests.rpc.calls import until
from tests.rpc.conftest import running
from tests.rpc.server_process import start_server

ROOT = Path(__file__).parents[2]
SECOND = np.zeros(16_000, "<i2").tobytes()


async def take(items, count):
    return [await anext(items) for _ in range(count)]


def segments(items):
    return [item.event.segment for item in items if not isinstance(item, Gap) and isinstance(item.event, Final)]


async def subscribed(served, count=1):
    await until(lambda: served.broker.subscribers >= count)


async def test_events_arrive_as_they_were_published(served):
    events = [
        DeviceState("mic", "capturing", "all is well"),
        partial(1),
        final(1),
        AudioLost(16_000, 321, "behind"),
        Fault("DISK_FULL", "the disk is full", recovered=True),
        final(2),
    ]
    async with served.client() as client:
        items = client.subscribe(words=True)
        first = asyncio.ensure_future(anext(items))
        await subscribed(served)
        for event in events:
            served.broker.publish(event)
        got = [await first, *await take(items, len(events) - 1)]
    assert [item.event for item in got] == events
    assert [item.sequence for item in got] == [None, None, 1, None, None, 2]


async def test_finals_since_the_start_without_partials(served):
    for number in range(300):
        served.broker.publish(partial(number))
        served.broker.publish(final(number))
    async with served.client() as client:
        got = await take(client.subscribe(from_start=True, partials=False), 300)
        assert segments(got) == list(range(300))
        again = await take(client.subscribe(resume_after=got[99].position), 200)
    assert segments(again) == list(range(100, 300))
    assert got[0].event.words == ()  # not asked for


async def test_gap_is_given_to_the_subscriber():
    async with running(broker=Broker(held_finals=5)) as served, served.client() as client:
        served.broker.publish(final(0))
        (first,) = await take(client.subscribe(from_start=True), 1)
        for number in range(1, 20):
            served.broker.publish(final(number))
        await until(lambda: served.broker.last.sequence == 20)
        gap, *held = await take(client.subscribe(resume_after=first.position), 6)
        assert gap == Gap(first.position, "expired", 14)
        assert segments(held) == [15, 16, 17, 18, 19]
        lost, *_ = await take(client.subscribe(resume_after=Position("elsewhere", 7)), 6)
        assert lost == Gap(Position("elsewhere", 7), "unknown_epoch")


async def test_finals_come_once_and_in_order_though_the_server_is_killed_again_and_again(tmp_path):
    process = await asyncio.to_thread(start_server, tmp_path)
    states = []
    try:
        async with SampleClient(f"unix:{tmp_path}/socket") as client:
            got = []
            kills = 0
            async for item in client.subscribe(from_start=True, on_connection=lambda state, _: states.append(state)):
                assert not isinstance(item, Gap)
                if item.sequence is None:
                    continue
                got.append(item)
                if len(got) % 60 == 0:
                    if kills == 2:
                        break
                    kills += 1
                    process.send_signal(signal.SIGKILL)
                    await asyncio.to_thread(process.wait)
                    process = await asyncio.to_thread(start_server, tmp_path)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [item.sequence for item in got] == list(range(1, len(got) + 1))
    # A segment's number is that of its final, and that of a final that was stored and not yet given is not given twice.
    assert segments(got) == [item.sequence for item in got]
    assert len({item.epoch for item in got}) == 1
    assert states.count("lost") == states.count("connected") - 1 == 2


async def test_what_is_said_before_the_first_final_is_not_lost_with_the_connection(tmp_path):
    process = await asyncio.to_thread(start_server, tmp_path)
    try:
        async with SampleClient(f"unix:{tmp_path}/socket") as client:
            items = client.subscribe()  # from now on, and no final has come yet
            first = await anext(items)
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            process = await asyncio.to_thread(start_server, tmp_path)
            got = [first]
            while len(segments(got)) < 100:
                got.append(await anext(items))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    numbers = [item.sequence for item in got if not isinstance(item, Gap) and item.sequence is not None]
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert not any(isinstance(item, Gap) for item in got)


async def test_slow_subscriber_is_resumed_by_the_client_without_loss():
    async with running(broker=Broker(queue_size=20)) as served, served.client() as client:
        states = []
        items = client.subscribe(on_connection=lambda state, message: states.append((state, message)))
        first = asyncio.ensure_future(anext(items))
        await subscribed(served)
        for number in range(1000):
            served.broker.publish(final(number, "x" * 5000))
        got = [await first, *await take(items, 999)]
        assert segments(got) == list(range(1000))
        assert any("too slowly" in message for _, message in states)


async def test_first_connection_that_fails_is_an_error_unless_asked_to_wait(tmp_path):
    async with SampleClient(f"unix:{tmp_path}/socket") as client:
        with pytest.raises(ServerError, match="no service listens there") as told:
            await anext(client.subscribe())
        assert told.value.code is grpc.StatusCode.UNAVAILABLE
        waiting = asyncio.ensure_future(anext(client.subscribe(wait=True, from_start=True)))
        process = await asyncio.to_thread(start_server, tmp_path)
        try:
            assert (await waiting).event is not None
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


async def test_recognize_gives_partials_and_finals_of_any_encoding(served):
    async with served.client() as client:
        plain = [event async for event in client.recognize([SECOND] * 3)]
        assert [type(event) for event in plain] == [Partial, Final] * 3
        assert [(event.start, event.end) for event in plain if isinstance(event, Final)] == [
            (0, 16_000),
            (16_000, 32_000),
            (32_000, 48_000),
        ]
        loud = np.full(2 * 48_000 * 2, 0.5, "<f4").tobytes()
        cut = [loud[begin : begin + 1001] for begin in range(0, len(loud), 1001)]
        wanted = {"partials": False, "words": True, "chunk_ms": 640, "phrases": ("Grafana=2", "New Relic")}
        events = client.recognize(cut, rate=48_000, channels=2, floats=True, language=["en", "es"], **wanted)
        finals = [event async for event in events]
        assert [(event.end, event.text) for event in finals] == [(16_000, "0.500"), (32_000, "0.500")]
        assert served.hub.settings[1] == StreamSettings(**wanted, languages=("en", "es"))
    assert not served.hub.open_streams


async def test_recognize_gives_translations_where_they_are_asked_for(served):
    async with served.client() as client:
        events = [event async for event in client.recognize([SECOND] * 2, partials=False, translate=True)]
    assert [(type(event), event.language) for event in events] == [(Final, "es"), (Translation, "en")] * 2
    assert [event.text for event in events] == ["0.000", "0.000 in English"] * 2
    assert all((after.start, after.end) == (before.start, before.end) for before, after in pairwise(events[:2]))


async def test_transcribe_gives_translations_where_they_are_asked_for(served, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(32_000, 0.25), 16_000)
    async with served.client() as client:
        for transcript in (
            await client.transcribe(path, translate=True),
            await client.transcribe_short(SECOND * 2, translate=True),
        ):
            assert isinstance(transcript, Transcript)
            assert [(final.end, final.language) for final in transcript] == [(16_000, "es"), (32_000, "es")]
            assert [(each.end, each.language) for each in transcript.translations] == [(16_000, "en"), (32_000, "en")]
        plain = await client.transcribe(path)
        assert (len(plain), plain.translations) == (2, [])


async def test_transcribe_reads_any_recording(served):
    clip = next(iter(sorted((ROOT / "tests" / "data").glob("*.flac"))), None)
    if clip is None:
        pytest.skip("tests/data has no FLAC file")
    async with served.client() as client:
        finals = await client.transcribe(clip, phrases=["Grafana"], language="auto")
        assert finals
        assert served.hub.settings[-1].phrases == ("Grafana",)
        assert served.hub.settings[-1].languages == ()
        with pytest.raises(AudioError, match="no such file"):
            await client.transcribe(ROOT / "not there.wav")


async def gather(events, into):
    async for event in events:
        into.append(event)


async def test_error_of_the_audio_comes_after_all_that_was_said_before_it(served):
    def failing():
        yield SECOND
        yield SECOND[: len(SECOND) // 2]
        raise AudioError("the disk has failed")

    async def failing_later():
        for chunk in failing():
            yield chunk

    async with served.client() as client:
        for audio in (failing(), failing_later()):
            events = []
            with pytest.raises(AudioError, match="the disk has failed"):
                await gather(client.recognize(audio), events)
            assert [type(event) for event in events] == [Partial, Final, Final]
            assert events[-1].end == 24_000
    assert not served.hub.open_streams


async def test_transcribe_of_a_truncated_recording_has_its_finals_in_the_error(served, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(48_000, 0.25), 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 24_000])
    async with served.client() as client:
        with pytest.raises(AudioError, match="truncated") as raised:
            await client.transcribe(path)
    assert [(final.start, final.end) for final in raised.value.finals] == [(0, 16_000), (16_000, 24_000)]


async def test_transcribe_short(served):
    async with served.client() as client:
        finals = await client.transcribe_short(SECOND * 2, phrases=["Grafana"])
        assert served.hub.settings[-1].phrases == ("Grafana",)
        with pytest.raises(ServerError, match="the weight 'abc' is not a number"):
            await client.transcribe_short(SECOND, phrases=["x=abc"])
        with pytest.raises(AudioError, match="middle of a frame") as raised:
            await client.transcribe_short(SECOND + b"\0")
    assert [event.end for event in finals] == [16_000, 32_000]
    assert [event.end for event in raised.value.finals] == [16_000]


async def test_status_and_devices_are_what_the_daemon_says(served):
    async with served.client() as client:
        assert await client.status() == served.hub.status()
        assert await client.devices() == await served.hub.devices()


async def test_client_imports_neither_torch_nor_audio_libraries():
    program = """
import sys, rtstream.client.samples
sys.exit(", ".join({"torch", "soxr", "soundfile", "sounddevice"} & sys.modules.keys()) or 0)
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b"")
