"""A Wyoming server in this process, on a scripted hub, and what comes back from it."""

import asyncio
from contextlib import asynccontextmanager

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from rtstream.adapters.wyoming.config import Limits, WyomingConfig
from rtstream.adapters.wyoming.server import WyomingServer
from rtstream.publish.broker import Broker
from rtstream.publish.live_audio import LiveAudio
from rtstream.rpc.security import Address
from tests.rpc.hubs import ScriptedHub

LOOPBACK = Address(host="127.0.0.1")
PATIENCE = Limits(idle_seconds=120.0, pause_seconds=120.0)
RATE = 16_000


class Running:
    def __init__(self, hub, server, audio):
        self.hub, self.server, self.audio = hub, server, audio

    @property
    def port(self):
        return self.server.ports[0]

    def client(self, door=0):
        return AsyncTcpClient("127.0.0.1", self.server.ports[door], read_timeout=120)

    async def connect(self, door=0):
        """A bare connection."""
        return await asyncio.open_connection("127.0.0.1", self.server.ports[door])


@asynccontextmanager
async def wyoming(*, limits=PATIENCE, microphone=False, limit=8, listen=LOOPBACK, **config):
    hub = ScriptedHub(Broker(), limit=limit)
    audio = LiveAudio()
    made = WyomingConfig(listen, LOOPBACK if microphone else None, limits=limits, **config)
    server = await WyomingServer.start(hub, made, audio, lambda: 10)
    try:
        yield Running(hub, server, audio)
    finally:
        await server.stop(0.5)
        hub.broker.close()


async def until(condition):
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - of this process, which knows nothing of the test
            await asyncio.sleep(0.01)


def speech(seconds, level=0.5, *, width=2, channels=1):
    """Samples of one level, as bytes."""
    sample = round(level * 2 ** (8 * width - 1)) + (128 if width == 1 else 0)
    return sample.to_bytes(width, "little", signed=width > 1) * round(seconds * RATE * channels)


async def say(client, audio, *, rate=RATE, width=2, channels=1, stop=True, **transcribe):
    """Send a turn."""
    form = {"rate": rate, "width": width, "channels": channels}
    await client.write_event(Transcribe(**transcribe).event())
    await client.write_event(AudioStart(**form).event())
    size = 1024 * width * channels
    for begin in range(0, len(audio), size):
        await client.write_event(AudioChunk(**form, audio=audio[begin : begin + size]).event())
    if stop:
        await client.write_event(AudioStop().event())


async def heard(client, last="transcript-stop"):
    """The events until one of a type, or the end."""
    events = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type in {last, "error"}:
            break
    return events


def types(events):
    return [event.type for event in events]


def text(events):
    """The transcript."""
    return next(event.data["text"] for event in events if event.type == "transcript")


def shown(events):
    """What was shown while it was spoken."""
    return "".join(event.data["text"] for event in events if event.type == "transcript-chunk")


def error(events):
    """The code of the error that came last."""
    assert events, "the connection ended without a word"
    assert events[-1].type == "error", types(events)
    return events[-1].data["code"]


class Script:
    """A stream that gives what a test says; "heard" waits until audio of so many seconds has come."""

    def __init__(self, *steps):
        self.steps, self.samples, self.finished, self.closed = steps, 0, asyncio.Event(), False
        self.moved = asyncio.Event()

    async def push(self, samples):
        self.samples += len(samples)
        self.moved.set()

    async def pause(self):
        pass

    async def finish(self):
        self.finished.set()
        self.moved.set()

    async def __aiter__(self):
        for step in self.steps:
            if isinstance(step, float):
                while self.samples < step * RATE and not self.finished.is_set():
                    self.moved.clear()
                    await self.moved.wait()
            else:
                yield step
        await self.finished.wait()

    async def close(self):
        self.closed = True
        self.finished.set()
        self.moved.set()


def scripted(served, *steps):
    stream = Script(*steps)

    async def open_stream(settings):
        served.hub.settings.append(settings)
        return stream

    served.hub.open_stream = open_stream
    return stream
