"""Measures the adapters beside gRPC, on a daemon of its own with the shipped model. For maintainers:

    .venv/bin/python -m tests.daemon.measure_adapters together --minutes 10 --grpc 50
    .venv/bin/python -m tests.daemon.measure_adapters imports

``together``: a subscriber of each kind and many of gRPC's to the service's own source, and one client at a time that
has audio of its own recognised, by each protocol in turn. Needs mosquitto. ``imports``: what a service with all
adapters off holds of their libraries, and its memory.
"""

import asyncio
import base64
import json
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import aiohttp
import aiomqtt
import click
import numpy as np
import soxr
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from rtstream.client.samples import SampleClient
from rtstream.events import SAMPLE_RATE, Final, Partial
from rtstream.publish.items import Published
from tests.adapters.mosquitto import Mosquitto
from tests.daemon.measure import PIECE, Playing, Track, cpu_seconds, daemon, end_what_was_started, show
from tests.daemon.siege import _free_port

PATIENT = aiohttp.ClientTimeout(None)
REALTIME_RATE = 24_000
TURN_SECONDS = 5.0
"""Of audio that a client has recognised at a time."""
LIBRARIES = ("aiohttp", "aiomqtt", "paho", "wyoming", "zeroconf", "ifaddr")


class Heard:
    """What one subscriber was told: how long after its audio, and of which finals."""

    def __init__(self, name, playing):
        self.name, self.partials, self.finals, self.numbers = name, [], [], []
        self.subscribed = asyncio.Event()
        self.arrived = {}  # by kind of event and the end of its audio
        self._playing = playing

    def note(self, kind, end, number=None):
        """Of an event whose audio ends at ``end``, in samples."""
        self.arrived.setdefault((kind, end), time.monotonic())
        if kind == "partial":
            self.partials.append(self._playing.since(end))
        elif kind == "final":
            self.finals.append(self._playing.since(end))
            self.numbers.append(number)

    def note_fields(self, kind, fields):
        if kind in {"partial", "final"}:
            self.note(kind, round(fields["end"] * SAMPLE_RATE), fields.get("sequence"))

    def behind(self, other):
        """Seconds by which each event came later than at another subscriber."""
        return [at - other.arrived[event] for event, at in self.arrived.items() if event in other.arrived]

    def wrong(self, last):
        """How many of the finals 1 to ``last`` did not come, came again, or came out of order."""
        new = Counter(self.numbers)
        return sum(new[n] != 1 for n in range(1, last + 1)) + sum(b < a for a, b in pairwise(self.numbers))


async def by_grpc(socket, heard):
    async with SampleClient(f"unix:{socket}") as client:
        async for item in client.subscribe(from_start=True):
            if isinstance(item, Published) and isinstance(item.event, Partial | Final):
                kind = "final" if isinstance(item.event, Final) else "partial"
                heard.note(kind, item.event.end, item.position and item.position.sequence)


async def by_events(url, heard, query="?from=start"):
    async with aiohttp.ClientSession(timeout=PATIENT) as session, session.get(f"{url}/events{query}") as answer:
        kind = ""
        async for line in answer.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                heard.note_fields(kind, json.loads(value))


async def by_mqtt(port, heard):
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for topic in ("partial", "final", "status"):
            await client.subscribe(f"rtstream/measured/{topic}", qos=1)
        async for message in client.messages:
            heard.subscribed.set()
            if not message.topic.matches("rtstream/measured/status"):
                fields = json.loads(message.payload)
                heard.note_fields(fields["event_type"], fields)


async def paced(pcm, speed=1.0):
    """Pieces at the speed of sound, or so many times it."""
    began = time.monotonic()
    for at in range(0, len(pcm), PIECE):
        await asyncio.sleep(max(0.0, began + at / SAMPLE_RATE / speed - time.monotonic()))
        yield pcm[at : at + PIECE]


async def turn_by_grpc(socket, pcm, speed=1.0, finals=None):
    """Seconds from the end of the audio to the last of what is recognised in it, as of the others; its texts."""
    ended = 0.0

    async def audio():
        nonlocal ended
        async for piece in paced(pcm, speed):
            yield piece.tobytes()
        ended = time.monotonic()

    async with SampleClient(f"unix:{socket}") as client:
        async for event in client.recognize(audio()):
            if finals is not None and isinstance(event, Final):
                finals.append(event.text)
    return time.monotonic() - ended


async def turn_by_wyoming(port, pcm, speed=1.0):
    form = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(**form).event())
        async for piece in paced(pcm, speed):
            await client.write_event(AudioChunk(**form, audio=piece.tobytes()).event())
        await client.write_event(AudioStop().event())
        ended = time.monotonic()
        while (event := await client.read_event()) is not None and not Transcript.is_type(event.type):
            pass
    return time.monotonic() - ended


async def turn_by_realtime(url, pcm, speed=1.0):
    fast = np.round(soxr.resample(pcm.astype(np.float32), SAMPLE_RATE, REALTIME_RATE)).clip(-32768, 32767).astype("<i2")
    step = PIECE * REALTIME_RATE // SAMPLE_RATE
    async with (
        aiohttp.ClientSession(timeout=PATIENT) as session,
        session.ws_connect(f"{url}/v1/realtime?intent=transcription") as socket,
    ):
        source = {"turn_detection": None}
        update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": source}}}
        await socket.send_json(update)
        number = 0
        async for _ in paced(pcm, speed):
            piece = base64.b64encode(fast[number * step : (number + 1) * step].tobytes()).decode()
            await socket.send_json({"type": "input_audio_buffer.append", "audio": piece})
            number += 1
        await socket.send_json({"type": "input_audio_buffer.commit"})
        ended = time.monotonic()
        async for message in socket:
            event = message.json()
            assert event["type"] != "error", event
            if event["type"].endswith("transcription.completed"):
                return time.monotonic() - ended
    raise AssertionError("the session ended before its text came")


