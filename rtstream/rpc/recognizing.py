"""Recognize and Transcribe: a client's audio in, its events out, and neither side may hang the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE, Final
from rtstream.rpc.client_audio import Decoder, check_length, read_format, read_settings, read_wav
from rtstream.rpc.convert import duration, final_message, recognize_response
from rtstream.rpc.failures import RequestFailedError, invalid
from rtstream.rpc.hub import NotReadyError, StreamLimitError
from rtstream.rpc.operations import uncancelled
from rtstream.rpc.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from rtstream.rpc.hub import Hub, RecognitionStream, StreamSettings


async def recognize(
    requests: AsyncIterator[pb.RecognizeRequest],
    write: Callable[[pb.RecognizeResponse], Awaitable[None]],
    hub: Hub,
    idle_seconds: float,
) -> None:
    """Serve one Recognize call. Raises RequestFailedError.

    Ended after ``idle_seconds`` in which the client sends no audio that could be taken, or reads no event.
    """
    first = await _next(requests, idle_seconds)
    if first is None or first.WhichOneof("request") != "config":
        raise invalid("request", "the first message must be the config, audio comes after it")
    settings, decoder = read_settings(first.config), Decoder(read_format(first.config))

    async def feed(stream: RecognitionStream) -> None:
        while (request := await _next(requests, idle_seconds)) is not None:
            if request.WhichOneof("request") != "audio":
                raise invalid("request", "after the first message only audio may come")
            for samples in decoder.push(request.audio):
                if len(samples):
                    await stream.push(samples)
        await _finish(stream, decoder)

    async def send(stream: RecognitionStream) -> None:
        async for event in stream:
            try:
                async with asyncio.timeout(idle_seconds):
                    await uncancelled(write(recognize_response(event, words=settings.words)))
            except TimeoutError:
                raise RequestFailedError("IDLE", f"no event was read for {idle_seconds:g} s") from None

    async with _opened(hub, settings) as stream:
        await _both(feed(stream), send(stream))


async def transcribe(request: pb.TranscribeRequest, hub: Hub, longest_seconds: float) -> pb.TranscribeResponse:
    """Serve one Transcribe call. Raises RequestFailedError."""
    settings, audio = read_settings(request.config, partials=False), request.audio
    if request.config.encoding == pb.AUDIO_ENCODING_WAV:
        form, audio = await asyncio.to_thread(read_wav, audio)
    else:
        form = read_format(request.config)
    check_length(form, audio, longest_seconds)
    decoder = Decoder(form)
    finals: list[Final] = []

    async def feed(stream: RecognitionStream) -> None:
        for samples in decoder.push(audio):
            await stream.push(samples)
        await _finish(stream, decoder)

    async def collect(stream: RecognitionStream) -> None:
        finals.extend([event async for event in stream if isinstance(event, Final) and event.text])

    async with _opened(hub, settings) as stream:
        await _both(feed(stream), collect(stream))
    return pb.TranscribeResponse(
        finals=[final_message(final, words=settings.words) for final in finals],
        duration=duration(round(decoder.frames * SAMPLE_RATE / form.rate)),
    )


@asynccontextmanager
async def _opened(hub: Hub, settings: StreamSettings) -> AsyncIterator[RecognitionStream]:
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


async def _next(requests: AsyncIterator[pb.RecognizeRequest], idle_seconds: float) -> pb.RecognizeRequest | None:
    """The client's next message, None when it has half-closed the stream."""
    try:
        async with asyncio.timeout(idle_seconds):
            return await uncancelled(anext(requests, None))
    except TimeoutError:
        raise RequestFailedError("IDLE", f"no message came for {idle_seconds:g} s; send silence, or close") from None


async def _finish(stream: RecognitionStream, decoder: Decoder) -> None:
    rest = decoder.finish()
    if len(rest):
        await stream.push(rest)
    await stream.finish()


async def _both(feeding: Awaitable[None], reading: Awaitable[None]) -> None:
    """Run both to their end; when one fails the other is cancelled and the error raised."""
    tasks = [asyncio.ensure_future(feeding), asyncio.ensure_future(reading)]
    try:
        # Not before the events have ended; a feeder that is then still waiting to send has nobody to send to.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # nothing touches the stream any more
