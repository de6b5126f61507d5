"""The gRPC server: its addresses, limits, keepalive, health and reflection around the service."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from rtstream.audio.source import PAUSE_SECONDS
from rtstream.errors import ConfigError
from rtstream.rpc.connections import Doorman, room_for
from rtstream.rpc.interceptor import Gate, Limits
from rtstream.rpc.reflection import add_reflection
from rtstream.rpc.security import Address, ServerTls, Tokens, check_public, created_with, identity, make_way
from rtstream.rpc.service import SpeechService
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import add_SpeechServiceServicer_to_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.rpc.hub import Hub

log = structlog.get_logger()

SPARE_CALLS = 256
"""Calls that may be open besides those that the gate lets in: being refused, or asking for health."""
DEFAULT_ADDRESS = Address(host="127.0.0.1", port=7660)
OVERSIZE = 3
"""Times ``message_bytes``, from which on gRPC itself ends a call, without a reason that programs understand."""
SERVICE: str = pb.DESCRIPTOR.services_by_name["SpeechService"].full_name
HEALTH: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How to serve. TLS is for TCP; a Unix socket is guarded by its mode, which is ``unix_mode``.

    ``streams``, ``streams_per_client``, ``recognitions``, ``farewell_seconds``: see Limits. ``connections``,
    ``connections_per_client``: see Doorman. ``idle_seconds``, ``pause_seconds``,
    ``longest_seconds``: see SpeechService.
    ``keepalive_seconds``: how often a connection on which nothing comes is probed; ``keepalive_timeout_seconds``: how
    long it may take to answer. ``handshake_seconds``: what a connection has to say hello.
    """

    listen: Sequence[Address] = (DEFAULT_ADDRESS,)
    tls: ServerTls | None = None
    tokens: Path | None = None
    insecure_public: bool = False
    unix_mode: int = 0o660
    message_bytes: int = 4 << 20
    streams: int = 256
    streams_per_client: int = 64
    recognitions: int = 64
    connections: int = 512
    connections_per_client: int = 128
    farewell_seconds: float = 10.0
    idle_seconds: float = 30.0
    pause_seconds: float = PAUSE_SECONDS
    longest_seconds: float = 300.0
    keepalive_seconds: float = 30.0
    keepalive_timeout_seconds: float = 10.0
    handshake_seconds: float = 10.0
    shortest_ping_seconds: float = 5.0
    """Clients that ping more often are sent away; rtstream's own pings every 30 s."""


