"""``POST /v1/audio/transcriptions`` and ``translations``: a recording in, its text or its English out, as OpenAI's."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from aiohttp import web

from rtstream.adapters.http.failures import failure_body
from rtstream.adapters.http.gate import begin
from rtstream.adapters.http.language import read_language
from rtstream.adapters.http.prompt import phrases_of
from rtstream.adapters.http.transcript import Transcript
from rtstream.adapters.http.upload import form, receive
from rtstream.audio.open import open_descriptor
from rtstream.errors import AudioError, printable
from rtstream.events import SAMPLE_RATE, Final, Translation
from rtstream.languages import ENGLISH
from rtstream.rpc.recognizing import feed_and_read, opened
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from rtstream.adapters.http.config import HttpConfig
    from rtstream.adapters.http.upload import Form
    from rtstream.audio.open import AudioFile
    from rtstream.events import AudioBlock, StreamEvent
    from rtstream.rpc.hub import Hub, RecognitionStream

Form_ = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMS: tuple[Form_, ...] = get_args(Form_)
KINDS = {"json": "application/json", "verbose_json": "application/json", "text": "text/plain", "srt": "text/plain"}
GRANULARITIES = {"word", "segment"}
BLOCK_SECONDS = 0.5
FAULT_HEADER = "X-Rtstream-Fault"
YES = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for, checked."""

    form: Form_
    words: bool
    segments: bool
    stream: bool
    languages: tuple[str, ...] | None
    phrases: tuple[str, ...]
    translate: bool

    @classmethod
    def read(cls, fields: Form, languages: tuple[str, ...], *, translate: bool) -> Wanted:
        """Check the fields of a form, for a model of ``languages``. Raises RequestFailedError."""
        if not fields.has_file:
            raise invalid("file", "there is none; send the recording in the field 'file'")
        name = fields.one("response_format", "json")
        wanted_form = next((known for known in FORMS if known == name), None)
        if wanted_form is None:
            raise invalid("response_format", f"'{name}' is not possible; choose {', '.join(FORMS)}")
        granularities = set(fields.many("timestamp_granularities"))
        if unknown := sorted(granularities - GRANULARITIES):
            raise invalid("timestamp_granularities", f"'{unknown[0]}' is not possible; choose word or segment")
        if translate and "word" in granularities:
            raise invalid("timestamp_granularities", "words of a translation have no times; choose segment")
        stream = YES.get(fields.one("stream").lower())
        if stream is None:
            raise invalid("stream", f"'{fields.one('stream')}' is neither true nor false")
        return cls(
            wanted_form,
            words="word" in granularities,
            segments="segment" in granularities or not granularities,
            stream=stream,
            languages=read_language(fields.one("language"), languages),
            phrases=phrases_of(fields.one("prompt")),
            translate=translate,
        )


