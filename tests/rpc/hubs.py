"""A service without a model: it recognises what the test scripts, and everything around it is real."""

import asyncio
from collections import deque

import numpy as np

from rtstream.errors import AudioError, ConfigError
from rtstream.events import DeviceState, Final, Flushed, Partial, Speech, Translation, Word
from rtstream.rpc.hub import NotReadyError, StreamLimitError
from rtstream.wire.values import Device, Status

SAMPLES_PER_SEGMENT = 16_000


class ScriptedStream:
    """Gives a partial for each half second and a final for each second of audio, which tell its loudness.

    Who asks for translations is heard to speak Spanish.
    """

    def __init__(self, hub, settings):
        self._hub = hub
        self._settings = settings
        self._audio = deque()
        self._room = asyncio.Semaphore(8)
        self._arrived = asyncio.Event()
        self._finished = False
        self._language = "es" if settings.translate else next(iter(settings.languages or hub.recognized_languages))

    async def push(self, samples):
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        await self._room.acquire()
        self._audio.append(samples)
        self._arrived.set()

    async def flush(self):
        self._audio.extend((None, Flushed()))
        self._arrived.set()

    async def pause(self):
        self._audio.append(None)
        self._arrived.set()

    async def finish(self):
        self._finished = True
        self._arrived.set()

    async def __aiter__(self):  # noqa: C901, PLR0912 - a script
        heard = np.zeros(0, np.float32)
        position = segment = 0
        if self._settings.speech:
            yield Speech(0, 0, "started")
        while True:
            while not self._audio and not self._finished:
                self._arrived.clear()
                await self._arrived.wait()
            if not self._audio:
                break
            samples = self._audio.popleft()
            if samples is None:
                if len(heard):
                    for event in self._closed(segment, position, heard):
                        yield event
                    position, segment = position + len(heard), segment + 1
                    heard = heard[:0]
                continue
            if isinstance(samples, Flushed):
                yield samples
                continue
            heard = np.concatenate([heard, samples])
            self._room.release()
            self._hub.samples_heard += len(heard)
            while len(heard) >= SAMPLES_PER_SEGMENT:
                spoken, heard = heard[:SAMPLES_PER_SEGMENT], heard[SAMPLES_PER_SEGMENT:]
                if self._settings.partials:
                    yield Partial(segment, position, position + 8_000, "half", language=self._language)
                for event in self._closed(segment, position, spoken):
                    yield event
                position, segment = position + len(spoken), segment + 1
        if len(heard):
            for event in self._closed(segment, position, heard):
                yield event

    def _closed(self, segment, position, spoken):
        end, text = position + len(spoken), f"{np.abs(spoken).mean():.3f}"
        words = (Word(text, position, end, 0.5),) if self._settings.words else ()
        yield Final(segment, position, end, text + self._hub.padding, words, language=self._language)
        if self._settings.translate:
            yield Translation(segment, position, end, f"{text} in English", "en", final=True)

    async def close(self):
        try:
            await asyncio.sleep(self._hub.closing_seconds)
        finally:
            self._hub.open_streams.discard(self)


class ScriptedHub:
    """What the server needs of a service; ``limit``: of client streams. ``languages``: into which it translates."""

    def __init__(self, broker, *, limit=8):
        self.broker = broker
        self.languages = ("es", "pt-BR")
        self.recognized_languages = ("en",)
        self.limit = limit
        self.open_streams = set()
        self.samples_heard = 0
        self.ready = True
        self.padding = ""
        self.closing_seconds = 0.0
        self.settings = []
        self.broken = False
        self.sound = None
        self.muted = False

    def status(self):
        return Status(
            "1.2.3",
            "ready",
            model="tiny",
            engine="x86",
            device=DeviceState("mic", "capturing", "fine"),
            uptime_seconds=12.5,
            audio_age_seconds=0.25,
            real_time_factor=0.125,
            rss_bytes=1 << 28,
            subscribers=self.broker.subscribers,
            streams=len(self.open_streams),
            counters={"finals": 3},
            languages=self.languages,
            recognized_languages=self.recognized_languages,
        )

    def mute(self, muted):
        self.muted = muted

    async def devices(self):
        if self.sound:
            raise AudioError(self.sound)
        return [Device("USB mic", 3, 1, 44_100, default=True, used=True), Device("line in", 0, 2, 48_000)]

    async def open_stream(self, settings):
        if self.broken:
            raise ZeroDivisionError("an error of this program")
        if not self.ready:
            raise NotReadyError("the model is being loaded; try again in a moment")
        if len(self.open_streams) >= self.limit:
            raise StreamLimitError(f"all {self.limit} streams are in use; try again when one has ended")
        if settings.chunk_ms == 320:
            raise ConfigError("chunk_ms: 320 is not allowed here")
        self.settings.append(settings)
        stream = ScriptedStream(self, settings)
        self.open_streams.add(stream)
        return stream
