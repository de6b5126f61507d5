"""The header of a WAV file, read from front to back, so that it works on a pipe."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtstream.audio.window import Lookahead

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
HEADER_LIMIT = 64 << 20
"""Bytes before the audio that are skipped at most: pictures and tags fit, garbage that claims gigabytes does not."""
PLACEHOLDERS = (range(0x7FFF0000, 0x80010000), range(0xFFFF0000, 1 << 32), range(1 << 62, 1 << 64))
"""Lengths that a writer puts that cannot seek back: sox 0x7ffff000, arecord 2^31, ffmpeg 2^32-1, in 64 bits 2^63-1."""


class RiffError(Exception):
    """The header is damaged; the message says how, without the file's name."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a WAV header says about the audio that follows it.

    ``coding`` is PCM, FLOAT or another WAVE format tag; ``width`` is the bytes of one sample (0 for other tags);
    ``data_bytes`` is the length of the audio, None where the header leaves it open; ``end`` is the place in the stream
    where the file ends as its header has it, 0 where it leaves it open.
    """

    coding: int
    channels: int
    rate: int
    width: int
    data_bytes: int | None
    end: int


def is_wav(head: bytes) -> bool:
    """Tell from its first 12 bytes whether a stream is a little-endian WAV or RF64 file."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def is_placeholder(length: int) -> bool:
    """Tell whether a length is none, but what writers to a pipe put."""
    return any(length in values for values in PLACEHOLDERS)


def chunk_size(head: bytes, room: int) -> int | None:
    """Give the length of the chunk that begins with ``head``, 8 bytes; None if none does that fits into ``room``."""
    size = int.from_bytes(head[4:8], "little")
    named = len(head) == 8 and all(0x20 <= byte < 0x7F for byte in head[:4]) and head[0] != 0x20
    return size if named and size <= room else None


def read_header(stream: Lookahead) -> WavHeader:
    """Read from the begin of a WAV file to the first byte of audio.

    Raises RiffError for a header that ends early, contradicts itself or is larger than ``HEADER_LIMIT``.
    """
    begin = stream.place
    head = stream.read(12)
    riff_bytes = int.from_bytes(head[4:8], "little")
    data_bytes_64: int | None = None
    form: tuple[int, int, int, int] | None = None
    while stream.place - begin <= HEADER_LIMIT:
        chunk = stream.read(8)
        if len(chunk) < 8:
            raise RiffError(f"its WAV header ends before the {'audio data' if form else 'format'}")
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            if form is None:
                raise RiffError("its WAV header has no format before the audio data")
            length = size if data_bytes_64 is None else data_bytes_64
            end = 0 if is_placeholder(riff_bytes) else begin + riff_bytes + 8
            return WavHeader(*form, None if is_placeholder(length) else length, end)
        body = stream.read(min(size, 40 if name == b"fmt " else 16 if name == b"ds64" else 0))
        if name == b"fmt ":
            form = _format(body)
        elif name == b"ds64" and head[:4] == b"RF64" and len(body) == 16:
            data_bytes_64 = int.from_bytes(body[8:16], "little")
        # Not much more than the limit, whatever it claims.
        stream.skip(min(size + size % 2 - len(body), HEADER_LIMIT + 1))
    raise RiffError(f"its WAV header is larger than {HEADER_LIMIT >> 20} MiB")


def _format(body: bytes) -> tuple[int, int, int, int]:
    """Give coding, channels, rate and bytes of a sample from the body of a ``fmt`` chunk."""
    if len(body) < 16:
        raise RiffError("its WAV header has a format of less than 16 bytes")
    coding, channels, rate, _, align, bits = struct.unpack("<HHIIHH", body[:16])
    if coding == EXTENSIBLE and len(body) >= 26:
        coding = int.from_bytes(body[24:26], "little")
    if coding not in (PCM, FLOAT) or not channels:
        return coding, channels, rate, 0
    width = align // channels
    widths = (4, 8) if coding == FLOAT else (1, 2, 3, 4)
    if width not in widths or align % channels or not 0 < bits <= 8 * width:
        sizes = f"{channels} channels of {bits} bits in frames of {align} bytes"
        raise RiffError(f"its WAV header contradicts itself: {sizes}")
    return coding, channels, rate, width
