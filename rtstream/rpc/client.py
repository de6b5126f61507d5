"""A client of the daemon, for asyncio.

    async with Client("unix:/run/rtstream/rtstream.sock") as client:
        async for item in client.subscribe():
            if isinstance(item, Published) and isinstance(item.event, Final):
                print(item.event.text)

What may be imported from here is all that a program needs; none of it loads torch.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Literal, Self

import grpc
import grpc.aio

from rtstream.errors import RtstreamError
from rtstream.events import AudioLost, Fault, Final, Partial, Translation
from rtstream.publish.items import Gap, Item, Position, Published
from rtstream.rpc.channel import ClientTls, Ending, open_channel
from rtstream.rpc.convert import (
    from_seconds,
    position_message,
    read_event,
    read_final,
    read_item,
    read_position,
)
from rtstream.rpc.failures import read_failure
from rtstream.rpc.status import read_devices, read_status
from rtstream.rpc.target import parse_target
from rtstream.rpc.unreachable import unreachable
from rtstream.rpc.v1 import rtstream_pb2 as pb
from rtstream.rpc.v1.rtstream_pb2_grpc import SpeechServiceStub

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Collection, Iterable
    from types import TracebackType

    from rtstream.events import Event
    from rtstream.rpc.hub import Device, Status, StreamSettings

__all__ = [
    "AudioLost",
    "Client",
    "ClientTls",
    "Fault",
    "Final",
    "Gap",
    "Item",
    "Partial",
    "Position",
    "Published",
    "ServerError",
    "Translation",
]

HEARTBEAT_SECONDS = 15.0
MISSED_HEARTBEATS = 3
"""After so many a connection is taken for dead, whatever TCP says."""
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
ANSWER_SECONDS = 10.0
"""Deadline of what is answered at once."""
EPOCHS_KEPT = 16

ConnectionState = Literal["connected", "lost"]

_PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a later try may not meet again."""


