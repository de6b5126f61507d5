"""Metrics over HTTP, on the service's event loop: no thread for a connection, and none that stays."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder

from rtstream.daemon.exits import UnavailableError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from rtstream.rpc.security import Address, ServerTls

CONNECTIONS = 16
"""Open at a time; of more, the one that has asked for nothing for longest is closed."""
SECONDS = 5.0
"""In which a connection has asked and has its answer."""
HEAD_BYTES = 8 << 10


class MetricsServer:
    """Answers GET of ``/metrics`` with what ``registry`` holds; a connection asks once. Made by :meth:`start`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}  # the oldest first
        self._server: asyncio.Server | None = None

    async def start(self, address: Address, tls: ServerTls | None = None) -> None:
        """Listen. Raises UnavailableError, ConfigError for TLS files."""
        context = None if tls is None else tls.context()
        try:
            self._server = await asyncio.start_server(
                self._connected,
                address.host,
                address.port,
                ssl=context,
                ssl_handshake_timeout=None if context is None else SECONDS,
                limit=HEAD_BYTES,
            )
        except OSError as error:
            raise UnavailableError(
                f"metrics.listen = '{address}': cannot be listened on: {error}; choose another"
            ) from None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more, and end what is open."""
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        if len(self._open) > CONNECTIONS:
            next(iter(self._open)).cancel()
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(await self._answer(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            del self._open[task]

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, version = lines[0].split(" ")
        except (asyncio.LimitOverrunError, asyncio.IncompleteReadError, ValueError):
            return _response(HTTPStatus.BAD_REQUEST)
        if not version.startswith("HTTP/1."):
            return _response(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if method not in {"GET", "HEAD"}:
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, extra="Allow: GET, HEAD\r\n")
        if target.partition("?")[0] not in {"/", "/metrics"}:
            return _response(HTTPStatus.NOT_FOUND)
        headers = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
        encode, kind = choose_encoder(headers.get("accept", "").strip())
        return _response(HTTPStatus.OK, encode(self._registry), kind, head=method == "HEAD")


def _response(
    status: HTTPStatus, body: bytes | None = None, kind: str = "text/plain", *, extra: str = "", head: bool = False
) -> bytes:
    body = f"{status.phrase}\n".encode() if body is None else body
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{extra}Connection: close\r\n\r\n"
    )
    return lines.encode() + (b"" if head else body)
