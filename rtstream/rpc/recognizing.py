"""Recognize and Transcribe: a client's audio in, its events out, and neither side may hang the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING

from rtstream.audio.source import PAUSE_SECONDS
from rtstream.errors import ConfigError
from rtstream.events import Final, Translation
from rtstream.rpc.client_audio import decode, open_decoder, read_settings
from rtstream.rpc.hub import NotReadyError, StreamLimitError
from rtstream.rpc.operations import uncancelled
from rtstream.wire.convert import duration, final_message, recognize_response, translation_message
from rtstream.wire.failures import RequestFailedError, invalid
from rtstream.wire.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from rtstream.rpc.client_audio import SamplesDecoder
    from rtstream.rpc.file_decoder import FileDecoder
    from rtstream.rpc.hub import Hub, RecognitionStream
    from rtstream.wire.values import StreamSettings


async def recognize(
    requests: AsyncIterator[pb.RecognizeRequest],
    write: Callable[[pb.RecognizeResponse], Awaitable[None]],
    hub: Hub,
    idle_seconds: float,
    pause_seconds: float = PAUSE_SECONDS,
) -> None:
    """Serve one Recognize call. Raises RequestFailedError, after the finals of all audio before what is wrong.

    The open segment gets its final after ``pause_seconds`` without audio; the call is ended after ``idle_seconds`` in
    which the client sends no message that could be taken, or reads no event.
    """
    messages = _Messages(requests, idle_seconds, pause_seconds)
    first = await messages.next()
    if first is None or first.WhichOneof("request") != "config":
        raise invalid("request", "the first message must be the config, audio comes after it")
    settings, decoder = read_settings(first.config), open_decoder(first.config)

    async def feed(stream: RecognitionStream) -> None:
        async for data in messages.audio(stream):
            async for samples in decoder.push(data):
                if len(samples):
                    await stream.push(samples)

    async def send(stream: RecognitionStream) -> None:
        async for event in stream:
            try:
                async with asyncio.timeout(idle_seconds):
                    await uncancelled(write(recognize_response(event, words=settings.words)))
            except TimeoutError:
                raise RequestFailedError("IDLE", f"no event was read for {idle_seconds:g} s") from None

    try:
        async with opened(hub, settings) as stream:
            await feed_and_read(_to_the_end(feed, stream, decoder), send(stream))
    finally:
        decoder.close()


async def transcribe(request: pb.TranscribeRequest, hub: Hub, longest_seconds: float) -> pb.TranscribeResponse:
    """Serve one Transcribe call. Raises RequestFailedError; not for a recording of which the begin is good."""
    settings = read_settings(request.config, partials=False)
    pieces = decode(request.config, request.audio, longest_seconds)
    first = next(pieces, None)
    response = pb.TranscribeResponse()
    heard = 0

    async def feed(stream: RecognitionStream) -> None:
        nonlocal heard
        try:
            for samples in chain(() if first is None else (first,), pieces):
                await stream.push(samples)
                heard += len(samples)
        except RequestFailedError as error:
            if not heard or error.reason != "INVALID_REQUEST":
                raise
            response.fault.code, response.fault.message = "AUDIO_DAMAGED", str(error)
        await stream.finish()

    async def collect(stream: RecognitionStream) -> None:
        async for event in stream:
            if isinstance(event, Final) and event.text:
                response.finals.append(final_message(event, words=settings.words))
            elif isinstance(event, Translation) and event.text:
                response.translations.append(translation_message(event))

    async with opened(hub, settings) as stream:
        await feed_and_read(feed(stream), collect(stream))
    response.duration.CopyFrom(duration(heard))
    return response


@asynccontextmanager
async def opened(hub: Hub, settings: StreamSettings) -> AsyncIterator[RecognitionStream]:
    """A stream of the hub, which is closed in the end. Raises RequestFailedError."""
    try:
        stream = await hub.open_stream(settings)
    except StreamLimitError as error:
        raise RequestFailedError("TOO_MANY_STREAMS", str(error), scope="recognition") from None
    except NotReadyError as error:
        raise RequestFailedError("NOT_READY", str(error)) from None
    except ConfigError as error:
        raise invalid("config", str(error)) from None
    try:
        yield stream
    finally:
        await stream.close()


class _Messages:
    """What a client sends, and that it sends nothing: a pause in its audio closes the open segment."""

    def __init__(self, requests: AsyncIterator[pb.RecognizeRequest], idle_seconds: float, pause_seconds: float) -> None:
        self._requests = requests
        self._idle = idle_seconds
        self._pause = pause_seconds
        self._pause_at: float | None = None  # None: no audio has come since the last pause

    async def audio(self, stream: RecognitionStream) -> AsyncIterator[bytes]:
        """The audio that follows, for a stream, which is told of pauses. Raises RequestFailedError."""
        while (request := await self.next(stream)) is not None:
            kind = request.WhichOneof("request")
            if kind == "flush":
                self._pause_at = None
                await stream.flush()
                continue
            if kind != "audio":
                raise invalid("request", "after the first message only audio and flushes may come")
            yield request.audio
            if request.audio:  # from here on: it has been taken, which may have had to wait
                self._pause_at = asyncio.get_running_loop().time() + self._pause

    async def next(self, stream: RecognitionStream | None = None) -> pb.RecognizeRequest | None:
        """The next message, None when the client has half-closed the stream. Raises RequestFailedError."""
        waiting = asyncio.ensure_future(uncancelled(anext(self._requests, None)))
        now = asyncio.get_running_loop().time
        idle_at = now() + self._idle
        try:
            while not waiting.done():
                until = idle_at if self._pause_at is None else min(idle_at, self._pause_at)
                await asyncio.wait([waiting], timeout=max(0.0, until - now()))
                if waiting.done():
                    break
                if now() >= idle_at:
                    raise RequestFailedError("IDLE", f"no message came for {self._idle:g} s; send silence, or close")
                if stream is not None and self._pause_at is not None and now() >= self._pause_at:
                    self._pause_at = None
                    await stream.pause()
            return waiting.result()
        finally:
            waiting.cancel()


async def _to_the_end(
    feed: Callable[[RecognitionStream], Awaitable[None]],
    stream: RecognitionStream,
    decoder: SamplesDecoder | FileDecoder,
) -> None:
    """Feed a stream and finish it; what is wrong with the request is raised only then."""
    failure: RequestFailedError | None = None
    try:
        await feed(stream)
    except RequestFailedError as error:
        failure = error
    try:
        async for samples in decoder.finish():
            if len(samples):
                await stream.push(samples)
    except RequestFailedError as error:
        failure = failure or error
    await stream.finish()
    if failure is not None:
        raise failure


async def feed_and_read(feeding: Awaitable[None], reading: Awaitable[None]) -> None:
    """Run both to their end and raise the first error. What was fed before a wrong request is read first."""
    tasks = [asyncio.ensure_future(feeding), asyncio.ensure_future(reading)]
    fed, read = tasks
    try:
        # Not before the events have ended; a feeder that is then still waiting to send has nobody to send to.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if fed.done() and not read.done():  # the request was wrong
            await asyncio.wait([read])
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # nothing touches the stream any more
