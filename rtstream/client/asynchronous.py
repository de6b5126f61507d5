"""The client for programs of asyncio."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from rtstream.client.calls import Client as Calls
from rtstream.client.events import read_event, read_final, read_item
from rtstream.errors import AudioError
from rtstream.rpc.hub import StreamSettings
from rtstream.rpc.target import DEFAULT_TARGET

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable
    from types import TracebackType

    from rtstream.client.calls import ConnectionState
    from rtstream.client.connection import ClientTls
    from rtstream.client.events import Event, Final, RecognizedEvent
    from rtstream.client.requests import Container, Flush
    from rtstream.publish.items import Position
    from rtstream.rpc.hub import Device, Status


class AsyncClient:
    """A connection to the service at ``target``: ``unix:PATH`` or ``HOST:PORT``; without a port 7660.

    ``token``: a bearer token; ``tls``: None for an unencrypted connection. Connects when first needed, and again when
    the connection is lost. Use it as a context manager on one event loop, or :meth:`close` it. Every method raises
    ServerError. Making one raises ConfigError for an impossible target, or TLS files that cannot be used.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, token: str | None = None, tls: ClientTls | None = None) -> None:
        self._calls = Calls(target, token=token, tls=tls)

    @property
    def target(self) -> str:
        """Where the service is, with host and port."""
        return self._calls.target

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection, and end all calls."""
        await self._calls.close()

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
        on_connection: Callable[[ConnectionState, str], None] | None = None,
    ) -> AsyncGenerator[Event]:
        """Iterate over what the service publishes, for ever: every final once and in order.

        Begins now, after the final ``resume_after``, with all finals that are held, or with those of the last
        ``max_age_seconds``. When the connection is lost, or was too slow, it is made again and resumed after the last
        final; ``on_connection`` hears of it, with a line for people. ``wait``: also wait for a service that is not
        there at first, else that is an error. Without ``reconnect`` any loss is one. A Gap says that finals are missing
        which the service no longer holds.

        ``languages``: whose translations are wanted; None: all that the service makes. Without ``partials`` those of
        finals alone come. Translations are not held: what was translated while the client was away does not come later.
        """
        items = self._calls.subscribe(
            resume_after=resume_after,
            from_start=from_start,
            max_age_seconds=max_age_seconds,
            partials=partials,
            words=words,
            languages=languages,
            reconnect=reconnect,
            wait=wait,
            on_connection=on_connection,
        )
        async with aclosing(items):
            async for item in items:
                yield read_item(item)

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
    ) -> AsyncGenerator[RecognizedEvent]:
        """Send audio as it comes and iterate over what is recognised in it, to the last final.

        ``audio``: chunks of 16-bit little-endian samples, or of 32-bit ``floats``, of ``rate`` Hz and ``channels``,
        or of a file that is read as it comes: ``container`` "wav", "ogg" (Opus, Vorbis) or "flac".
        ``phrases``: names and words to find where they are said, each ``PHRASE`` or ``PHRASE=WEIGHT``. ``chunk_ms``:
        320, 640 or 1280 ms are recognised at a time; None: as the service does. ``silence_ms`` of silence end a
        segment; ``speech``: also tell when it starts and ends. A Flush among the audio, as for push to talk, ends the
        segment there: its final follows, then Flushed.
        """
        settings = StreamSettings(partials, words, chunk_ms, tuple(phrases), silence_ms, speech)
        events = self._calls.recognize(
            audio, rate=rate, channels=channels, floats=floats, container=container, settings=settings
        )
        async with aclosing(events):
            async for event in events:
                yield read_event(event)

    async def transcribe(
        self, path: str | os.PathLike[str], *, words: bool = False, phrases: Iterable[str] = ()
    ) -> list[Final]:
        """The finals of a recording: any format, rate and length; ``phrases`` as above.

        Raises AudioError too, whose ``finals`` are those of all audio before what is wrong with it.
        """
        try:
            finals = await self._calls.transcribe(path, words=words, phrases=phrases)
        except AudioError as error:
            error.finals = [read_final(final) for final in error.finals]
            raise
        return [read_final(final) for final in finals]

    async def status(self) -> Status:
        """How the service is."""
        return await self._calls.status()

    async def devices(self) -> list[Device]:
        """What the service could capture from."""
        return await self._calls.devices()
