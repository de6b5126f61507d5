"""What the capturing process says to the one that started it: framed messages on a pipe."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import NamedTuple

_HEADER = struct.Struct("<BxxxIQQ")


class Kind(IntEnum):
    """FORMAT: JSON, once, when the device is open. AUDIO: interleaved int16. FAULT: JSON, the last message."""

    FORMAT = 1
    AUDIO = 2
    FAULT = 3


class Message(NamedTuple):
    """One message. Of AUDIO ``position`` is in frames since the device was opened, ``lost`` the frames before it."""

    kind: Kind
    body: bytes
    position: int
    lost: int


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """What to capture. ``device``: index, name, part of a name, or ``default``; ``rate``, ``channels``: 0 for its own.

    ``ring_seconds`` of audio are held for a reader that does not come, beside what the pipe takes.
    """

    device: str = "default"
    rate: int = 0
    channels: int = 0
    ring_seconds: float = 5.0

    def to_json(self) -> str:
        """As the capturing process takes it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CaptureRequest:
        """Undo :meth:`to_json`."""
        return cls(**json.loads(text))


def pack(kind: Kind, body: bytes, position: int = 0, lost: int = 0) -> bytes:
    """Write a message."""
    return _HEADER.pack(kind, len(body), position, lost) + body


class Parser:
    """Finds the messages in bytes that come in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._bytes += data

    def take(self) -> Message | None:
        """Give the next message that is complete."""
        if len(self._bytes) < _HEADER.size:
            return None
        kind, length, position, lost = _HEADER.unpack_from(self._bytes)
        end = _HEADER.size + length
        if len(self._bytes) < end:
            return None
        body = bytes(self._bytes[_HEADER.size : end])
        del self._bytes[:end]
        return Message(Kind(kind), body, position, lost)