class ServerError(RtstreamError):
    """A call failed. ``code`` is gRPC's, ``reason`` the daemon's own stable one, or empty: see the proto."""

    def __init__(self, message: str, code: grpc.StatusCode, reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.metadata = metadata


class Client:
    """A connection to the service at ``target``: ``unix:PATH`` or ``HOST:PORT``; see :func:`parse_target`.

    ``token``: a bearer token; ``tls``: None for an unencrypted connection. Connects when first needed, and again when
    the connection is lost. Use it as a context manager on one event loop, or :meth:`close` it. Every method raises
    ServerError. Making one raises ConfigError for an impossible target, or TLS files that cannot be used.
    """

    def __init__(self, target: str, *, token: str | None = None, tls: ClientTls | None = None) -> None:
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
        partials: bool = True,
        words: bool = False,
        languages: Collection[str] | None = None,
        reconnect: bool = True,
        wait: bool = False,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        on_connection: Callable[[ConnectionState, str], None] | None = None,
    ) -> AsyncIterator[Item]:
        """Iterate over what the daemon publishes, for ever: every final once and in order.

        Begins now, after the final ``resume_after``, or with all finals that are held. When the connection is lost, or
        was too slow, it is made again and resumed after the last final; ``on_connection`` hears of it, with a line for
        people. ``wait``: also wait for a daemon that is not there at first, else that is an error. Without
        ``reconnect`` any loss is one. A Gap says that finals are missing which the daemon no longer holds.

        ``languages``: whose translations are wanted; None: all that the daemon makes. Without ``partials`` those of
        finals alone come. Translations are not held: what was translated while the client was away does not come later.
        """
        request = pb.SubscribeRequest(
            from_start=from_start,
            words=words,
            heartbeat_interval=from_seconds(heartbeat_seconds),
            kinds=_kinds(partials=partials, translations=languages is None or bool(languages)),
            languages=languages or (),
            no_partial_translations=not partials,
        )
        seen = _Seen(resume_after)
        pause = _Pause()
        met = wait
        while True:
            try:
                async for message in self._messages(seen.resumed(request), heartbeat_seconds):
                    if message.WhichOneof("event") == "heartbeat":
                        seen.begin(read_position(message.heartbeat.position))
                    if not pause.fresh or not met:
                        met = True
                        pause = _Pause()
                        if on_connection is not None:
                            on_connection("connected", f"connected to {self.target}")
                    item = read_item(message, seen.epoch)
                    if item is not None and seen.take(item):
                        yield item
            except ServerError as error:
                if not reconnect or not met or error.code not in _PASSING:
                    raise
                if on_connection is not None and pause.fresh:
                    on_connection("lost", str(error))
            await pause.wait()

    async def recognize(
        self,
        audio: AsyncIterable[bytes] | Iterable[bytes],
        *,
        rate: int = 16_000,
        channels: int = 1,
        floats: bool = False,
        settings: StreamSettings | None = None,
    ) -> AsyncIterator[Event | AudioLost | Fault]:
        """Send audio as it comes and iterate over what is recognised in it, to the last final.

        ``audio``: chunks of 16-bit little-endian samples, or of 32-bit ``floats``, of ``rate`` Hz and ``channels``.
        """
        config = pb.RecognitionConfig(
            encoding=pb.AUDIO_ENCODING_F32LE if floats else pb.AUDIO_ENCODING_S16LE, sample_rate=rate, channels=channels
        )
        if settings is not None:
            config.no_partials, config.words = not settings.partials, settings.words
            config.phrases.extend(settings.phrases)
            if settings.chunk_ms is not None:
                config.chunk.FromMilliseconds(settings.chunk_ms)

        call = self._stub.Recognize(metadata=self._metadata)
        ending = Ending(call)
        sending = asyncio.ensure_future(_send(call, config, audio))
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                event = read_event(response)
                if event is not None:
                    yield event  # type: ignore[misc]  # no DeviceState comes here
        except grpc.aio.AioRpcError as error:
            raise self._told(await ending.error(error)) from None
        except asyncio.CancelledError:
            # Also what gRPC raises when the audio failed and _send has cancelled the call.
            failed = sending.exception() if sending.done() and not sending.cancelled() else None
            if failed is None:
                raise
            raise failed from None
        finally:
            sending.cancel()
            call.cancel()

    async def transcribe(
        self, path: str | os.PathLike[str], *, words: bool = False, phrases: Iterable[str] = ()
    ) -> list[Final]:
        """The finals of a recording: any format, rate and length. Raises AudioError too.

        ``phrases``: names and words to find where they are said, each ``PHRASE`` or ``PHRASE=WEIGHT``.
        """
        from rtstream.rpc.hub import StreamSettings  # noqa: PLC0415
        from rtstream.rpc.recordings import chunks  # noqa: PLC0415 - soundfile and soxr, which others do without

        settings = StreamSettings(partials=False, words=words, phrases=tuple(phrases))
        events = self.recognize(chunks(path), floats=True, settings=settings)
        return [event async for event in events if isinstance(event, Final)]

    async def transcribe_short(
        self, audio: bytes, *, rate: int = 16_000, words: bool = False, phrases: Iterable[str] = ()
    ) -> list[Final]:
        """The finals of a short recording, 16-bit little-endian mono samples, in a single message."""
        config = pb.RecognitionConfig(sample_rate=rate, words=words, phrases=phrases)
        try:
            response = await self._stub.Transcribe(
                pb.TranscribeRequest(config=config, audio=audio), metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        return [read_final(final) for final in response.finals]

    async def status(self) -> Status:
        """How the daemon is."""
        try:
            response = await self._stub.GetStatus(
                pb.GetStatusRequest(), metadata=self._metadata, timeout=ANSWER_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        return read_status(response)

    async def devices(self) -> list[Device]:
        """What the daemon could capture from."""
        try:
            response = await self._stub.ListDevices(
                pb.ListDevicesRequest(), metadata=self._metadata, timeout=ANSWER_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        return read_devices(response)

    async def _messages(self, request: pb.SubscribeRequest, heartbeat: float) -> AsyncIterator[pb.SubscribeResponse]:
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
            text = f"{self.target}: nothing was heard for {patience:g} s; the connection is taken for dead"
            raise ServerError(text, grpc.StatusCode.UNAVAILABLE) from None
        except grpc.aio.AioRpcError as error:
            raise self._told(error) from None
        finally:
            call.cancel()
        raise ServerError(f"{self.target}: the daemon has ended the stream", grpc.StatusCode.UNAVAILABLE)

    def _told(self, error: grpc.aio.AioRpcError) -> ServerError:
        failure = read_failure(error.trailing_metadata())
        if failure is not None:
            return ServerError(f"{self.target}: {failure}", error.code(), failure.reason, **failure.metadata)
        details = error.details() or error.code().name
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return ServerError(unreachable(self.target, details), error.code())
        return ServerError(f"{self.target}: {details}", error.code())


def _kinds(*, partials: bool, translations: bool) -> list[str]:
    """The kinds of events to ask for; none stands for all, also for those that a newer daemon may have."""
    unwanted = {pb.EVENT_KIND_UNSPECIFIED}
    if not partials:
        unwanted.add(pb.EVENT_KIND_PARTIAL)
    if not translations:
        unwanted.add(pb.EVENT_KIND_TRANSLATION)
    wanted = [pb.EventKind.Name(kind) for kind in pb.EventKind.values() if kind not in unwanted]
    return wanted if len(unwanted) > 1 else []


async def _send(
    call: grpc.aio.StreamStreamCall[pb.RecognizeRequest, pb.RecognizeResponse],
    config: pb.RecognitionConfig,
    audio: AsyncIterable[bytes] | Iterable[bytes],
) -> None:
    """Send all of a stream. What goes wrong with the call is for its reader; what is wrong with the audio ends it."""
    try:
        await call.write(pb.RecognizeRequest(config=config))
        if isinstance(audio, AsyncIterable):
            async for chunk in audio:
                await call.write(pb.RecognizeRequest(audio=chunk))
        else:
            for chunk in audio:
                await call.write(pb.RecognizeRequest(audio=chunk))
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended meanwhile
        return
    except BaseException:
        call.cancel()
        raise


class _Seen:
    """Where a subscriber is, over all its connections, so that nothing comes twice."""

    def __init__(self, start: Position | None) -> None:
        self._position = start
        self._last: dict[str, int] = {} if start is None else {start.epoch: start.sequence}

    @property
    def epoch(self) -> str:
        return "" if self._position is None else self._position.epoch

    def resumed(self, request: pb.SubscribeRequest) -> pb.SubscribeRequest:
        """The request, to go on where this subscriber is."""
        if self._position is None:
            return request
        resumed = pb.SubscribeRequest()
        resumed.CopyFrom(request)
        resumed.from_start = False
        resumed.resume_after.CopyFrom(position_message(self._position))
        return resumed

    def begin(self, position: Position) -> None:
        """Note where the server is, which counts until there has been a final."""
        if self._position is None:
            self._position = position

    def take(self, item: Item) -> bool:
        """Note an item; False if the subscriber has had it."""
        position = None if isinstance(item, Gap) else item.position
        if position is None:
            return True
        if self._last.get(position.epoch, 0) >= position.sequence:
            return False
        self._last.pop(position.epoch, None)
        self._last[position.epoch] = position.sequence
        while len(self._last) > EPOCHS_KEPT:
            del self._last[next(iter(self._last))]
        self._position = position
        return True


class _Pause:
    """Ever longer pauses between tries, a little random so that many clients do not come back all at once."""

    def __init__(self) -> None:
        self.fresh = True
        self._next = FIRST_PAUSE_SECONDS

    async def wait(self) -> None:
        self.fresh = False
        await asyncio.sleep(self._next * random.uniform(0.5, 1.0))
        self._next = min(2 * self._next, LONGEST_PAUSE_SECONDS)
