"""Connections: how many there may be, of one client and in all, so that nothing else ever lacks a file descriptor.

gRPC itself refuses what a listener may not have in all (``grpc.max_allowed_incoming_connections``), but knows nothing
of clients. So the doorman looks at the sockets of this process, and closes those of a client that has too many.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import resource
import socket
import struct
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from rtstream.rpc.security import Address

log = structlog.get_logger()

RESERVE = 128
"""File descriptors that are not for connections: the source, the store and its readers, metrics, libraries."""
FEWEST = 8
LOOK_SECONDS = 0.5
SETTLED_LOOKS = 2
"""A connection that had no call in so many looks is idle, and is closed before others of its client."""
_FOLDER = "/proc/self/fd"


def client_of(host: str) -> str:
    """Who is behind an IP address: the network of one host for IPv6, and all of this machine is one client."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            if address.is_loopback:
                return "loopback"
            return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return "loopback" if address.is_loopback else str(address)


def room_for(wanted: int, listeners: int) -> int:
    """How many connections each listener may have, ``wanted`` if the system lets this process open enough files."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * listeners + RESERVE
    if files == resource.RLIM_INFINITY or files >= needed:
        return wanted
    files = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    room = max(FEWEST, (files - RESERVE) // listeners)
    if room < wanted:
        log.warning("fewer connections than server.max_connections: raise LimitNOFILE", connections=room, files=files)
    return min(wanted, room)


def more_room(connections: int) -> None:
    """Let this process open so many more files, as far as the system allows it."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return
    wanted = files + connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


@dataclass(slots=True)
class _Connection:
    """``peer``: as gRPC calls it, empty where it has no name of its own; ``idle``: looks without a call."""

    client: str
    peer: str
    number: int
    idle: int = 0


class Doorman:
    """Keeps each client to ``per_client`` connections, and all to ``most``: see :meth:`look`.

    ``busy`` gives the peers that have a call open.
    """

    def __init__(
        self, addresses: Sequence[Address], *, most: int, per_client: int, busy: Callable[[], AbstractSet[str]]
    ) -> None:
        self.refused = 0
        """Connections that were closed."""
        self._ports = {address.port for address in addresses if not address.path}
        self._paths = {address.path for address in addresses if address.path}
        self._most = most
        self._per_client = per_client
        self._busy = busy
        self._known: dict[int, _Connection | None] = {}  # by inode; None: a socket that is no connection
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look again and again, on the running event loop."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def look(self) -> None:
        """Close the connections that are too many: idle ones first, the oldest of them, then those that came last."""
        sockets = _sockets()
        self._known = {inode: known for inode, known in self._known.items() if inode in sockets}
        for inode, descriptor in sorted(sockets.items()):
            if inode not in self._known:
                self._known[inode] = self._recognised(descriptor, inode)
        busy = self._busy()
        clients: dict[str, list[int]] = defaultdict(list)
        for inode, connection in self._known.items():
            if connection is not None:
                connection.idle = 0 if not connection.peer or connection.peer in busy else connection.idle + 1
                clients[connection.client].append(inode)
        surplus: list[int] = []
        for inodes in clients.values():
            surplus += self._give_up(inodes, len(inodes) - self._per_client)
        while sum(map(len, clients.values())) > self._most:
            surplus += self._give_up(max(clients.values(), key=len), 1)
        for inode in surplus:
            self._close(sockets[inode], inode)
        if surplus:
            self.refused += len(surplus)
            log.warning("connections closed: a client has too many", closed=len(surplus), clients=len(clients))

    async def _run(self) -> None:
        while True:
            with suppress(OSError):
                self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def _give_up(self, inodes: list[int], count: int) -> list[int]:
        """Take ``count`` out of a client's connections."""

        def last(inode: int) -> tuple[bool, int]:
            connection = self._known[inode]
            assert connection is not None
            settled = connection.idle >= SETTLED_LOOKS
            return (not settled, connection.number if settled else -connection.number)

        given_up = sorted(inodes, key=last)[: max(0, count)]
        for inode in given_up:
            inodes.remove(inode)
        return given_up

    def _recognised(self, descriptor: int, inode: int) -> _Connection | None:
        try:
            with closing(_duplicate(descriptor, inode)) as found:
                client, peer = self._other_side(found)
        except (OSError, ValueError):  # it is gone, it listens, or it is something else
            return None
        self._count += 1
        return _Connection(client, peer, self._count)

    def _other_side(self, found: socket.socket) -> tuple[str, str]:
        """The client of a connection, and its name; raises ValueError or OSError if it is not one that we serve."""
        here = found.getsockname()
        if found.family == socket.AF_UNIX and here in self._paths:
            found.getpeername()
            _, user, _ = struct.unpack("3i", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return f"unix:{user}", ""
        if found.family in {socket.AF_INET, socket.AF_INET6} and here[1] in self._ports:
            host, port = found.getpeername()[:2]
            address = ipaddress.ip_address(host.partition("%")[0])
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else address
            name = f"ipv4:{mapped}:{port}" if mapped is not None else f"ipv6:[{host}]:{port}"
            return client_of(host), name
        raise ValueError

    def _close(self, descriptor: int, inode: int) -> None:
        """End a connection; gRPC, whose descriptor stays, sees that it has ended."""
        with suppress(OSError, ValueError), closing(_duplicate(descriptor, inode)) as found:
            found.shutdown(socket.SHUT_RDWR)


def _sockets() -> dict[int, int]:
    """The descriptors of this process's sockets, by inode."""
    found: dict[int, int] = {}
    for name in _names():
        with suppress(OSError):
            target = os.readlink(f"{_FOLDER}/{name}")  # noqa: PTH115 - looked at twice a second
            if target.startswith("socket:["):
                found[int(target[8:-1])] = int(name)
    return found


def _names() -> Iterable[str]:
    return os.listdir(_FOLDER)  # noqa: PTH208 - names are wanted


def _duplicate(descriptor: int, inode: int) -> socket.socket:
    """The same socket under a descriptor of our own, which nobody can close meanwhile. Raises OSError."""
    found = socket.socket(fileno=os.dup(descriptor))
    if os.fstat(found.fileno()).st_ino != inode:  # another one has its number by now
        found.close()
        raise ConnectionError
    return found
