"""Where an adapter listens: the rules for addresses and TLS are the gRPC server's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from rtstream.errors import ConfigError
from rtstream.rpc.connections import client_of, more_room
from rtstream.rpc.security import Address, check_public, created_with, identity, make_way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtstream.rpc.security import ServerTls

log = structlog.get_logger()

HANDSHAKE_SECONDS = 10.0
BACKLOG = 64


class Listener:
    """Listens on addresses until it is closed. Made by :meth:`open`."""

    def __init__(self, name: str) -> None:
        self.addresses: list[Address] = []
        """Where it listens, with the ports that were chosen."""
        self._name = name
        self._servers: list[asyncio.Server] = []
        self._sockets: dict[Path, tuple[int, int] | None] = {}

    @classmethod
    async def open(
        cls,
        name: str,
        addresses: Sequence[Address],
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ServerTls | None = None,
        insecure_public: bool = False,
        unix_mode: int = 0o660,
        connections: int = 0,
    ) -> Listener:
        """Listen on ``addresses``, each connection to a new ``protocol``.

        ``name`` is the section of the settings, for messages; ``connections``: what may be open at a time. TLS is for
        TCP; a Unix socket is guarded by its mode. Raises ConfigError if an address is public without TLS, in use or not
        this machine's.
        """
        made = cls(name)
        more_room(connections)
        context = None if tls is None else tls.context()
        loop = asyncio.get_running_loop()
        try:
            for address in addresses:
                check_public(address, encrypted=tls is not None, insecure_public=insecure_public)
                if address.path:
                    make_way(address)
                    with created_with(unix_mode):
                        server = await loop.create_unix_server(protocol, address.path, backlog=BACKLOG)
                    made._sockets[Path(address.path)] = identity(Path(address.path))
                else:
                    server = await loop.create_server(
                        protocol,
                        address.host,
                        address.port,
                        ssl=context,
                        ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
                        backlog=BACKLOG,
                    )
                made._servers.append(server)
                made.addresses.append(address if address.path else _bound(address, server))
        except ConfigError as error:
            await made.close()
            raise ConfigError(f"{name}.listen: {error}") from None
        except OSError as error:
            await made.close()
            raise ConfigError(
                f"{name}.listen = '{address}': cannot be listened on: {error.strerror or error}; choose another"
            ) from None
        log.info("listening", adapter=name, addresses=[str(address) for address in made.addresses], tls=tls is not None)
        return made

    async def close(self) -> None:
        """Take no more connections; those that are open stay."""
        for server in self._servers:
            server.close()
        for path, mine in self._sockets.items():
            if identity(path) == mine:  # it may be another service's by now
                path.unlink(missing_ok=True)
        self._servers.clear()
        self._sockets.clear()


def client_name(transport: asyncio.BaseTransport) -> str:
    """Who is at the other end: a remote address, or all of this machine; ``unix`` for a Unix socket."""
    peer = transport.get_extra_info("peername")
    return client_of(str(peer[0])) if isinstance(peer, tuple) else "unix"


def _bound(address: Address, server: asyncio.Server) -> Address:
    return Address(host=address.host, port=server.sockets[0].getsockname()[1])
