"""The header of a WAV file, read from front to back, so that it works on a pipe."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
HEADER_LIMIT = 64 << 20
"""Bytes before the audio that are skipped at most: pictures and tags fit, garbage that claims gigabytes does not."""
PLACEHOLDER = 0x7FFF0000
"""Data lengths from here on are what a writer puts that cannot seek back: sox 0x7ffff000, arecord 2^31, ffmpeg 2^32-1.
"""
PLACEHOLDER_64 = 1 << 62
_SKIP = 1 << 16


class RiffError(Exception):
    """The header is damaged; the message says how, without the file's name."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a WAV header says about the audio that follows it.

    ``coding`` is PCM, FLOAT or another WAVE format tag; ``width`` is the bytes of one sample (0 for other tags);
    ``data_bytes`` is None where the header leaves the length open; ``placeholder`` tells that ``data_bytes`` is a
    number that writers to a pipe put, not a length; ``offset`` is the position of the first byte of audio.
    """

    coding: int
    channels: int
    rate: int
    width: int
    data_bytes: int | None
    placeholder: bool
    offset: int


def is_wav(head: bytes) -> bool:
    """Tell from its first 12 bytes whether a stream is a little-endian WAV or RF64 file."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def read_header(head: bytes, read: Callable[[int], bytes]) -> WavHeader:
    """Read on to the first byte of audio.

    ``head`` is the 12 bytes already read, ``read(n)`` gives the next n bytes, fewer only at the end of the file.
    Raises RiffError for a header that ends early, contradicts itself or is larger than ``HEADER_LIMIT``.
    """
    riff_bytes = int.from_bytes(head[4:8], "little")
    offset = len(head)
    data_bytes_64: int | None = None
    form: tuple[int, int, int, int] | None = None
    while offset <= HEADER_LIMIT:
        chunk = read(8)
        if len(chunk) < 8:
            missing = "audio data" if form else "format"
            msg = f"its WAV header ends before the {missing}"
            raise RiffError(msg)
        offset += 8
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            if form is None:
                msg = "its WAV header has no format before the audio data"
                raise RiffError(msg)
            if data_bytes_64 is not None:
                return WavHeader(*form, data_bytes_64, data_bytes_64 >= PLACEHOLDER_64, offset)
            # A length of 0 is a header that was never completed, unless the file goes on with other chunks.
            unfinished = size == 0 and not offset < riff_bytes + 8 < PLACEHOLDER
            return WavHeader(*form, None if unfinished else size, size >= PLACEHOLDER, offset)
        wanted = min(size, 40 if name == b"fmt " else 16 if name == b"ds64" else 0)
        body = read(wanted)
        if name == b"fmt ":
            form = _format(body)
        elif name == b"ds64" and head[:4] == b"RF64" and len(body) == 16:
            data_bytes_64 = int.from_bytes(body[8:16], "little")
        offset += len(body) + _skip(size + size % 2 - len(body), read)
    msg = f"its WAV header is larger than {HEADER_LIMIT >> 20} MiB"
    raise RiffError(msg)


def _skip(count: int, read: Callable[[int], bytes]) -> int:
    """Pass over ``count`` bytes with little memory, and not much more than ``HEADER_LIMIT`` whatever it claims."""
    done = 0
    while done < min(count, HEADER_LIMIT + 1):
        got = len(read(min(_SKIP, count - done)))
        if not got:
            break
        done += got
    return done


def _format(body: bytes) -> tuple[int, int, int, int]:
    """Give coding, channels, rate and bytes of a sample from the body of a ``fmt`` chunk."""
    if len(body) < 16:
        msg = "its WAV header has a format of less than 16 bytes"
        raise RiffError(msg)
    coding, channels, rate, _, align, bits = struct.unpack("<HHIIHH", body[:16])
    if coding == EXTENSIBLE and len(body) >= 26:
        coding = int.from_bytes(body[24:26], "little")
    if coding not in (PCM, FLOAT) or not channels:
        return coding, channels, rate, 0
    width = align // channels
    widths = (4, 8) if coding == FLOAT else (1, 2, 3, 4)
    if width not in widths or align % channels or not 0 < bits <= 8 * width:
        msg = f"its WAV header contradicts itself: {channels} channels of {bits} bits in frames of {align} bytes"
        raise RiffError(msg)
    return coding, channels, rate, width
