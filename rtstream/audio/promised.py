"""Lengths in headers that libsndfile takes in another way than we do: those of CAF and of NIST SPHERE.

Of CAF that ends before its header says it reads nothing, nor of such whose length is left open, as that of a recording
is which is still being written, or was when the power went. It takes NIST for as long as its bytes are.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.audio.riff import is_placeholder

if TYPE_CHECKING:
    from rtstream.audio.window import SeekableBytes


@dataclass(frozen=True, slots=True)
class Promise:
    """How many bytes a file has by its header; ``patch``: a place in it, and what is to stand there for libsndfile."""

    length: int
    patch: tuple[int, bytes] | None = None


_CAF_CHUNKS = 1_000
"""That are passed over at most before the audio."""
_NIST_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d{1,18})\s*$", re.MULTILINE)


def promise(file: SeekableBytes, size: int, head: bytes) -> Promise:
    """Tell what a file of ``size`` bytes promises, no less than it has. ``head``: its first 16 bytes."""
    if head.startswith(b"caff"):
        return _caf(file, size)
    if head.startswith(b"NIST_1A\n"):
        return Promise(max(size, _nist(file, head)))
    return Promise(size)


def _caf(file: SeekableBytes, size: int) -> Promise:
    """Chunks have a name of four bytes and a length of eight, which is -1 where it is left open."""
    place = 8
    for _ in range(_CAF_CHUNKS):
        file.seek(place)
        chunk = file.read(12)
        length = int.from_bytes(chunk[4:], "big", signed=True)
        if len(chunk) < 12:
            break
        place += 12
        if chunk[:4] == b"data":
            if length < 0 or is_placeholder(length):
                return Promise(size, (place - 8, (size - place).to_bytes(8, "big")))
            return Promise(max(size, place + length))
        if length < 0:
            break
        place += length
    return Promise(size)


def _nist(file: SeekableBytes, head: bytes) -> int:
    """A header of lines, whose length is the second of them; 0 where it is left open."""
    if not (length := head[8:15].strip()).isdigit():
        return 0
    file.seek(0, os.SEEK_SET)
    numbers = {name: int(value) for name, value in _NIST_FIELD.findall(file.read(int(length)))}
    if len(numbers) < 3 or is_placeholder(numbers[b"sample_count"]):
        return 0
    return int(length) + numbers[b"sample_count"] * numbers[b"channel_count"] * numbers[b"sample_n_bytes"]
