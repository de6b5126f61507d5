"""``/vosk``: Vosk's server over WebSocket, as its sample clients speak to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rtstream.adapters.http.live import converse, receive, send
from rtstream.adapters.http.prompt import phrases_of
from rtstream.events import SAMPLE_RATE, Final, Partial
from rtstream.rpc.client_audio import AudioFormat, Decoder
from rtstream.rpc.recognizing import feed_and_read, opened
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from rtstream.adapters.http.config import HttpConfig
    from rtstream.rpc.hub import Hub, RecognitionStream

RATE = 8_000
"""Of audio whose client names none, as Vosk's server has it."""
RATES = (4_000, 192_000)
KEYS = frozenset({"sample_rate", "words", "phrase_list"})
"""Of ``config``."""


class Vosk:
    """Serves the connections. Every message with audio is answered: by a result, or what of the next one is heard."""

    def __init__(self, hub: Hub, config: HttpConfig) -> None:
        self._hub = hub
        self._idle_seconds = config.idle_seconds

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one, until the client ends it or leaves. Raises RequestFailedError for what is no such request."""
        return await converse(request, self._listen)

    async def _listen(self, socket: web.WebSocketResponse) -> None:
        config: dict[str, Any] = {}
        message = await receive(socket, self._idle_seconds)
        while isinstance(message, dict) and "eof" not in message:
            given = message["config"] if isinstance(message.get("config"), dict) else {}
            config |= {key: given[key] for key in KEYS & given.keys()}  # others are passed over, and not kept
            message = await receive(socket, self._idle_seconds)
        if isinstance(message, dict):
            await send(socket, {"text": ""})
        elif message is not None:
            settings, decoder = _settings(config), Decoder(_format(config))
            async with opened(self._hub, settings) as stream:
                words = bool(config.get("words", True))
                await _Conversation(socket, stream, decoder, words=words).run(message, self._idle_seconds)


class _Conversation:
    """One stream: ``finals`` that were not told, and the words so far of what follows them."""

    def __init__(
        self, socket: web.WebSocketResponse, stream: RecognitionStream, decoder: Decoder, *, words: bool
    ) -> None:
        self._socket, self._stream, self._decoder, self._words = socket, stream, decoder, words
        self._finals: list[Final] = []
        self._partial = ""
        self._ended = asyncio.Event()

    async def run(self, audio: bytes, idle_seconds: float) -> None:
        """Begin with this audio, and go on until the client ends. Raises RequestFailedError."""
        try:
            await feed_and_read(self._feed(audio, idle_seconds), self._read())
        except RequestFailedError:
            if self._finals:  # of what came before
                await self._tell()
            raise

    async def _feed(self, audio: bytes, idle_seconds: float) -> None:
        message: bytes | dict[str, Any] | None = audio
        try:
            while message is not None:
                if isinstance(message, bytes):
                    for samples in self._decoder.push(message):
                        await self._stream.push(samples)
                    await self._answer()
                elif "reset" in message:
                    await self._stream.pause()
                elif "eof" in message:
                    await self._stream.push(self._decoder.rest())
                    await self._stream.finish()
                    await self._ended.wait()
                    await self._tell()
                    return
                message = await receive(self._socket, idle_seconds)
        finally:
            await self._stream.finish()

    async def _read(self) -> None:
        async for event in self._stream:
            if isinstance(event, Partial):
                self._partial = event.text
            elif isinstance(event, Final):
                self._partial = ""
                self._finals += [event] if event.text else []
        self._ended.set()

    async def _answer(self) -> None:
        if self._finals:
            await self._tell()
        else:
            await send(self._socket, {"partial": self._partial})

    async def _tell(self) -> None:
        """A result with all finals that were not told: more of them come than messages where these are long."""
        finals, self._finals = self._finals, []
        result: dict[str, object] = {"text": " ".join(final.text for final in finals)}
        if self._words and finals:
            found = [word for final in finals for word in final.words]
            times = [(word.start / SAMPLE_RATE, word.end / SAMPLE_RATE) for word in found]
            result = {
                "result": [
                    {"conf": round(word.confidence, 6), "start": round(a, 6), "end": round(b, 6), "word": word.text}
                    for word, (a, b) in zip(found, times, strict=True)
                ],
                **result,
            }
        await send(self._socket, result)


def _format(config: Mapping[str, Any]) -> AudioFormat:
    rate = config.get("sample_rate", RATE)
    low, high = RATES
    if not isinstance(rate, int | float) or not low <= rate <= high:
        raise invalid("config.sample_rate", f"{str(rate)[:20]!r} is not possible: {low} to {high} Hz")
    return AudioFormat(round(rate), 1, 2)


def _settings(config: Mapping[str, Any]) -> StreamSettings:
    """What is asked for; ``phrase_list`` is a hint here, where Vosk would recognise nothing else."""
    phrases = config.get("phrase_list") or []
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise invalid("config.phrase_list", "it must be a list of texts")
    return StreamSettings(words=bool(config.get("words", True)), phrases=phrases_of("\n".join(phrases)))
