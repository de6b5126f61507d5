"""Connections to an adapter: how many there may be, of one client and in all, and how long they may say nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

log = structlog.get_logger()

SHORTEST_LOOK, LONGEST_LOOK = 0.05, 1.0


class Connection(Protocol):
    """What is open to a client."""

    @property
    def busy(self) -> bool:
        """Whether something is being done for the client; if not, the connection may be closed for another."""
        ...

    def end(self) -> None:
        """Close it at once, without waiting."""
        ...


@dataclass(slots=True)
class _Place:
    client: str
    idle_since: float | None = None  # by the event loop's clock; None: it is busy, or was not looked at


class Connections:
    """Keeps each client to ``per_client`` connections and all to ``most``; those idle for ``idle_seconds`` end.

    When there are too many, the one goes that has been idle for longest: of the client that has too many or, if it is
    all together that do, of the one that has most. If none is idle, the new one is turned away.
    """

    def __init__(self, *, most: int, per_client: int, idle_seconds: float) -> None:
        self.refused = 0
        """Connections that were turned away or closed for others."""
        self._most = most
        self._per_client = per_client
        self._idle_seconds = idle_seconds
        self._places: dict[Connection, _Place] = {}  # those idle for longest first
        self._task = asyncio.ensure_future(self._run())

    def __len__(self) -> int:
        """How many are open."""
        return len(self._places)

    def admit(self, connection: Connection, client: str) -> bool:
        """Whether a new connection may stay; if so, until :meth:`leave`."""
        open_ = Counter(place.client for place in self._places.values())
        if open_[client] >= self._per_client and not self._give_up({client}):
            self.refused += 1
            return False
        if len(self._places) >= self._most and not self._give_up(_with_most(open_)):
            self.refused += 1
            return False
        self._places[connection] = _Place(client, asyncio.get_running_loop().time())
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection; nothing happens if it is not known."""
        self._places.pop(connection, None)

    def rest(self, connection: Connection) -> None:
        """Note that a connection has become idle only now."""
        if (place := self._places.pop(connection, None)) is not None:
            place.idle_since = asyncio.get_running_loop().time()
            self._places[connection] = place

    async def close(self) -> None:
        """End all that are open, and take no notice of more."""
        self._task.cancel()
        await asyncio.wait({self._task})
        for connection in list(self._places):
            connection.end()
        self._places.clear()

    def _give_up(self, clients: Iterable[str]) -> bool:
        for connection, place in self._places.items():
            if place.client in clients and not connection.busy:
                self.refused += 1
                self._end(connection)
                return True
        return False

    def _end(self, connection: Connection) -> None:
        del self._places[connection]
        connection.end()

    async def _run(self) -> None:
        pause = min(LONGEST_LOOK, max(SHORTEST_LOOK, self._idle_seconds / 4))
        while True:
            await asyncio.sleep(pause)
            now = asyncio.get_running_loop().time()
            for connection, place in list(self._places.items()):
                if connection.busy:
                    place.idle_since = None
                elif place.idle_since is None:
                    self.rest(connection)
                elif now - place.idle_since >= self._idle_seconds:
                    self._end(connection)


def _with_most(open_: Counter[str]) -> set[str]:
    most = max(open_.values())
    return {client for client, count in open_.items() if count == most}
