"""A client's connection: TLS, and keepalive that the service's server agrees with."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import grpc.aio

from rtstream.errors import ConfigError
from rtstream.wire.pem import read_pem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from grpc.aio import Metadata

    AnyCall = grpc.aio.StreamStreamCall[Any, Any]

KEEPALIVE_SECONDS = 30
KEEPALIVE_TIMEOUT_SECONDS = 10
RECONNECT_MS = (200, 15_000)
"""Shortest and longest pause of gRPC itself between two connections."""

CORE_ERROR = "Internal error from Core"
SETTLING_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files of a client. ``ca``: who may have signed the server's certificate, None for those the system trusts.

    ``certificate`` and ``key`` are the client's own, where the server asks for them (mTLS). ``server_name`` is the
    name that the server's certificate must be for, where it is not the one in the address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises ConfigError."""
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("TLS: a client's certificate and its key go together; give both")
        read = {name: None if path is None else read_pem(path) for name, path in self._files()}
        return grpc.ssl_channel_credentials(read["ca"], read["key"], read["certificate"])

    def _files(self) -> list[tuple[str, Path | None]]:
        return [("ca", self.ca), ("key", self.key), ("certificate", self.certificate)]


class Ending:
    """How a call that is written to ends.

    A write that meets the end of its call makes grpc.aio say INTERNAL, shortly before or for ever after the status that
    the server has sent. Made before the first write.
    """

    def __init__(self, call: AnyCall) -> None:
        self._status: tuple[grpc.StatusCode, Metadata, Metadata, str] | None = None
        self._told = asyncio.Event()
        call.add_done_callback(self._note)

    async def error(self, told: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Why the call has really ended, for which gRPC has raised ``told``."""
        if told.details() != CORE_ERROR:
            return told
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLING_SECONDS):
                await self._told.wait()
        return told if self._status is None else grpc.aio.AioRpcError(*self._status)

    def _note(self, call: AnyCall) -> None:
        # Here and now: these coroutines have their answer, which may be overwritten before a task could ask.
        details = _answer(call.details())
        if details != CORE_ERROR:
            metadata = (_answer(call.initial_metadata()), _answer(call.trailing_metadata()))
            self._status = (_answer(call.code()), *metadata, details)
            self._told.set()


def _answer(ready: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that need not wait."""
    try:
        ready.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    finally:
        ready.close()
    raise RuntimeError("gRPC's answer was not ready")


def open_channel(target: str, tls: ClientTls | None) -> grpc.aio.Channel:
    """A channel that connects when it is first used. Raises ConfigError."""
    if tls is None:
        return grpc.aio.insecure_channel(target, _options(tls))
    return grpc.aio.secure_channel(target, tls.credentials(), _options(tls))


def open_blocking_channel(target: str, tls: ClientTls | None) -> grpc.Channel:
    """The same for a program without an event loop. Raises ConfigError."""
    if tls is None:
        return grpc.insecure_channel(target, _options(tls))
    return grpc.secure_channel(target, tls.credentials(), _options(tls))


def _options(tls: ClientTls | None) -> list[tuple[str, int | str]]:
    named = [] if tls is None or tls.server_name is None else [("grpc.ssl_target_name_override", tls.server_name)]
    return [
        # Not more often than the server allows: ServerConfig.shortest_ping_seconds.
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),  # else a minute, whatever the above
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS[0]),
        ("grpc.min_reconnect_backoff_ms", RECONNECT_MS[0]),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MS[1]),
        ("grpc.enable_http_proxy", 0),  # the service is on this machine or in its network
        ("grpc.use_local_subchannel_pool", 1),  # clients of one process do not share a connection, or its failure
        *named,
    ]
