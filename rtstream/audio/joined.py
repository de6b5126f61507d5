"""Files in which recordings stand one behind the other: libsndfile reads the first and says nothing of the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.audio.window import Window

_OGG_PAGE = re.compile(rb"OggS\0([\0-\7])")
_OGG_BEGINS = 2
_FLAC = re.compile(rb"fLaC[\0\x80]\0\0\x22")
"""The marker and the header of the block that must follow it."""
_PIECE = 1 << 20
_OVERLAP = 8


def recordings(file: Window, size: int, head: bytes) -> list[int]:
    """Where in a file its recordings begin, the first at 0. ``head``: its first bytes, at least 12."""
    if head[:4] == b"OggS":
        return _ogg_streams(file)
    if head[:4] == b"fLaC":
        return [0, *(place for place, _ in _matches(file, _FLAC) if place)]
    if head[:4] in {b"RIFF", b"FORM"}:
        return _containers(file, size, head[:4])
    return [0]


def _ogg_streams(file: Window) -> list[int]:
    """Streams that follow one another; those that are interleaved begin together."""
    begins, beginning = [0], True
    for place, match in _matches(file, _OGG_PAGE):
        first = bool(match[1][0] & _OGG_BEGINS)
        if first and not beginning:
            begins.append(place)
        beginning = first
    return begins


def _containers(file: Window, size: int, kind: bytes) -> list[int]:
    """Files that say how long they are, and behind which another one of their kind begins."""
    begins, order = [0], "little" if kind == b"RIFF" else "big"
    while True:
        file.seek(begins[-1] + 4)
        length = int.from_bytes(file.read(4), order)  # type: ignore[arg-type]
        place = begins[-1] + 8 + length + length % 2
        file.seek(place)
        if place + 12 > size or file.read(4) != kind:
            return begins
        begins.append(place)


def _matches(file: Window, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, re.Match[bytes]]]:
    """All places of a pattern of at most ``_OVERLAP`` bytes, in order."""
    file.seek(0)
    begin, data = 0, b""
    while piece := file.read(_PIECE):
        data += piece
        last = 0
        for match in pattern.finditer(data):
            yield begin + match.start(), match
            last = match.end()
        keep = max(last, len(data) - _OVERLAP + 1)
        begin, data = begin + keep, data[keep:]