class Server:
    """A server that runs. Made by :func:`serve`."""

    def __init__(
        self,
        server: grpc.aio.Server,
        addresses: Sequence[Address],
        gate: Gate,
        doorman: Doorman,
        health: HealthServicer,
    ) -> None:
        self.addresses = tuple(addresses)
        """Where it listens, with the ports that were chosen."""
        self._server = server
        self._gate = gate
        self._health = health
        self._doorman = doorman
        self._sockets = {path: identity(path) for path in self._paths}
        self._watching = asyncio.ensure_future(gate.watch_tokens())
        doorman.start()

    @property
    def _paths(self) -> list[Path]:
        return [Path(address.path) for address in self.addresses if address.path]

    @property
    def connections_refused(self) -> int:
        """Connections that were closed because their client had too many."""
        return self._doorman.refused

    @property
    def streams(self) -> int:
        """Calls of any kind that are open and stay."""
        return self._gate.streams

    async def set_serving(self, serving: bool, service: str | None = None) -> None:  # noqa: FBT001 - it is what it says
        """Set the health of the service and of the whole, or of another name alone."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE) if service is None else (service,):
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float = 2.0, cleanup_seconds: float = 5.0) -> None:
        """Take no more calls, end those that are open when the grace is over, and let them put away what they have.

        Subscriptions end at once if the broker was closed before.
        """
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)
        # gRPC counts a call as over while its handler still puts things away, and prints a traceback for each that
        # is cancelled in that by the end of the event loop.
        await self._gate.ended(cleanup_seconds)
        self._watching.cancel()
        await asyncio.wait({self._watching})
        await self._doorman.stop()
        for path in self._paths:
            if identity(path) == self._sockets[path]:  # it may be another service's by now
                path.unlink(missing_ok=True)


async def serve(hub: Hub, config: ServerConfig) -> Server:
    """Listen and serve, on the running event loop. Not yet healthy: that is for :meth:`Server.set_serving` to say.

    Raises ConfigError if an address is public without TLS, in use or not this machine's, or a file is not what it
    must be.
    """
    if not config.listen:
        raise ConfigError("no address to listen on; give unix:PATH or HOST:PORT")
    for address in config.listen:
        check_public(address, encrypted=config.tls is not None, insecure_public=config.insecure_public)
    limits = Limits(
        config.streams,
        config.streams_per_client,
        config.recognitions,
        message_bytes=config.message_bytes,
        idle_seconds=config.idle_seconds,
        farewell_seconds=config.farewell_seconds,
    )
    gate = Gate(limits, tokens=None if config.tokens is None else Tokens(config.tokens))
    credentials = None if config.tls is None else config.tls.credentials()
    connections = room_for(config.connections, len(config.listen))
    server = grpc.aio.server(
        interceptors=(gate,),
        options=_options(config, connections),
        maximum_concurrent_rpcs=2 * config.streams + SPARE_CALLS,
    )
    service = SpeechService(
        hub,
        idle_seconds=config.idle_seconds,
        pause_seconds=config.pause_seconds,
        longest_seconds=config.longest_seconds,
    )
    add_SpeechServiceServicer_to_server(service, server)
    health = HealthServicer()
    add_HealthServicer_to_server(health, server)
    add_reflection(server, (SERVICE, HEALTH))
    bound = [_bind(server, address, credentials, config.unix_mode) for address in config.listen]
    doorman = Doorman(
        bound, most=connections * 3 // 4, per_client=config.connections_per_client, busy=lambda: gate.peers
    )
    running = Server(server, bound, gate, doorman, health)
    await running.set_serving(False)
    await server.start()
    log.info("listening", addresses=[str(address) for address in bound], tls=config.tls is not None)
    return running


def _options(config: ServerConfig, connections: int) -> list[tuple[str, int]]:
    def milliseconds(seconds: float) -> int:
        return round(seconds * 1000)

    return [
        # What is a little too large the Gate refuses, with the reason; gRPC itself would give none.
        ("grpc.max_receive_message_length", OVERSIZE * config.message_bytes),
        ("grpc.max_send_message_length", config.message_bytes),
        ("grpc.max_metadata_size", 16 << 10),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.http2.bdp_probe", 0),  # else what a call may send unread grows from 64 KiB to megabytes
        # Keepalive, aligned with the clients': gRPC's own server takes pings more often than every 300 s for an attack.
        ("grpc.keepalive_time_ms", milliseconds(config.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", milliseconds(config.keepalive_timeout_seconds)),
        (
            "grpc.http2.ping_timeout_ms",
            milliseconds(config.keepalive_timeout_seconds),
        ),  # else a minute, whatever the above
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", milliseconds(config.shortest_ping_seconds)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", milliseconds(config.shortest_ping_seconds)),
        ("grpc.server_handshake_timeout_ms", milliseconds(config.handshake_seconds)),
        ("grpc.max_connection_idle_ms", milliseconds(300)),
        ("grpc.max_concurrent_streams", max(config.streams_per_client * 2, 16)),
        ("grpc.so_reuseport", 0),  # else a second service would share the port, and take half of the clients
    ]


def _bind(server: grpc.aio.Server, address: Address, credentials: grpc.ServerCredentials | None, mode: int) -> Address:
    if address.path:
        make_way(address)
    try:
        with created_with(mode):
            if credentials is None or address.path:
                port = server.add_insecure_port(str(address))
            else:
                port = server.add_secure_port(str(address), credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(
            f"{address}: cannot listen there; check that no other program does (ss -ltnp), and that the address "
            "is this machine's"
        )
    return address if address.path else Address(host=address.host, port=port)