async def take_turns(turns, track, until):
    """Have each protocol's client recognise the same audio, one after the other; seconds from its end to the text."""
    took = {name: [] for name in turns}
    length, at = round(TURN_SECONDS * SAMPLE_RATE), 0
    while time.monotonic() < until:
        pcm = np.roll(track.pcm, -at)[:length]
        for name, turn in turns.items():
            took[name].append(await turn(pcm))
        at += length
    return took


@click.group()
def main():
    """Measure the adapters of a daemon with the shipped model."""
    end_what_was_started()


@main.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--grpc", "others", default=50, show_default=True, help="Subscribers by gRPC besides the measured one.")
@click.option("--model", default="base", show_default=True)
def together(minutes, others, model):
    """A subscriber of each kind at once, and clients with audio of their own."""
    track = Track()

    async def run(running, fifo, url, wyoming, broker):
        playing = Playing(track)
        subscribers = {
            "gRPC Subscribe": lambda heard: by_grpc(running.socket, heard),
            "HTTP /events": lambda heard: by_events(url, heard),
            "MQTT": lambda heard: by_mqtt(broker.port, heard),
        }
        heard = [Heard(name, playing) for name in subscribers]
        crowd = [Heard("gRPC", playing) for _ in range(others)]
        turns = {
            "gRPC Recognize": lambda pcm: turn_by_grpc(running.socket, pcm),
            "Wyoming": lambda pcm: turn_by_wyoming(wyoming, pcm),
            "HTTP /v1/realtime": lambda pcm: turn_by_realtime(url, pcm),
        }
        tasks = [asyncio.ensure_future(subscribers[each.name](each)) for each in heard]
        tasks += [asyncio.ensure_future(by_grpc(running.socket, each)) for each in crowd]
        await heard[-1].subscribed.wait()
        while (await asyncio.to_thread(running.status)).subscribers < len(tasks):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)
        pid = running.process.pid
        rss, before, began = running.status().rss_bytes, cpu_seconds(pid), time.monotonic()
        writing = asyncio.ensure_future(playing.write(fifo, 60 * minutes))
        took = await take_turns(turns, track, began + 60 * minutes - 2 * TURN_SECONDS * len(turns))
        await writing
        used = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        await asyncio.sleep(5.0)
        status = running.status()
        for task in tasks:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        last = status.counters["finals"]
        click.echo(f"{minutes:.0f} minutes, {last} finals, {len(tasks)} subscribers, {len(turns)} clients in turn")
        click.echo(
            f"{100 * used:.0f} % of a core; memory {rss / 1e6:.0f} MB before, {status.rss_bytes / 1e6:.0f} MB after"
        )
        for each in heard:
            click.echo(f"{each.name}: {len(each.numbers)} finals, {each.wrong(last)} missing, twice or out of order")
        click.echo(f"the other {others} by gRPC: {sum(each.wrong(last) for each in crowd)} missing")
        for each in heard:
            show(f"{each.name}: end of a chunk's audio -> partial", each.partials)
            show(f"{each.name}: end of a segment's audio -> final", each.finals)
        for each in heard[1:]:
            milliseconds = 1000 * np.percentile(each.behind(heard[0]), [50, 95])
            click.echo(f"{each.name}, after gRPC: p50 {milliseconds[0]:.2f}  p95 {milliseconds[1]:.2f} ms")
        for name, seconds in took.items():
            show(f"{name}: end of {TURN_SECONDS:.0f} s of its own audio -> final", seconds)

    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder))
        http, wyoming = _free_port(), _free_port()
        settings = (
            f'[http]\nlisten = ["127.0.0.1:{http}"]\n[wyoming]\nlisten = "tcp://127.0.0.1:{wyoming}"\n'
            f'[mqtt]\nbroker = "mqtt://127.0.0.1:{broker.port}"\ndevice = "measured"\npartials = true\n'
            f"[server]\nmax_calls = {others + 64}\nmax_calls_per_client = {others + 64}\n"
            f'[recognition]\nengine = "onnx"\nmodel = "{model}"\n'
        )
        try:
            with daemon(settings=settings) as (running, fifo):
                asyncio.run(run(running, fifo, f"http://127.0.0.1:{http}", wyoming, broker))
        finally:
            broker.stop()


@main.command()
def imports():
    """What of the adapters' libraries a service without adapters has imported, and how much memory it takes."""
    program = (
        "import sys, signal; from rtstream.cli.main import main\n"
        f"found = lambda *_: print('imported:', [name for name in {LIBRARIES!r} if name in sys.modules], "
        "file=sys.stderr, flush=True)\n"
        "signal.signal(signal.SIGUSR1, found)\nsys.exit(main())"
    )
    import signal
    import sys

    from tests.daemon.served import Daemon

    with tempfile.TemporaryDirectory() as folder:
        source = ("--source", f"fifo:{folder}/pcm?create=1")
        settings = '[recognition]\nengine = "onnx"\n'
        running = Daemon(Path(folder), *source, settings=settings, program=[sys.executable, "-c", program])
        try:
            rss = running.ready().status().rss_bytes
            running.send(signal.SIGUSR1)
            told = None
            while told is None:
                time.sleep(0.1)
                told = next((entry["text"] for entry in running.log if "imported" in entry.get("text", "")), None)
        finally:
            running.kill()
    click.echo(f"{told.strip()}; memory {rss / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
