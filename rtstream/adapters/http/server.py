"""The HTTP server: its routes, connections and limits around the service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from rtstream.adapters.connections import Connections
from rtstream.adapters.http.deepgram import Deepgram
from rtstream.adapters.http.events import Events
from rtstream.adapters.http.gate import HttpGate
from rtstream.adapters.http.models import ModelList, health
from rtstream.adapters.http.mute import Mute
from rtstream.adapters.http.page import page_routes
from rtstream.adapters.http.realtime import Realtime
from rtstream.adapters.http.transcriptions import Transcriptions
from rtstream.adapters.http.vosk import Vosk
from rtstream.adapters.listener import Listener, client_name
from rtstream.rpc.security import Tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rtstream.adapters.http.config import HttpConfig
    from rtstream.rpc.hub import Hub
    from rtstream.rpc.security import Address

HEALTH = "/health"
EVENTS = "/events"
MUTE = "/mute"
REALTIME = "/v1/realtime"
DEEPGRAM = "/v1/listen"
VOSK = "/vosk"
SHORTEST_GRACE = 0.01
"""For aiohttp none at all is one without end."""
SMALL_BYTES = 1 << 20
"""That a request may have besides its file."""


class HttpServer:
    """A server that runs. Made by :meth:`start`."""

    def __init__(self, listener: Listener, runner: web.AppRunner, connections: Connections, gate: HttpGate) -> None:
        self.connections = connections
        self._listener = listener
        self._runner = runner
        self._watching = asyncio.ensure_future(gate.guarded.watch())

    @property
    def addresses(self) -> Sequence[Address]:
        """Where it listens, with the ports that were chosen."""
        return self._listener.addresses

    @classmethod
    async def start(cls, hub: Hub, config: HttpConfig) -> HttpServer:
        """Listen and serve, on the running event loop. Raises ConfigError."""
        tokens = None if config.tokens is None else Tokens(config.tokens)
        page = page_routes()
        gate = HttpGate(tokens, config.hosts, frozenset({HEALTH, *page}))
        app = web.Application(middlewares=[_busy, gate.middleware], client_max_size=config.upload_bytes + SMALL_BYTES)
        models = ModelList(hub)
        transcriptions = Transcriptions(hub, config)
        mute = Mute(hub, allowed=config.mute)
        for path, answer in page.items():
            app.router.add_get(path, answer)
        app.router.add_get(HEALTH, health(hub))
        app.router.add_get("/v1/models", models.all)
        app.router.add_get("/v1/models/{model:.+}", models.one)
        app.router.add_get(EVENTS, Events(hub, config).serve)
        for method in ("GET", "PUT", "DELETE"):
            app.router.add_route(method, MUTE, mute.serve)
        app.router.add_get(REALTIME, Realtime(hub, config).serve)
        app.router.add_get(DEEPGRAM, Deepgram(hub, config).serve)
        app.router.add_get(VOSK, Vosk(hub, config).serve)
        app.router.add_post("/v1/audio/transcriptions", transcriptions.serve)
        app.router.add_post("/v1/audio/translations", transcriptions.translate)
        runner = web.AppRunner(
            app,
            handle_signals=False,
            handler_cancellation=True,
        )
        await runner.setup()
        assert runner.server is not None
        server = runner.server
        connections = Connections(
            most=config.connections, per_client=config.connections_per_client, idle_seconds=config.head_seconds
        )
        loop = asyncio.get_running_loop()

        def connected() -> asyncio.BaseProtocol:
            return _Connection(
                connections,
                server,
                config.idle_seconds,
                loop=loop,
                access_log=None,
                auto_decompress=False,  # a small body must not become a large one
                keepalive_timeout=2 * config.head_seconds,  # after ours
            )

        try:
            listener = await Listener.open(
                "http",
                config.listen,
                connected,
                tls=config.tls,
                insecure_public=config.insecure_public,
                unix_mode=config.unix_mode,
                connections=config.connections,
            )
        except BaseException:
            await connections.close()
            await runner.cleanup()
            raise
        return cls(listener, runner, connections, gate)

    async def stop(self, grace_seconds: float = 2.0) -> None:
        """Take no more requests, and end those that are still served when the grace is over."""
        await self._listener.close()
        server = self._runner.server
        if server is None:  # it has stopped before
            return
        server.pre_shutdown()
        await server.shutdown(max(grace_seconds, SHORTEST_GRACE))
        self._watching.cancel()
        await asyncio.wait({self._watching})
        await self.connections.close()
        await self._runner.cleanup()


class _Connection(RequestHandler):
    """A connection, counted. It ends when its client takes nothing of what waits for it in ``idle_seconds``."""

    __slots__ = ("_idle_seconds", "_looking", "_waiting_bytes", "connections", "served")

    def __init__(
        self,
        connections: Connections,
        server: web.Server,
        idle_seconds: float,
        **options: Any,  # noqa: ANN401 - aiohttp's
    ) -> None:
        super().__init__(server, **options)
        self.served = 0
        """Requests that are being answered."""
        self.connections = connections
        self._idle_seconds = idle_seconds
        self._looking: asyncio.TimerHandle | None = None
        self._waiting_bytes = 0

    @property
    def busy(self) -> bool:
        return self.served > 0

    def end(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.connections.admit(self, client_name(transport)):
            self.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._look_no_more()
        self.connections.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        self._look_no_more()
        super().resume_writing()

    def _look_later(self) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self._waiting_bytes = self.transport.get_write_buffer_size()
        self._looking = asyncio.get_running_loop().call_later(self._idle_seconds, self._look)

    def _look(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            if self.transport.get_write_buffer_size() >= self._waiting_bytes:
                self.end()
            else:
                self._look_later()

    def _look_no_more(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None


@web.middleware
async def _busy(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Note that a connection is in use, as long as it is."""
    connection = request.protocol
    assert isinstance(connection, _Connection)
    connection.served += 1
    try:
        return await handler(request)
    finally:
        connection.served -= 1
        connection.connections.rest(connection)
