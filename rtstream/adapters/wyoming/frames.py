"""Wyoming's events as they come over a connection: bounded, whatever their sender claims.

The library's own reader takes any length that an event's header names.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from wyoming.event import Event

from rtstream.errors import RtstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_BYTES = 64 << 10
DATA_BYTES = 256 << 10
"""Of an event's details: all the names of a large house are a tenth of it."""
PAYLOAD_BYTES = 1 << 20
"""Of its audio: half a minute at 16 kHz."""


class FrameError(RtstreamError):
    """What came is no event, or too large; what follows cannot be understood."""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event, None at the end, also one that comes within an event. Raises FrameError.

    ``reader`` must have been made with LINE_BYTES as its limit.
    """
    try:
        header = _parsed(await reader.readuntil(b"\n"))
        data = _table(header.get("data"), "data")
        if length := _length(header, "data_length", DATA_BYTES):
            data = {**data, **_parsed(await reader.readexactly(length))}
        size = _length(header, "payload_length", PAYLOAD_BYTES)
        payload = await reader.readexactly(size) if size else None
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise FrameError(f"an event's first line may have {LINE_BYTES} bytes; send JSON and a line feed") from None
    kind = header.get("type")
    if not isinstance(kind, str):
        raise FrameError('an event has no type; send a line of JSON such as {"type": "describe"}')
    return Event(kind, data, payload)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise FrameError('an event must be a line of JSON such as {"type": "describe"}; what came is none') from None
    return _table(found, "an event")


def _table(found: object, name: str) -> dict[str, Any]:
    if found is not None and not isinstance(found, dict):
        raise FrameError(f"{name}: it must be a JSON object, not {type(found).__name__}")
    return found or {}


def _length(header: Mapping[str, object], name: str, most: int) -> int:
    found = header.get(name)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise FrameError(f"{name}: it must be a whole number of bytes")
    if found > most:
        raise FrameError(f"{name}: {found} bytes are too many, {most} are allowed; send audio in shorter chunks")
    return found
