"""``/v1/realtime?intent=transcription``: OpenAI's transcription sessions over WebSocket."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from rtstream.adapters.http.failures import error_type
from rtstream.adapters.http.language import SHOWN
from rtstream.adapters.http.live import accept
from rtstream.adapters.http.realtime_items import Items
from rtstream.adapters.http.realtime_session import Session, read_session
from rtstream.rpc.client_audio import AudioFormat, Decoder
from rtstream.rpc.recognizing import opened
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    from rtstream.adapters.http.config import HttpConfig
    from rtstream.rpc.hub import Hub, RecognitionStream

RATE = 24_000
LONGEST_SILENCE_SECONDS = 600.0
"""Without any message of the client's."""


class Realtime:
    """Serves the connections."""

    def __init__(self, hub: Hub, config: HttpConfig) -> None:
        self._hub = hub
        self._config = config

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one, until the client leaves. Raises RequestFailedError for what is no such request."""
        if request.query.get("intent") != "transcription":
            raise invalid("intent", "only transcription is possible: /v1/realtime?intent=transcription")
        socket = await accept(request, ("realtime",))
        conversation = _Conversation(self._hub, self._config, socket)
        with suppress(ConnectionError, TimeoutError):  # the client has gone, or does not read
            await conversation.run()
        if request.transport is not None and not socket.closed:
            request.transport.abort()
        return socket


class _Conversation:
    """One connection: what the client sends, and the stream in which its audio is recognised, while it sends any."""

    def __init__(self, hub: Hub, config: HttpConfig, socket: web.WebSocketResponse) -> None:
        self._hub = hub
        self._config = config
        self._socket = socket
        self._session = Session()
        self._items = Items(self._send)
        self._decoder = Decoder(AudioFormat(RATE, 1, 2))
        self._stream: RecognitionStream | None = None
        self._reading: asyncio.Task[None] | None = None
        self._heard = False  # audio since the last commit

    async def run(self) -> None:
        """Serve until the client leaves. Raises ConnectionError, TimeoutError."""
        await self._send({"type": "session.created", "session": self._session.fields()})
        try:
            while (message := await self._next()) is not None:
                event_id = message.get("event_id")
                try:
                    await self._take(message)
                except RequestFailedError as failure:
                    await self._fail(failure, event_id)
                    if failure.reason != "INVALID_REQUEST":
                        break
        finally:
            await self._drop()
        async with asyncio.timeout(self._config.idle_seconds):
            await self._socket.close()

    async def _next(self) -> dict[str, Any] | None:
        """The client's next message; None when it has left, or has said nothing for too long."""
        receiving = asyncio.ensure_future(self._socket.receive())
        try:
            for seconds, act in (
                (self._config.pause_seconds, self._pause),
                (self._config.idle_seconds, self._end),  # its place is for others
                (LONGEST_SILENCE_SECONDS, None),
            ):
                # A receive that is cancelled would end the connection.
                await asyncio.wait({receiving}, timeout=seconds)
                if receiving.done():
                    break
                if act is None:
                    return None
                await act()
            received = receiving.result()
        finally:
            receiving.cancel()
        if received.type is not WSMsgType.TEXT:
            return None
        try:
            message = json.loads(received.data)
        except (ValueError, RecursionError):
            message = None
        return message if isinstance(message, dict) else {}

    async def _take(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "session.update":
                session = read_session(message.get("session"), self._session, self._hub.status().recognized_languages)
                if session != self._session:
                    await self._end()
                self._session = session
                await self._send({"type": "session.updated", "session": session.fields()})
            case "input_audio_buffer.append":
                await self._append(message.get("audio"))
            case "input_audio_buffer.commit":
                await self._commit()
            case "input_audio_buffer.clear":
                await self._drop()
                self._items.forget()
                self._heard = False
                await self._send({"type": "input_audio_buffer.cleared"})
            case kind:
                raise invalid("type", f"{str(kind)[:SHOWN]!r} is no message of a transcription session")

    async def _append(self, audio: object) -> None:
        try:
            data = base64.b64decode(audio if isinstance(audio, str) else "?", validate=True)
        except (ValueError, binascii.Error):
            raise invalid("audio", "it must be base64 of 16-bit PCM, 24 kHz, mono") from None
        if not data:
            return
        if self._stream is None or (self._reading is not None and self._reading.done()):
            await self._open()
        assert self._stream is not None
        self._heard = True
        if not self._session.server_vad:
            self._items.begin()
        for samples in self._decoder.push(data):
            if len(samples):
                await self._stream.push(samples)

    async def _commit(self) -> None:
        if not self._heard or self._stream is None:
            raise invalid("audio", "there is none to commit: append some before")
        self._heard = False
        if not self._session.server_vad:
            await self._items.commit()
        if len(rest := self._decoder.rest()):  # what resampling holds back
            await self._stream.push(rest)
        self._decoder = Decoder(AudioFormat(RATE, 1, 2))
        await self._stream.flush()

    async def _open(self) -> None:
        """Begin to recognise. Raises RequestFailedError."""
        await self._drop()
        self._decoder = Decoder(AudioFormat(RATE, 1, 2))
        session = self._session
        settings = StreamSettings(
            phrases=session.phrases,
            silence_ms=session.silence_ms,
            speech=session.server_vad,
            languages=session.languages,
        )
        ready: asyncio.Future[RecognitionStream] = asyncio.get_running_loop().create_future()
        self._items.restart(server_vad=session.server_vad)
        self._reading = asyncio.ensure_future(self._read(settings, ready))
        both: list[asyncio.Future[Any]] = [self._reading, ready]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            self._reading.result()
        self._stream = ready.result()

    async def _read(self, settings: StreamSettings, ready: asyncio.Future[RecognitionStream]) -> None:
        async with opened(self._hub, settings) as stream:
            ready.set_result(stream)
            async for event in stream:
                await self._items.take(event)
            await self._items.end()

    async def _pause(self) -> None:
        if self._stream is not None:
            await self._stream.pause()

    async def _end(self) -> None:
        """Recognise what was sent, to its end, and give the place back."""
        if self._stream is not None and self._reading is not None:
            await self._stream.finish()
            await asyncio.wait({self._reading})
        await self._drop()

    async def _drop(self) -> None:
        reading, self._reading, self._stream = self._reading, None, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.exception()  # the receiving side tells of it, if anybody is there

    async def _fail(self, failure: RequestFailedError, event_id: object) -> None:
        kind = error_type(400 if failure.reason == "INVALID_REQUEST" else 503)
        told = {
            "type": kind,
            "code": failure.reason.lower(),
            "message": str(failure),
            "param": failure.metadata.get("field"),
            "event_id": event_id if isinstance(event_id, str) else None,
        }
        await self._send({"type": "error", "error": told})

    async def _send(self, event: dict[str, object]) -> None:
        # In ASCII: it may repeat what its client has sent, in which there may be halves of characters.
        await self._socket.send_str(json.dumps({"event_id": self._items.event_id(), **event}))
