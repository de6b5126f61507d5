"""The clients that programs import: the one without an event loop, and the one for asyncio."""

import asyncio
import dataclasses
import inspect
import re
import signal
import socket
import subprocess
import sys
import typing

import numpy as np
import pytest
import soundfile

import rtstream.client
from rtstream import events
from rtstream.client import (
    AsyncClient,
    AudioError,
    AudioLost,
    Client,
    DeviceState,
    Fault,
    Final,
    Gap,
    Partial,
    Position,
    ServerError,
    Translation,
    Word,
    synchronous,
)
from rtstream.publish.broker import Broker
from tests.pages import README, ROOT, examples
from tests.publish.finals import final, partial
from tests.rpc.calls import until
from tests.rpc.conftest import running
from tests.rpc.server_process import start_server

SECOND = np.full(16_000, 1 << 14, "<i2").tobytes()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "talk.flac"
    soundfile.write(path, np.full(3 * 22_050, 0.25), 22_050)
    return path


def take(stream, count):
    return [next(stream) for _ in range(count)]


WORD = events.Word("a", 8_000, 16_000, 0.5)
PUBLISHED = [
    DeviceState("mic", "capturing", "all is well"),
    events.Partial(0, 8_000, 16_000, "a", (WORD,)),
    events.Final(0, 8_000, 24_000, "a b", (WORD,), "ctc"),
    events.Translation(0, 8_000, 24_000, "x", "es", final=True),
    events.AudioLost(40_000, 4_000, "behind"),
    Fault("DISK_FULL", "the disk is full", recovered=True),
]


def expected(position):
    word = Word("a", 0.5, 1.0, 0.5)
    return [
        PUBLISHED[0],
        Partial(0, 0.5, 1.0, "a", (word,)),
        Final(0, 0.5, 1.5, "a b", (word,), "ctc", position),
        Translation(0, 0.5, 1.5, "x", "es", final=True, position=position),
        AudioLost(2.5, 0.25, "behind"),
        PUBLISHED[5],
    ]


async def publish(served):
    await until(lambda: served.broker.subscribers)
    for event in PUBLISHED:
        served.broker.publish(event)


async def test_times_are_seconds_without_an_event_loop(served):
    def listen():
        with Client(served.target) as client:
            return take(client.subscribe(words=True), len(PUBLISHED))

    got, _ = await asyncio.gather(asyncio.to_thread(listen), publish(served))
    assert got == expected(served.broker.last)


async def test_times_are_seconds_with_asyncio(served):
    async def listen(client):
        items = client.subscribe(words=True)
        return [await anext(items) for _ in PUBLISHED]

    async with AsyncClient(served.target) as client:
        got, _ = await asyncio.gather(listen(client), publish(served))
    assert got == expected(served.broker.last)


async def test_subscription_goes_on_after_a_number_and_tells_of_what_is_missing():
    async with running(broker=Broker(held_finals=5)) as served:
        for number in range(20):
            served.broker.publish(final(number))

        def listen():
            with Client(served.target) as client:
                last = take(client.subscribe(from_start=True, partials=False), 5)[-1].position
                start = Position(last.epoch, 2)
                return last, take(client.subscribe(resume_after=start), 6), start

        last, (gap, *held), start = await asyncio.to_thread(listen)
    assert last.sequence == 20
    assert gap == Gap(start, "expired", 13)
    assert [event.segment for event in held] == [15, 16, 17, 18, 19]


