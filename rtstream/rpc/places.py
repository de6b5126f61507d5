"""How many there may be of something at a time, of one client and in all."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rtstream.wire.failures import RequestFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Places:
    """Calls that may be open at a time, of all clients and of each."""

    def __init__(self, kind: str, most: int, per_client: int) -> None:
        self.open: Counter[str] = Counter()
        self._kind, self._most, self._per_client = kind, most, per_client

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """One of them, while it lasts. Raises RequestFailedError if there is none."""
        if self.open.total() >= self._most:
            raise RequestFailedError(
                "TOO_MANY_STREAMS",
                f"the service has all of its {self._most} {self._kind} open; try again later",
                scope="all",
            )
        if self.open[client] >= self._per_client:
            raise RequestFailedError(
                "TOO_MANY_STREAMS",
                f"this client has all of its {self._per_client} {self._kind} open; close one first",
                scope="client",
            )
        self.open[client] += 1
        try:
            yield
        finally:
            self.open[client] -= 1
            if not self.open[client]:
                del self.open[client]  # clients that left are forgotten
