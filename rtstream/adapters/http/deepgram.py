"""``/v1/listen``: Deepgram's live transcription over WebSocket, as its clients use it for one channel of PCM."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rtstream.adapters.http.language import read_language
from rtstream.adapters.http.live import converse, receive, send
from rtstream.adapters.http.prompt import phrases_of
from rtstream.events import SAMPLE_RATE, Final, Flushed, Partial, Speech
from rtstream.rpc.client_audio import SILENCE_MS, AudioFormat, Decoder
from rtstream.rpc.recognizing import feed_and_read, opened
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from rtstream.adapters.http.config import HttpConfig
    from rtstream.rpc.hub import Hub, RecognitionStream

RATES = range(4_000, 192_001)
CHANNELS = range(1, 9)
LONGEST_NUMBER = 9
CHANNEL = [0, 1]
"""The first of one: what several bring is averaged."""


class Deepgram:
    """Serves the connections."""

    def __init__(self, hub: Hub, config: HttpConfig) -> None:
        self._hub = hub
        self._idle_seconds = config.idle_seconds

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one, until the client ends it or leaves. Raises RequestFailedError for what cannot be asked."""
        query = request.query
        if query.get("encoding") != "linear16":
            raise invalid("encoding", "only linear16 is possible: 16-bit PCM, with its sample_rate")
        form = AudioFormat(_number(query, "sample_rate", RATES), _number(query, "channels", CHANNELS, 1), 2)
        settings = StreamSettings(
            partials=query.get("interim_results") == "true",
            words=True,
            phrases=phrases_of("\n".join(query.getall("keyterm", []) + query.getall("keywords", []))),
            silence_ms=_silence(query.get("endpointing", "")),
            speech=query.get("vad_events") == "true",
            languages=read_language(query.get("language", ""), self._hub.status().recognized_languages),
        )
        conversation = _Conversation(form, self._hub.status().model, utterances="utterance_end_ms" in query)

        async def listen(socket: web.WebSocketResponse) -> None:
            async with opened(self._hub, settings) as stream:
                feeding = conversation.feed(socket, stream, self._idle_seconds)
                await feed_and_read(feeding, conversation.read(socket, stream))

        return await converse(request, listen, _fail)


class _Conversation:
    """One connection."""

    def __init__(self, form: AudioFormat, model: str, *, utterances: bool) -> None:
        self._id, self._utterances = str(uuid.uuid4()), utterances
        self._model = {"name": model, "version": "", "arch": "rtstream"}
        self._form, self._decoder = form, Decoder(form)

    async def feed(self, socket: web.WebSocketResponse, stream: RecognitionStream, idle_seconds: float) -> None:
        """Pass on what the client sends, until it ends or leaves. Raises RequestFailedError."""
        try:
            while (message := await receive(socket, idle_seconds)) is not None:
                if isinstance(message, bytes):
                    for samples in self._decoder.push(message):
                        await stream.push(samples)
                elif (kind := message.get("type")) == "Finalize":
                    await stream.flush()
                elif kind == "CloseStream":
                    await stream.push(self._decoder.rest())
                    return
                elif kind != "KeepAlive":
                    raise invalid("type", f"{str(kind)[:40]!r} is none of KeepAlive, Finalize, CloseStream")
        finally:
            await stream.finish()

    @property
    def _seconds(self) -> float:
        return self._decoder.frames / self._form.rate

    async def read(self, socket: web.WebSocketResponse, stream: RecognitionStream) -> None:
        """Tell what is recognised, to its end."""
        async for event in stream:
            match event:
                case Speech(position=at, state="started"):
                    await send(socket, {"type": "SpeechStarted", "channel": CHANNEL, "timestamp": at / SAMPLE_RATE})
                case Partial() | Final():
                    await send(socket, self._results(event))
                    if isinstance(event, Final) and event.words and self._utterances:
                        end = event.words[-1].end / SAMPLE_RATE
                        await send(socket, {"type": "UtteranceEnd", "channel": CHANNEL, "last_word_end": end})
                case Flushed():
                    at = round(self._seconds * SAMPLE_RATE)
                    await send(socket, self._results(Final(0, at, at, ""), from_finalize=True))
        ours = {"created": datetime.now(UTC).isoformat(), "duration": self._seconds, "channels": 1}
        await send(socket, {"type": "Metadata", "request_id": self._id, "sha256": "", **ours})

    def _results(self, event: Partial | Final, *, from_finalize: bool = False) -> dict[str, object]:
        final = isinstance(event, Final)
        words = [
            {
                "word": "".join(c for c in word.text.lower() if c.isalnum() or c in "'-"),
                "punctuated_word": word.text,
                "start": round(word.start / SAMPLE_RATE, 3),
                "end": round(word.end / SAMPLE_RATE, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in event.words
        ]
        confidence = (event.confidence if isinstance(event, Final) else None) or 0.0
        return {
            "type": "Results",
            "channel_index": CHANNEL,
            "start": round(event.start / SAMPLE_RATE, 3),
            "duration": round((event.end - event.start) / SAMPLE_RATE, 3),
            "is_final": final,
            "speech_final": final,
            "from_finalize": from_finalize,
            "channel": {"alternatives": [{"transcript": event.text, "confidence": confidence, "words": words}]},
            "metadata": {"request_id": self._id, "model_uuid": "", "model_info": self._model},
        }


def _number(query: Mapping[str, str], name: str, possible: range, default: int | None = None) -> int:
    text = query.get(name, "" if default is None else str(default))
    if not text.isdecimal() or len(text) > LONGEST_NUMBER or int(text) not in possible:
        raise invalid(name, f"'{text}' is not possible: {possible[0]} to {possible[-1]}")
    return int(text)


def _silence(text: str) -> int | None:
    low, high = SILENCE_MS
    return min(max(int(text[:LONGEST_NUMBER]), low), high) if text.isdecimal() else None


async def _fail(socket: web.WebSocketResponse, failure: RequestFailedError) -> None:
    await send(socket, {"type": "Error", "variant": failure.reason, "description": str(failure)})
