"""One Wyoming connection: events in, events out, and neither a client that says nothing nor one that floods stays."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import structlog
from wyoming.audio import AudioChunk, AudioStart
from wyoming.error import Error
from wyoming.event import async_write_event
from wyoming.info import Describe, SelectProgram
from wyoming.ping import Ping, Pong

from rtstream.adapters.wyoming.frames import FrameError, read_event
from rtstream.adapters.wyoming.info import ASR, MIC, WIDTH, asr_info, mic_info
from rtstream.adapters.wyoming.request import TurnError, TurnFormat, TurnRequest
from rtstream.adapters.wyoming.turn import Turn
from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE
from rtstream.rpc.hub import NotReadyError, StreamLimitError
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from wyoming.event import Event, Eventable

    from rtstream.adapters.wyoming.config import Limits
    from rtstream.publish.live_audio import AudioListener, LiveAudio
    from rtstream.rpc.hub import Hub

log = structlog.get_logger()

LINGER_SECONDS = 5.0
"""In which a client that was told of an error may take it: what it still sends is read, and nothing is done with it."""
GREEDY_SECONDS = 60.0
"""The same within a turn, whose audio goes on until its client has read what is wrong."""


PAUSE_SECONDS = 0.01
"""Between such reads: nobody is to be kept busy by it."""
EVENTS_PER_SECOND = 250.0
"""Of one connection; whoever sends more is read more slowly. Audio has 100 at most as it is spoken."""
BURST = 1000
"""Events that may come at once: a minute of recorded audio."""


class SlowReaderError(Exception):
    """A client does not read what it is sent."""


class Connection:
    """What both kinds have in common."""

    def __init__(self, hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits) -> None:
        self.busy = False
        """Whether something is being done for the client."""
        self.hub = hub
        self.limits = limits
        self._reader = reader
        self._writer = writer
        self._writing = asyncio.Lock()
        self._stopping = False
        self._credit, self._credited = float(BURST), asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Serve it to its end."""
        try:
            await self.serve()
        except (FrameError, TurnError) as error:
            code = error.code if isinstance(error, TurnError) else "protocol"
            log.info("a Wyoming client was told of an error", code=code, error=str(error))
            with suppress(OSError, SlowReaderError):
                await self.send(Error(str(error), code))
            await self._linger(GREEDY_SECONDS if isinstance(error, TurnError) else LINGER_SECONDS)
        except SlowReaderError:
            log.info("a Wyoming client does not read and was sent away")
        except OSError:
            pass  # it is gone
        finally:
            await self.close()

    def end(self) -> None:
        """End it at once, without waiting."""
        self._writer.transport.abort()

    def leave(self) -> None:
        """Have it end as if its client had left: the service does."""
        self._stopping = True
        with suppress(AssertionError):  # its client has left already
            self._reader.feed_eof()

    async def serve(self) -> None:
        """Answer its events."""
        raise NotImplementedError

    async def close(self) -> None:
        """Put away what it holds."""

    async def next(self) -> Event | None:
        """The next event, None at the end. Raises FrameError, OSError."""
        event = await read_event(self._reader)
        now = asyncio.get_running_loop().time()
        self._credit = min(BURST, self._credit + (now - self._credited) * EVENTS_PER_SECOND) - 1
        self._credited = now
        if self._credit < 0:
            await asyncio.sleep(-self._credit / EVENTS_PER_SECOND)
        return event

    async def send(self, message: Eventable) -> None:
        """Write an event. Raises SlowReaderError, OSError."""
        try:
            async with asyncio.timeout(self.limits.idle_seconds), self._writing:
                await async_write_event(message.event(), self._writer)
        except TimeoutError:
            raise SlowReaderError from None

    async def _linger(self, seconds: float) -> None:
        """Read on until the client has understood, without which its system would drop what was sent last."""
        self.busy = False
        with suppress(OSError, TimeoutError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(seconds):
                while await self._reader.read(1 << 16):  # noqa: ASYNC110 - slowly, not until something holds
                    await asyncio.sleep(PAUSE_SECONDS)


class AsrConnection(Connection):
    """Recognises what a client sends, a turn after the other. ``phrase_room``: phrases that a client may have."""

    def __init__(
        self,
        hub: Hub,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
        *,
        external_vad: bool = True,
        phrase_room: Callable[[], int] = lambda: 500,
    ) -> None:
        super().__init__(hub, reader, writer, limits)
        self._external_vad = external_vad
        self._phrase_room = phrase_room
        self._request: TurnRequest | None = None
        self._turn: Turn | None = None
        self._passing = False  # audio of a turn that is over is passed over

    async def serve(self) -> None:
        """Answer its events. Raises FrameError, TurnError, SlowReaderError, OSError."""
        try:
            while (event := await self._next_or_idle()) is not None:
                await self._answer(event)
        except (FrameError, TurnError):
            with suppress(TurnError):
                await self._end_turn()  # what was said before gets its transcript
            raise
        if self._turn is not None and (self._turn.stopped or self._stopping):
            await self._end_turn()
        if self._stopping:
            raise TurnError("stopping", "the service ends; try again later")

    async def close(self) -> None:
        """Let go of the turn."""
        if self._turn is not None:
            await self._turn.close()

    async def _next_or_idle(self) -> Event | None:
        """The next event, None at the end; meanwhile a turn is told of pauses, and its end is seen."""
        turn, limits = self._turn, self.limits
        reading = asyncio.ensure_future(self.next())
        clock = asyncio.get_running_loop().time
        began, paused = clock(), False
        try:
            while not reading.done():
                waiting = {reading} if turn is None or turn.over else {reading, turn.task}
                due = began + (limits.pause_seconds if turn is not None and not paused else limits.idle_seconds)
                await asyncio.wait(waiting, timeout=max(0.0, due - clock()), return_when=asyncio.FIRST_COMPLETED)
                if turn is not None and turn.over:
                    await self._end_turn()
                    turn, began = None, clock()
                elif not reading.done() and clock() >= due:
                    if turn is None:
                        return None
                    if turn.stopped:
                        began = clock()  # it is we who are slow
                    elif paused:
                        raise TurnError("idle", f"no audio came for {limits.idle_seconds:g} s; send audio-stop")
                    else:
                        paused = True
                        await turn.pause()
            return reading.result()
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _answer(self, event: Event) -> None:
        kind = event.type
        if Describe.is_type(kind):
            await self.send(asr_info(self.hub.status(), external_vad=self._external_vad))
        elif Ping.is_type(kind):
            await self.send(Pong(text=_text(event.data.get("text"))))
        elif SelectProgram.is_type(kind):
            if (name := event.data.get("name")) != ASR:
                raise TurnError("program-unknown", f"there is no program {name!r} here; it is {ASR!r}")
        elif kind == "transcribe":
            await self._end_turn()
            self._request = TurnRequest.read(event.data, self.hub.status())
        elif kind == "audio-start":
            await self._end_turn()
            await self._begin(TurnFormat.read(event.data))
        elif kind == "audio-chunk":
            await self._hear(event)
        elif kind == "audio-stop":
            self._passing = False
            if self._turn is not None:
                await self._turn.stop()
        # Others are of a later version, or of no concern: they are passed over, as all Wyoming servers do.

    async def _begin(self, form: TurnFormat) -> None:
        request = self._request or TurnRequest()
        self._request = None
        own_end = not self._external_vad
        settings = StreamSettings(
            phrases=request.phrases(self._phrase_room()),
            silence_ms=request.silence_ms if own_end else None,
            speech=own_end,
            languages=None if request.language is None else (request.language,),
        )
        form.decoder()  # which says what is wrong, before a stream is opened
        try:
            stream = await self.hub.open_stream(settings)
        except StreamLimitError as error:
            raise TurnError("too-many-streams", str(error)) from None
        except NotReadyError as error:
            raise TurnError("not-ready", str(error)) from None
        except ConfigError as error:
            raise TurnError("invalid-request", str(error)) from None
        self._turn = Turn(stream, form, self.send, language=request.language, ends_itself=own_end)
        self._passing = False
        self.busy = True

    async def _hear(self, event: Event) -> None:
        if self._passing:
            return
        form = TurnFormat.read(event.data)
        if self._turn is None:
            await self._begin(form)
        turn = self._turn
        assert turn is not None
        if turn.stopped:
            await self._end_turn()
            await self._begin(form)
        elif form != turn.form:
            raise TurnError("audio-format", "the format changes within a turn; send audio-stop before")
        await turn.push(event.payload or b"")

    async def _end_turn(self) -> None:
        """Wait for the transcript of the turn, if there is one. Raises TurnError."""
        turn = self._turn
        if turn is None:
            return
        if not turn.over:
            await turn.stop()
        try:
            await turn.result()
        finally:
            self._passing = not turn.stopped
            self._turn = None
            await turn.close()
            self.busy = False


class MicConnection(Connection):
    """Sends what the service hears, from the first moment, as clients of Wyoming's microphones expect."""

    def __init__(
        self,
        hub: Hub,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
        *,
        audio: LiveAudio,
    ) -> None:
        super().__init__(hub, reader, writer, limits)
        self._audio = audio

    async def serve(self) -> None:
        """Send audio until its client leaves. Raises FrameError, TurnError, SlowReaderError, OSError."""
        self.busy = True
        with self._audio.listening() as listener:
            tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._play(listener))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                if self._stopping:
                    raise TurnError("stopping", "the service ends; try again later")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while (event := await self.next()) is not None:
            if Describe.is_type(event.type):
                await self.send(mic_info(self.hub.status()))
            elif Ping.is_type(event.type):
                await self.send(Pong(text=_text(event.data.get("text"))))
            elif SelectProgram.is_type(event.type) and (name := event.data.get("name")) != MIC:
                raise TurnError("program-unknown", f"there is no program {name!r} here; it is {MIC!r}")

    async def _play(self, listener: AudioListener) -> None:
        started = False
        async for block in listener:
            milliseconds = block.position * 1000 // SAMPLE_RATE
            if not started:
                started = True
                await self.send(AudioStart(rate=SAMPLE_RATE, width=WIDTH, channels=1, timestamp=milliseconds))
            samples = np.clip(np.rint(block.samples * 32768.0), -32768, 32767).astype("<i2")
            await self.send(
                AudioChunk(rate=SAMPLE_RATE, width=WIDTH, channels=1, audio=samples.tobytes(), timestamp=milliseconds)
            )


def _text(given: object) -> str | None:
    """What a client wants to hear again; JSON may have halves of characters, which cannot be written."""
    return given.encode("utf-8", "replace").decode() if isinstance(given, str) else None