def end(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_finals_come_once_and_in_order_though_the_service_is_killed(tmp_path):
    process = start_server(tmp_path)
    states = []
    got = []

    def note(state, _):
        states.append(state)

    try:
        with Client(f"unix:{tmp_path}/socket") as client:
            for event in client.subscribe(
                from_start=True, partials=False, on_connection=lambda state, _: states.append(state)
            ):
                got.append(event.position.sequence)
                if len(got) == 150:
                    break
                if len(got) % 50 == 0:
                    end(process)
                    process = start_server(tmp_path)
    finally:
        end(process)
    assert got == list(range(1, 151))
    assert states == ["connected", "lost", "connected", "lost", "connected"]


def test_service_that_is_not_there_is_an_error_at_once(tmp_path):
    with Client(f"unix:{tmp_path}/nothing") as client:
        with pytest.raises(ServerError, match="start it with 'rtstream serve'"):
            next(client.subscribe())
        with pytest.raises(ServerError, match="start it with 'rtstream serve'"):
            client.status()
        with pytest.raises(ServerError, match="start it with 'rtstream serve'"):
            list(client.recognize([SECOND]))


def test_what_does_not_answer_is_told_in_words(monkeypatch):
    monkeypatch.setattr(synchronous, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(ServerError, match="nothing answers there in time"):
            client.status()


async def test_own_audio_is_recognised_while_it_is_sent(served, recording):
    def recognize():
        with Client(served.target) as client:
            streamed = list(client.recognize([SECOND] * 2, words=True, phrases=["Grafana"], chunk_ms=640))
            return streamed, client.transcribe(recording, phrases=["New Relic"])

    streamed, recorded = await asyncio.to_thread(recognize)
    assert streamed == [
        Partial(0, 0.0, 0.5, "half", language="en"),
        Final(0, 0.0, 1.0, "0.500", (Word("0.500", 0.0, 1.0, 0.5),), language="en"),
        Partial(1, 1.0, 1.5, "half", language="en"),
        Final(1, 1.0, 2.0, "0.500", (Word("0.500", 1.0, 2.0, 0.5),), language="en"),
    ]
    assert [(event.start, event.end) for event in recorded] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert [settings.phrases for settings in served.hub.settings] == [("Grafana",), ("New Relic",)]
    assert (served.hub.settings[0].words, served.hub.settings[0].chunk_ms) == (True, 640)
    await until(lambda: not served.hub.open_streams)
    async with AsyncClient(served.target) as client:
        assert [event async for event in client.recognize([SECOND] * 2, words=True)] == streamed
        assert await client.transcribe(recording) == recorded


async def test_recording_is_translated_where_that_is_asked_for(served, recording):
    def blocking():
        with Client(served.target) as client:
            return client.transcribe(recording, translate=True)

    transcript = await asyncio.to_thread(blocking)
    assert [(final.end, final.language) for final in transcript] == [(1.0, "es"), (2.0, "es"), (3.0, "es")]
    assert [type(each) for each in transcript.translations] == [Translation] * 3
    first = transcript.translations[0]
    assert (first.end, first.language, first.final) == (1.0, "en", True)
    async with AsyncClient(served.target) as client:
        again = await client.transcribe(recording, translate=True)
    assert (again, again.translations) == (transcript, transcript.translations)


async def test_audio_that_fails_takes_nothing_away_that_was_recognised(served, tmp_path):
    def audio():
        yield SECOND
        raise OSError("the microphone was unplugged")

    def recognize():
        got = []
        with Client(served.target) as client:
            with pytest.raises(OSError, match="unplugged"):
                got.extend(client.recognize(audio(), partials=False))
            stream = client.recognize(audio(), partials=False)
            got.append(next(stream))
            with pytest.raises(OSError, match="unplugged"):
                next(stream)
            with pytest.raises(AudioError, match="no such file"):
                client.transcribe(tmp_path / "none.wav")
        return got

    got = await asyncio.to_thread(recognize)
    assert [event.end for event in got if isinstance(event, Final)][-1] == 1.0


async def test_error_of_a_recording_at_its_end_has_the_finals_before_it(served, tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, np.full(48_000, 0.25), 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 24_000])

    def blocking():
        with Client(served.target) as client:
            client.transcribe(path)

    with pytest.raises(AudioError, match="truncated") as raised:
        await asyncio.to_thread(blocking)
    assert [(final.start, final.end) for final in raised.value.finals] == [(0, 1), (1, 1.5)]
    async with AsyncClient(served.target) as client:
        with pytest.raises(AudioError, match="truncated") as again:
            await client.transcribe(path)
    assert again.value.finals == raised.value.finals


async def test_call_that_nobody_reads_to_its_end_is_ended(served):
    endless = iter(lambda: SECOND, None)

    def recognize():
        with Client(served.target) as client:
            for _ in client.recognize(endless):
                break

    await asyncio.to_thread(recognize)
    await until(lambda: not served.hub.open_streams)


async def test_subscription_ends_when_its_client_is_closed(served):
    client = Client(served.target)
    listening = asyncio.create_task(asyncio.to_thread(list, client.subscribe()))
    await until(lambda: served.broker.subscribers)
    served.broker.publish(final(0))
    client.close()
    assert len(await listening) <= 3


async def test_both_clients_serve_one_process(served):
    served.broker.publish(final(0))
    async with AsyncClient(served.target) as client:
        blocking = Client(served.target)
        answers = await asyncio.gather(client.status(), *(asyncio.to_thread(blocking.status) for _ in range(4)))
        blocking.close()
        assert await client.devices() == await served.hub.devices()
    assert {answer.phase for answer in answers} == {"ready"}


def test_partials_are_no_finals():
    from rtstream.publish.seconds import read_event

    assert isinstance(read_event(partial(1)), Partial)


def test_time_confidence_and_language_reach_programs():
    from rtstream import events
    from rtstream.publish.seconds import read_event

    read = read_event(events.Final(0, 0, 16_000, "a", confidence=0.75, time=1.5, language="es"))
    assert (read.confidence, read.time, read.language) == (0.75, 1.5, "es")
    assert read_event(events.Partial(0, 0, 16_000, "a", language="es")).language == "es"
    read = read_event(events.Speech(3, 8_000, "ended", time=2.5))
    assert (read.segment, read.start, read.state, read.time) == (3, 0.5, "ended", 2.5)
    assert read_event(events.AudioLost(0, 1, "behind", time=3.5)).time == 3.5
    assert read_event(events.Flushed()) == events.Flushed()


def test_every_type_that_a_program_meets_can_be_imported():
    public = {getattr(rtstream.client, name) for name in rtstream.client.__all__}
    names = set(rtstream.client.__all__)
    met = set()
    for owner in (Client, AsyncClient):
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_") or name == "__init__":
                met |= set(re.findall(r"\b[A-Z]\w+", " ".join(map(str, method.__annotations__.values()))))
    for kind in public:
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                met |= set(re.findall(r"\b[A-Z]\w+", str(field.type)))
    standard = set(typing.__all__) | {"Path", "None", "PathLike", "TracebackType", "Self", "CaptureState"}
    standard |= {"ItemT", "EventT", "FinalT", "TranslationT"}  # Event, RecognizedEvent and so on, in AsyncClient
    assert met - standard - names == set()


def test_import_loads_grpc_and_nothing_heavy():
    program = """
import sys
import rtstream.client
heavy = {"torch", "numpy", "onnxruntime", "soxr", "soundfile", "sounddevice", "pydantic", "click"}
sys.exit(", ".join(heavy & sys.modules.keys()) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


async def test_example_of_the_documentation_runs_where_an_event_loop_runs_already(tmp_path):
    (example,) = [block for block in examples(README, "python") if block.startswith("from rtstream.client")]
    written = []

    class EnoughError(Exception):
        pass

    def show(line):
        written.append(line)
        if len(written) == 3:
            raise EnoughError

    process = start_server(tmp_path)
    try:
        with pytest.raises(EnoughError):  # as a notebook does: in the thread of a loop
            exec(example.replace("127.0.0.1:7660", f"unix:{tmp_path}/socket"), {"print": show})  # noqa: S102
    finally:
        end(process)
    assert all(re.fullmatch(r" +\d+\.\d\d s  .+", line) for line in written)


def test_example_for_asyncio_runs(tmp_path):
    (example,) = examples(ROOT / "docs/clients.md", "python")
    process = start_server(tmp_path)
    try:
        program = [sys.executable, "-c", example.replace("127.0.0.1:7660", f"unix:{tmp_path}/socket")]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT) as listening:
            written = [listening.stdout.readline() for _ in range(3)]
            listening.kill()
    finally:
        end(process)
    assert [line.split()[0] for line in written] == ["1", "2", "3"]
