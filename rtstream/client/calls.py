"""What every client for asyncio does; how an event looks to a program is its subclass's."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import grpc
import grpc.aio

from rtstream import events
from rtstream.client.connection import Ending, open_channel
from rtstream.client.requests import (
    Container,
    Flush,
    recognition_config,
    recognize_request,
    spoken_languages,
    subscribe_request,
)
from rtstream.client.resuming import Following
from rtstream.client.server_error import ServerError, ended, server_error, silent
from rtstream.client.target import DEFAULT_TARGET, parse_target
from rtstream.client.transcript import FinalT, Transcript, TranslationT
from rtstream.errors import AudioError
from rtstream.events import SAMPLE_RATE
from rtstream.wire.convert import read_event, read_final, read_translation
from rtstream.wire.status import read_devices, read_status
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from rtstream.wire.values import StreamSettings

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable
    from types import TracebackType

    from rtstream.client.connection import ClientTls
    from rtstream.client.resuming import ConnectionState
    from rtstream.events import StreamEvent
    from rtstream.publish.items import Item, Position
    from rtstream.wire.values import Device, Status

HEARTBEAT_SECONDS = 15.0
MISSED_HEARTBEATS = 3
"""After so many a connection is taken for dead, whatever TCP says."""
ANSWER_SECONDS = 10.0
"""Deadline of what is answered at once."""

ItemT = TypeVar("ItemT")
EventT = TypeVar("EventT")


class Calls(ABC, Generic[ItemT, EventT, FinalT, TranslationT]):
    """A connection to the service at ``target``: ``unix:PATH`` or ``HOST:PORT``; without a port 7660.

    ``token``: a bearer token; ``tls``: None for an unencrypted connection. Connects when first needed, and again when
    the connection is lost. Use it as a context manager on one event loop, or :meth:`close` it. Every method raises
    ServerError. Making one raises ConfigError for an impossible target, or TLS files that cannot be used.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, token: str | None = None, tls: ClientTls | None = None) -> None:
        self.target = parse_target(target)
        self._channel = open_channel(self.target, tls)
        self._stub = SpeechServiceStub(self._channel)
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection, and end all calls."""
        await self._channel.close()

    async def subscribe(
        self,
        *,
        resume_after: Position | None = None,
        from_start: bool = False,
        max_age_seconds: float | None = None,
        partials: bool = True,
        words: bool = False,
        languages: Collection[str] | None = None,
        reconnect: bool = True,
        wait: bool = False,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        on_connection: Callable[[ConnectionState, str], None] | None = None,
    ) -> AsyncGenerator[ItemT]:
        """Iterate over what the service publishes, for ever: every final once and in order.

        Begins now, after the final ``resume_after``, with all finals that are held, or with those of the last
        ``max_age_seconds``. When the connection is lost, or was too slow, it is made again and resumed after the last
        final; ``on_connection`` hears of it, with a line for people. ``wait``: also wait for a service that is not
        there at first, else that is an error. Without ``reconnect`` any loss is one. A service that is silent for three
        times ``heartbeat_seconds`` is taken for dead. A Gap says that finals are missing which the service no longer
        holds.

        ``languages``: whose translations are wanted; None: all that the service makes or holds. Without ``partials``
        those of finals alone come. Those are held with their finals. A subscription that is begun with ``resume_after``
        may give translations again that were had since that final.
        """
        request = subscribe_request(
            from_start=from_start,
            max_age_seconds=max_age_seconds,
            partials=partials,
            words=words,
            languages=languages,
            heartbeat_seconds=heartbeat_seconds,
        )
        following = Following(
            self.target, request, resume_after, reconnect=reconnect, wait=wait, on_connection=on_connection
        )
        while True:
            try:
                async for message in self._messages(following.request(), heartbeat_seconds):
                    item = following.take(message)
                    if item is not None:
                        yield self._item(item)
            except ServerError as error:
                if not following.goes_on(error):
                    raise
            await asyncio.sleep(following.pause())

    async def recognize(
        self,
        audio: AsyncIterable[bytes | Flush] | Iterable[bytes | Flush],
        *,
        rate: int = 16_000,
        channels: int = 1,
        floats: bool = False,
        container: Container | None = None,
        partials: bool = True,
        words: bool = False,
        phrases: Iterable[str] = (),
        chunk_ms: int | None = None,
        silence_ms: int | None = None,
        speech: bool = False,
        language: str | Iterable[str] | None = None,
        translate: bool = False,
    ) -> AsyncGenerator[EventT]:
        """Send audio as it comes and iterate over what is recognised in it, to the last final.

        ``audio``: chunks of 16-bit little-endian samples, or of 32-bit ``floats``, of ``rate`` Hz and ``channels``,
        or of a file that is read as it comes: ``container`` "wav", "ogg" (Opus, Vorbis) or "flac".
        ``phrases``: names and words to find where they are said, each ``PHRASE`` or ``PHRASE=WEIGHT``. ``chunk_ms``:
        320, 640 or 1280 ms are recognised at a time; None: as the service does. ``silence_ms`` of silence end a
        segment; ``speech``: also tell when it starts and ends. ``language``: what may be spoken, such as "es" or
        ["en", "es"], "auto" for any language that the model knows; None: as the service does. ``translate``: also give
        a Translation into English behind each Partial and Final in another language. A Flush among the audio, as for
        push to talk, ends the segment there: its final follows, then Flushed. An error that ``audio`` raises is raised
        here, after all that is recognised before it.
        """
        settings = StreamSettings(
            partials, words, chunk_ms, tuple(phrases), silence_ms, speech, spoken_languages(language), translate
        )
        config = recognition_config(rate, channels, floats=floats, container=container, settings=settings)
        async with aclosing(self._recognize(audio, config)) as recognized:
            async for event in recognized:
                yield self._event(event)

    async def transcribe(
        self,
        path: str | os.PathLike[str],
        *,
        words: bool = False,
        phrases: Iterable[str] = (),
        language: str | Iterable[str] | None = None,
        translate: bool = False,
    ) -> Transcript[FinalT, TranslationT]:
        """The finals of a recording of any format, rate and length, and with ``translate`` those in English too.

        ``phrases`` and ``language`` as above. Raises AudioError too, whose ``finals`` are what this gives of all audio
        before what is wrong with it.
        """
        from rtstream.client.recordings import chunks  # noqa: PLC0415 - soundfile and soxr, which others do without

        settings = StreamSettings(
            partials=False,
            words=words,
            phrases=tuple(phrases),
            languages=spoken_languages(language),
            translate=translate,
        )
        config = recognition_config(SAMPLE_RATE, 1, floats=True, settings=settings)
        transcript: Transcript[FinalT, TranslationT] = Transcript()
        try:
            async for event in self._recognize(chunks(path), config):
                if isinstance(event, events.Final):
                    transcript.append(self._final(event))
                elif isinstance(event, events.Translation):
                    transcript.translations.append(self._translation(event))
        except AudioError as error:
            error.finals = transcript
            raise
        return transcript

    async def transcribe_short(
        self,
        audio: bytes,
        *,
        rate: int = 16_000,
        words: bool = False,
        phrases: Iterable[str] = (),
        language: str | Iterable[str] | None = None,
        translate: bool = False,
    ) -> Transcript[FinalT, TranslationT]:
        """What :meth:`transcribe` gives, of 16-bit little-endian mono samples, in a single message.

        Raises AudioError too, as that does.
        """
        settings = StreamSettings(
            partials=False,
            words=words,
            phrases=tuple(phrases),
            languages=spoken_languages(language),
            translate=translate,
        )
        config = recognition_config(rate, 1, floats=False, settings=settings)
        try:
            response = await self._stub.Transcribe(
                pb.TranscribeRequest(config=config, audio=audio), metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        transcript: Transcript[FinalT, TranslationT] = Transcript()
        transcript.extend(self._final(read_final(final)) for final in response.finals)
        transcript.translations.extend(self._translation(read_translation(each)) for each in response.translations)
        if response.HasField("fault"):
            damaged = AudioError(response.fault.message)
            damaged.finals = transcript
            raise damaged
        return transcript

    async def status(self) -> Status:
        """How the service is."""
        try:
            response = await self._stub.GetStatus(
                pb.GetStatusRequest(), metadata=self._metadata, timeout=ANSWER_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        return read_status(response)

    async def mute(self, *, muted: bool = True) -> None:
        """Have the service drop the audio of its own source, or recognise it again."""
        try:
            await self._stub.Mute(pb.MuteRequest(muted=muted), metadata=self._metadata, timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None

    async def devices(self) -> list[Device]:
        """What the service could capture from."""
        try:
            response = await self._stub.ListDevices(
                pb.ListDevicesRequest(), metadata=self._metadata, timeout=ANSWER_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        return read_devices(response)

    @abstractmethod
    def _item(self, item: Item) -> ItemT:
        """What a subscription brings."""

    @abstractmethod
    def _event(self, event: StreamEvent) -> EventT:
        """What a client's own audio brings."""

    @abstractmethod
    def _final(self, final: events.Final) -> FinalT:
        """A final of a recording."""

    @abstractmethod
    def _translation(self, translation: events.Translation) -> TranslationT:
        """The translation of one."""

    async def _recognize(
        self, audio: AsyncIterable[bytes | Flush] | Iterable[bytes | Flush], config: pb.RecognitionConfig
    ) -> AsyncGenerator[StreamEvent]:
        call = self._stub.Recognize(metadata=self._metadata)
        ending = Ending(call)
        failures: list[Exception] = []
        sending = asyncio.ensure_future(_send(call, config, audio, failures))
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                event = read_event(response)
                if event is not None:
                    yield event  # type: ignore[misc]  # no DeviceState comes here
            for failure in failures:
                raise failure
        except grpc.aio.AioRpcError as error:
            raise self._told(await ending.error(error)) from None
        finally:
            sending.cancel()
            call.cancel()

    async def _messages(self, request: pb.SubscribeRequest, heartbeat: float) -> AsyncGenerator[pb.SubscribeResponse]:
        call = self._stub.Subscribe(request, metadata=self._metadata)
        patience = MISSED_HEARTBEATS * heartbeat
        try:
            while True:
                async with asyncio.timeout(patience):
                    message = await call.read()
                if message is grpc.aio.EOF:
                    break
                yield message
        except TimeoutError:
            raise silent(self.target, patience) from None
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        finally:
            call.cancel()
        raise ended(self.target)

    def _told(self, error: grpc.aio.AioRpcError) -> ServerError:
        return server_error(self.target, error.code(), error.details(), error.trailing_metadata())


async def _send(
    call: grpc.aio.StreamStreamCall[pb.RecognizeRequest, pb.RecognizeResponse],
    config: pb.RecognitionConfig,
    audio: AsyncIterable[bytes | Flush] | Iterable[bytes | Flush],
    failures: list[Exception],
) -> None:
    """Send all of a stream. What goes wrong with the call is for its reader; what is wrong with the audio ends it.

    That is added to ``failures``: what was said before it is still to be recognised.
    """
    try:
        await call.write(pb.RecognizeRequest(config=config))
        try:
            if isinstance(audio, AsyncIterable):
                async for chunk in audio:
                    await call.write(recognize_request(chunk))
            else:
                for chunk in audio:
                    await call.write(recognize_request(chunk))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise
        except Exception as error:  # noqa: BLE001 - the caller's own, to whom it is raised
            failures.append(error)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended meanwhile
        return
