"""The Wyoming server: speech to text for Home Assistant and others, and if wanted the service's microphone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from wyoming.error import Error
from wyoming.event import async_write_event

from rtstream.adapters.connections import Connections
from rtstream.adapters.listener import Listener, client_name
from rtstream.adapters.networks import admits
from rtstream.adapters.wyoming.connection import AsrConnection, MicConnection
from rtstream.adapters.wyoming.frames import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.adapters.wyoming.announcing import Announcer
    from rtstream.adapters.wyoming.config import WyomingConfig
    from rtstream.adapters.wyoming.connection import Connection
    from rtstream.publish.live_audio import LiveAudio
    from rtstream.rpc.hub import Hub
    from rtstream.rpc.security import Address

log = structlog.get_logger()


class WyomingServer:
    """Serves ``hub`` where ``config`` says. Made by :meth:`start`, which is for when there is a model.

    A client that asks before would be told of no language. ``phrase_room``: how many phrases a client may have.
    """

    def __init__(self, hub: Hub, config: WyomingConfig, audio: LiveAudio, phrase_room: Callable[[], int]) -> None:
        self._hub = hub
        self._config = config
        self._audio = audio
        self._phrase_room = phrase_room
        self._doors: list[_Door] = []
        self._announcer: Announcer | None = None

    @classmethod
    async def start(
        cls, hub: Hub, config: WyomingConfig, audio: LiveAudio, phrase_room: Callable[[], int]
    ) -> WyomingServer:
        """Listen. Raises ConfigError."""
        made = cls(hub, config, audio, phrase_room)
        try:
            made._doors.append(await _Door.open(config.listen, config, made._asr))
            if config.microphone is not None:
                made._doors.append(await _Door.open(config.microphone, config, made._mic))
            if config.announced_as:
                from rtstream.adapters.wyoming.announcing import Announcer  # noqa: PLC0415 - takes 10 MB

                made._announcer = Announcer(config.announced_as, made._doors[0].address)
        except BaseException:
            await made.stop(0.0)
            raise
        return made

    @property
    def ports(self) -> list[int]:
        """Where it listens: for speech to text, then for the microphone."""
        return [door.address.port for door in self._doors]

    async def stop(self, grace_seconds: float) -> None:
        """Take no more clients, and let turns end, for ``grace_seconds`` at most."""
        if self._announcer is not None:
            await self._announcer.stop()
        await asyncio.gather(*(door.close(grace_seconds) for door in self._doors))

    def _asr(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        return AsrConnection(
            self._hub,
            reader,
            writer,
            self._config.limits,
            external_vad=self._config.external_vad,
            phrase_room=self._phrase_room,
        )

    def _mic(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        return MicConnection(self._hub, reader, writer, self._config.limits, audio=self._audio)


class _Door:
    """An address and the connections that came through it. Made by :meth:`open`."""

    def __init__(
        self, config: WyomingConfig, connect: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Connection]
    ) -> None:
        self._allow = config.allow
        limits = config.limits
        self._connections = Connections(
            most=limits.connections, per_client=limits.per_client, idle_seconds=limits.idle_seconds
        )
        self._connect = connect
        self._listener: Listener | None = None
        self._open: dict[asyncio.Task[None], Connection | None] = {}

    @classmethod
    async def open(
        cls,
        address: Address,
        config: WyomingConfig,
        connect: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Connection],
    ) -> _Door:
        """Listen. Raises ConfigError."""
        made = cls(config, connect)
        try:
            made._listener = await Listener.open(
                "wyoming",
                [address],
                lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=LINE_BYTES), made._came),
                insecure_public=config.insecure_public,
                unix_mode=config.unix_mode,
                connections=config.limits.connections,
            )
        except BaseException:
            await made._connections.close()
            raise
        return made

    @property
    def address(self) -> Address:
        """Where it listens, with the port that was chosen."""
        assert self._listener is not None
        return self._listener.addresses[0]

    async def close(self, seconds: float) -> None:
        """Take no more, and end what is open within ``seconds``."""
        if self._listener is not None:
            await self._listener.close()
        for connection in self._open.values():
            if connection is not None:
                connection.leave()
        if tasks := list(self._open):
            await asyncio.wait(tasks, timeout=seconds)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self._connections.close()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = None
        connection = self._connect(reader, writer)
        try:
            client = client_name(writer.transport)
            if not admits(self._allow, client):
                log.warning("a client of Wyoming is not among wyoming.allow", client=client)
            elif self._connections.admit(connection, client):
                self._open[task] = connection
                await connection.run()
            else:
                await async_write_event(_CROWDED.event(), writer)
        except asyncio.CancelledError:
            pass  # the service ends; asyncio would report it
        except OSError:
            pass  # the client is gone
        except Exception:
            log.exception("a Wyoming connection failed")
        finally:
            self._connections.leave(connection)
            del self._open[task]
            with suppress(OSError):
                writer.close()
            if writer.transport.get_write_buffer_size():  # which nobody takes
                writer.transport.abort()


_CROWDED = Error("all connections that there may be are in use; close one, or try again later", "too-many-connections")
