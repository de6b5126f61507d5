"""Where a subscriber is over all its connections, and how long it waits between them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

from rtstream.client.server_error import PASSING
from rtstream.publish.items import Gap, SinceFinal
from rtstream.wire.convert import position_message, read_item, read_position
from rtstream.wire.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.client.server_error import ServerError
    from rtstream.publish.items import Item, Position

ConnectionState = Literal["connected", "lost"]

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
EPOCHS_KEPT = 16


class Progress:
    """Where a subscriber is, over all its connections, so that nothing comes twice."""

    def __init__(self, start: Position | None) -> None:
        self._position = start
        self._last: dict[str, int] = {} if start is None else {start.epoch: start.sequence}
        self._since_final = SinceFinal()

    @property
    def epoch(self) -> str:
        """Of the last final, or of the server before there was one."""
        return "" if self._position is None else self._position.epoch

    def resumed(self, request: pb.SubscribeRequest) -> pb.SubscribeRequest:
        """The request, to go on where this subscriber is."""
        if self._position is None:
            return request
        resumed = pb.SubscribeRequest()
        resumed.CopyFrom(request)
        resumed.from_start = False
        resumed.ClearField("max_age")
        resumed.resume_after.CopyFrom(position_message(self._position))
        return resumed

    def begin(self, position: Position) -> None:
        """Note where the server is, which counts until there has been a final."""
        if self._position is None:
            self._position = position

    def take(self, item: Item) -> bool:
        """Note an item; False if the subscriber has had it."""
        if isinstance(item, Gap):
            return True
        position = item.position
        if position is None:
            return self._since_final.take(item)
        if self._last.get(position.epoch, 0) >= position.sequence:
            return False
        self._last.pop(position.epoch, None)
        self._last[position.epoch] = position.sequence
        while len(self._last) > EPOCHS_KEPT:
            del self._last[next(iter(self._last))]
        self._position = position
        return self._since_final.take(item)


class Backoff:
    """Ever longer pauses between tries, a little random so that many clients do not come back all at once.

    ``fresh``: there was no pause yet since the last success.
    """

    def __init__(self) -> None:
        self.fresh = True
        self._next = FIRST_PAUSE_SECONDS

    def next(self) -> float:
        """Seconds to wait before the next try."""
        self.fresh = False
        seconds = self._next * random.uniform(0.5, 1.0)
        self._next = min(2 * self._next, LONGEST_PAUSE_SECONDS)
        return seconds


class Following:
    """One subscription over all its connections: what to ask for, what of it is new, and when to try again.

    ``start``, ``reconnect``, ``wait`` and ``on_connection`` as a client's ``subscribe`` takes them.
    """

    def __init__(
        self,
        target: str,
        request: pb.SubscribeRequest,
        start: Position | None,
        *,
        reconnect: bool,
        wait: bool,
        on_connection: Callable[[ConnectionState, str], None] | None,
    ) -> None:
        self._target = target
        self._request = request
        self._reconnect = reconnect
        self._tell = on_connection
        self._progress = Progress(start)
        self._backoff = Backoff()
        self._met = wait

    def request(self) -> pb.SubscribeRequest:
        """What the next connection asks for."""
        return self._progress.resumed(self._request)

    def take(self, message: pb.SubscribeResponse) -> Item | None:
        """What a message brings that the subscriber has not had."""
        if message.WhichOneof("event") == "heartbeat":
            self._progress.begin(read_position(message.heartbeat.position))
        if not self._backoff.fresh or not self._met:
            self._met = True
            self._backoff = Backoff()
            if self._tell is not None:
                self._tell("connected", f"connected to {self._target}")
        item = read_item(message, self._progress.epoch)
        return item if item is not None and self._progress.take(item) else None

    def goes_on(self, error: ServerError) -> bool:
        """Whether the connection is to be made again after this."""
        if not self._reconnect or not self._met or error.code not in PASSING:
            return False
        if self._tell is not None and self._backoff.fresh:
            self._tell("lost", str(error))
        return True

    def pause(self) -> float:
        """Seconds to wait before the next connection."""
        return self._backoff.next()
