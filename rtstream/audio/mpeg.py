"""Where the frames of MPEG audio (MP3) are in a file: libsndfile's decoder needs them without anything between."""

from __future__ import annotations

from rtstream.audio.window import Window

_V1 = {
    3: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_V2 = {
    3: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by the layer's code in the header, of MPEG 1 and of MPEG 2 and 2.5."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz by the version's code."""
FRAMES_TO_BE_SURE = 3
"""In a row: fewer may be chance."""
TRIES = 1 << 14
"""Bytes that might begin a frame and do not, after which there is none."""
FAR_MORE = 64
"""Times the true length: a guess from it, with the first frame's bit rate, is never too short."""
_PIECE = 1 << 16


class FrameRun(Window):
    """Frames of one format that follow one another, for a decoder, which must not be given anything else.

    ``begin`` is the place of the first in the file, ``end`` that behind the last that was found until now: they are
    looked for as they are read. ``promised``: whether the first frame says how many follow (Xing), which is exact;
    else decoders guess it from the length of the file, and stop too early where that is too few.
    """

    def __init__(self, descriptor: int, size: int, begin: int) -> None:
        self._data = _Bytes(Window(descriptor, 0, size), size)
        xing = _xing(self._data, begin)
        self.promised = xing is not None
        self.begin = self.end = begin
        self._form = _form(self._data.at(begin, 4))
        super().__init__(descriptor, begin, size, claimed=xing or FAR_MORE * (size - begin))

    def is_beyond(self, place: int) -> bool:
        """Tell whether a place is behind the frames that were found: decoders jump only to look for tags."""
        return place > self.end - self.begin

    def reach(self, place: int) -> int:
        """Give how many of the next bytes are of frames, up to ``place``, counted from the begin."""
        while self.end - self.begin < place and self._next():
            pass
        return max(0, min(place, self.end - self.begin) - self.tell())

    def _next(self) -> bool:
        """Find one more frame."""
        head = self._data.at(self.end, 4)
        length = _length(head)
        if not length or self.end + length > self._data.size or _form(head) != self._form:
            return False
        if self.end > self.begin and _xing(self._data, self.end) is not None:  # the first of another recording
            return False
        self.end += length
        return True


def first_frames(descriptor: int, size: int, position: int = 0) -> FrameRun | None:
    """Find the first frames from a place on; None if there are none. Those of a free bit rate are not found."""
    data = _Bytes(Window(descriptor, 0, size), size)
    begin = _first_frame(data, _behind_tag(data, position))
    return None if begin is None else FrameRun(descriptor, size, begin)


def is_frame(head: bytes) -> bool:
    """Tell whether a file that begins so may begin with a frame, or with a tag as files of frames have it."""
    return head[:3] == b"ID3" or _length(head[:4]) > 0


def is_tag(head: bytes) -> bool:
    """Tell whether what begins so is a tag, not audio."""
    return head.startswith((b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN"))


def _behind_tag(data: _Bytes, position: int) -> int:
    """Pass over an ID3 tag, which may hold pictures of megabytes."""
    head = data.at(position, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return position
    return position + 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:10]))


def _first_frame(data: _Bytes, position: int) -> int | None:
    """Find where the next frames begin, as many as must follow one another to be sure."""
    for _ in range(TRIES):
        if (position := data.find(b"\xff", position)) < 0:
            break
        form, end = _form(data.at(position, 4)), position
        for _frame in range(FRAMES_TO_BE_SURE):
            head = data.at(end, 4)
            length = _length(head)
            if not length or _form(head) != form or end + length > data.size:
                break
            end += length
        else:
            return position
        position += 1
    return None


def _form(head: bytes) -> tuple[int, ...]:
    """What must stay the same within a run: version, layer, rate, and whether it is mono."""
    return (head[1] & 0xFE, head[2] & 0x0C, head[3] & 0xC0 == 0xC0) if len(head) == 4 else ()


def _length(head: bytes) -> int:
    """The bytes of a frame with such a header; 0: it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or bits in {0, 15} or rate == 3:
        return 0
    per_second = (_V1 if version == 3 else _V2)[layer][bits] * 1000
    hertz, padding = _RATES[version][rate], head[2] >> 1 & 1
    if layer == 3:
        return (12 * per_second // hertz + padding) * 4
    return (72 if layer == 1 and version != 3 else 144) * per_second // hertz + padding


def _xing(data: _Bytes, position: int) -> int | None:
    """The length that a recording's first frame tells, in bytes, 0 where it does not; None: it is a frame like others.

    One that does not say how many frames follow is like others.
    """
    head = data.at(position, 4)
    mono, first = head[3] & 0xC0 == 0xC0, head[1] >> 3 & 3 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    tag = data.at(position + 4 + side, 16)
    flags = int.from_bytes(tag[4:8], "big")
    if len(tag) < 16 or tag[:4] not in {b"Xing", b"Info"} or any(data.at(position + 4, side)) or not flags & 1:
        return None
    return int.from_bytes(tag[12:16], "big") if flags & 2 else 0


class _Bytes:
    """A file's bytes at any place, read in large pieces."""

    def __init__(self, file: Window, size: int) -> None:
        self.size = size
        self._file = file
        self._begin = 0
        self._piece = b""

    def at(self, position: int, count: int) -> bytes:
        if not self._begin <= position <= self._begin + len(self._piece) - count:
            self._load(position)
        offset = position - self._begin
        return self._piece[offset : offset + count]

    def find(self, byte: bytes, position: int) -> int:
        while position < self.size:
            if not self._begin <= position < self._begin + len(self._piece):
                self._load(position)
                if not self._piece:
                    break
            offset = self._piece.find(byte, position - self._begin)
            if offset >= 0:
                return self._begin + offset
            position = self._begin + len(self._piece)
        return -1

    def _load(self, position: int) -> None:
        self._file.seek(position)
        self._begin, self._piece = position, self._file.read(_PIECE)