class Transcriptions:
    """Serves the requests; two files, or as many as ``config`` says, are in memory at a time."""

    def __init__(self, hub: Hub, config: HttpConfig) -> None:
        self._hub = hub
        self._config = config
        self._places = asyncio.Semaphore(config.uploads)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one with what is said. Raises RequestFailedError."""
        return await self._serve(request, translate=False)

    async def translate(self, request: web.Request) -> web.StreamResponse:
        """Answer one with what is said, in English. Raises RequestFailedError."""
        return await self._serve(request, translate=True)

    async def _serve(self, request: web.Request, *, translate: bool) -> web.StreamResponse:
        async with self._place():
            with form() as fields:
                await receive(request, fields, self._config.upload_bytes, self._config.idle_seconds)
                wanted = Wanted.read(fields, self._hub.status().recognized_languages, translate=translate)
                transcript = Transcript((ENGLISH,), "translate") if translate else Transcript(wanted.languages or ())
                if wanted.stream:
                    return await self._stream(request, fields, wanted, transcript)
                await self._recognize(fields, wanted, transcript, _nothing)
        return _answer(wanted, transcript)

    async def _stream(
        self, request: web.Request, fields: Form, wanted: Wanted, transcript: Transcript
    ) -> web.StreamResponse:
        """Answer with events, as each final comes."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

        async def send(event: dict[str, object]) -> None:
            if not response.prepared:
                await begin(request, response)
            data = json.dumps(event, ensure_ascii=False)
            await response.write(f"event: {event.get('type', 'error')}\ndata: {data}\n\n".encode())

        async def tell(delta: str) -> None:
            await send({"type": "transcript.text.delta", "delta": delta})

        try:
            await self._recognize(fields, wanted, transcript, tell)
        except RequestFailedError as failure:
            if not response.prepared:
                raise
            await send(failure_body(failure))
        else:
            await send({"type": "transcript.text.done", **transcript.json()})
        await response.write_eof()
        return response

    async def _recognize(
        self, fields: Form, wanted: Wanted, transcript: Transcript, tell: Callable[[str], Awaitable[None]]
    ) -> None:
        """Fill the transcript; ``tell`` hears each piece of its text. Raises RequestFailedError."""
        timed = wanted.form in {"srt", "vtt"} or wanted.words
        settings = StreamSettings(
            partials=False,
            words=timed and not wanted.translate,
            phrases=wanted.phrases,
            languages=wanted.languages,
            translate=wanted.translate,
        )

        async def feed(stream: RecognitionStream) -> None:
            try:
                with await asyncio.to_thread(open_descriptor, _name(fields), fields.take_file()) as audio:
                    async for block in _blocks(audio):
                        if transcript.samples + len(block.samples) > self._config.longest_seconds * SAMPLE_RATE:
                            raise _too_long(self._config.longest_seconds)
                        await stream.push(block.samples)
                        transcript.samples += len(block.samples)
            except AudioError as error:
                transcript.fault = ("AUDIO_DAMAGED", str(error))
            except RequestFailedError as failure:
                transcript.fault = (failure.reason, str(failure))
            await stream.finish()  # the finals of what could be read come in any case

        async def read(stream: RecognitionStream) -> None:
            finals = (event async for event in stream)
            async for final in in_english(finals) if wanted.translate else finals:
                if isinstance(final, Final) and final.text:
                    await tell(transcript.add(final))

        async with opened(self._hub, settings) as stream:
            await feed_and_read(feed(stream), read(stream))
        if transcript.fault is not None and not transcript.samples:
            raise RequestFailedError("INVALID_REQUEST", transcript.fault[1], field="file")

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the places for files. Raises RequestFailedError."""
        try:
            async with asyncio.timeout(self._config.idle_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise RequestFailedError(
                "TOO_MANY_STREAMS", "other recordings are being transcribed; try again later", scope="all"
            ) from None
        try:
            yield
        finally:
            self._places.release()


async def in_english(events: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
    """Events with the finals as they are in English: those of another language with the text of their translations."""
    translated: Final | None = None
    async for event in events:
        match event:
            case Final() if event.language not in {ENGLISH, ""}:
                translated = event
            case Translation(final=True, text=text) if translated is not None:
                yield replace(translated, text=text, language=ENGLISH)
            case _:
                yield event


async def _nothing(delta: str) -> None:
    """Tell nobody."""


async def _blocks(audio: AudioFile) -> AsyncIterator[AudioBlock]:
    blocks: Iterator[AudioBlock] = iter(audio)
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block


def _answer(wanted: Wanted, transcript: Transcript) -> web.Response:
    headers = {} if transcript.fault is None else {FAULT_HEADER: printable(": ".join(transcript.fault))}
    match wanted.form:
        case "json":
            return web.json_response(transcript.json(), headers=headers)
        case "verbose_json":
            body = transcript.verbose(words=wanted.words, segments=wanted.segments)
            return web.json_response(body, headers=headers)
        case "text":
            return web.Response(text=transcript.text + "\n", headers=headers)
        case "srt" | "vtt" as captions:
            kind = "text/vtt" if captions == "vtt" else "text/plain"
            return web.Response(text=transcript.captions(captions), content_type=kind, headers=headers)


def _name(fields: Form) -> str:
    return printable(fields.file_name)


def _too_long(seconds: float) -> RequestFailedError:
    return RequestFailedError(
        "AUDIO_TOO_LONG", f"the recording is longer than {seconds / 60:g} minutes; what follows was not read"
    )
