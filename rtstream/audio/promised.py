"""Lengths that a header promises and to which libsndfile does not hold a file that was cut short: CAF, NIST SPHERE."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from rtstream.audio.riff import is_placeholder

if TYPE_CHECKING:
    from rtstream.audio.window import SeekableBytes

_CAF_CHUNKS = 1_000
"""That are passed over at most before the audio."""
_NIST_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d{1,18})\s*$", re.MULTILINE)


def promised_length(file: SeekableBytes, head: bytes) -> int | None:
    """Tell how many bytes a file has by its header, at least; None where that is left open.

    ``head``: its first 16 bytes.
    """
    if head.startswith(b"caff"):
        return _caf(file)
    if head.startswith(b"NIST_1A\n"):
        return _nist(file, head)
    return None


def _caf(file: SeekableBytes) -> int | None:
    """Chunks have a name of four bytes and a length of eight."""
    place = 8
    for _ in range(_CAF_CHUNKS):
        file.seek(place)
        chunk = file.read(12)
        size = int.from_bytes(chunk[4:], "big", signed=True)
        if len(chunk) < 12 or size < 0 or is_placeholder(size):
            break
        place += 12 + size
        if chunk[:4] == b"data":
            return place
    return None


def _nist(file: SeekableBytes, head: bytes) -> int | None:
    """A header of lines, whose length is the second of them."""
    if not (length := head[8:15].strip()).isdigit():
        return None
    file.seek(0, os.SEEK_SET)
    numbers = {name: int(value) for name, value in _NIST_FIELD.findall(file.read(int(length)))}
    if len(numbers) < 3 or is_placeholder(numbers[b"sample_count"]):
        return None
    return int(length) + numbers[b"sample_count"] * numbers[b"channel_count"] * numbers[b"sample_n_bytes"]
