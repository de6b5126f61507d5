"""Every other format, through libsndfile: FLAC, Ogg, MP3, AIFF, compressed WAV and so on."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from rtstream.audio.reader import cut_short, hms, reading_failed
from rtstream.audio.riff import is_placeholder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtstream.audio.window import SeekableBytes

_UNKNOWN = 1 << 62  # libsndfile gives 2^63 - 1 where a header leaves the length open
_SHORTER = re.compile(
    r"^\s*(?:RIFF|Riff size|riff|FORM|data|SSND|BODY|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_TRUNCATED = "Seems to be a truncated file"  # VOC
_OGG_PAGE_LIMIT = 65_307


class NotAudioError(Exception):
    """libsndfile knows no such format, or its header is damaged; the message is libsndfile's."""


class _ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]
    """A file read front to back.

    soundfile seeks after each read where it can. In MP3 and damaged Ogg that lands on other samples, so that the audio
    would depend on the size of the reads; in FLAC it is slow and fails where the length is unknown.
    """

    def seekable(self) -> bool:
        return False


class SndfileReader:
    """Reads a :class:`~rtstream.audio.window.Window`; a :class:`~rtstream.audio.reader.FrameReader`.

    ``promised`` is False where the number of frames is only guessed; ``live``: the end has not come yet. Raises
    NotAudioError.
    """

    def __init__(self, window: SeekableBytes, *, promised: bool = True, live: bool = False) -> None:
        self._window = window
        try:
            self._file = _ForwardOnly(window)
        except soundfile.SoundFileError as error:
            reason = str(getattr(error, "error_string", error))
            if "regular file" in reason:  # what libsndfile says of MP3 that its decoder does not take
                reason = "none of its frames can be decoded"
            raise NotAudioError(" ".join(reason.split()).rstrip(".")) from error
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int | None = self._file.frames if promised and self._file.frames < _UNKNOWN else None
        self.floats = self._file.subtype in {"FLOAT", "DOUBLE"}
        self.fault: str | None = None
        self._done = 0
        self._live = live
        self._cut = not live and (
            _is_cut(self._file.extra_info) or (self._file.format == "OGG" and not _ogg_ends(window))
        )

    def read(self, count: int) -> NDArray[np.float32]:
        """Give the next frames as float32 of shape (n, channels), n <= ``count``; n is 0 only at the end."""
        buffer = np.full((count, self.channels), np.nan, np.float32)
        try:
            frames: NDArray[np.float32] = self._file.read(out=buffer)
        except soundfile.SoundFileError as error:
            # What was decoded before the fault is in the buffer, its length is not told. The decoders that give errors
            # (FLAC's) make no NaN of their own.
            frames = buffer[: int(np.argmax(np.append(np.isnan(buffer[:, 0]), True)))]
            self._done += len(frames)
            if self.frames is not None or self._live:
                self.fault = self._damage(str(getattr(error, "error_string", error)))
            return frames
        self._done += len(frames)
        if len(frames) < count:
            self.fault = self._damage()
        return frames

    def close(self) -> None:
        """Close libsndfile's handle."""
        self._file.close()

    def _damage(self, reason: str = "") -> str | None:
        if self._window.error is not None:
            return reading_failed(self._done / self.rate, self._window.error)
        if self.frames is not None and self._done < self.frames:
            return cut_short(self._done, self.frames, self.rate).replace("truncated", "truncated or damaged")
        if self._cut or (reason and self.frames != self._done):
            return f"it is truncated: only {hms(self._done / self.rate)} of its audio are left, all of which was read"
        return None


def _is_cut(log: str) -> bool:
    """Tell from libsndfile's log of the header whether the file is shorter than its header says.

    For uncompressed formats libsndfile corrects the length by itself and says so nowhere else. Lengths of writers that
    could not know them are no promise, nor is anything else that it finds to be other than it should be.
    """
    shorter = (int(claim) > int(actual) and not is_placeholder(int(claim)) for claim, actual in _SHORTER.findall(log))
    return any(shorter) or _TRUNCATED in log


def _ogg_ends(window: SeekableBytes) -> bool:
    """Tell whether the last page of an Ogg file is marked as the end of its stream and is complete."""
    place = window.tell()  # libsndfile goes on there
    size = window.seek(0, os.SEEK_END)
    start = window.seek(max(0, size - _OGG_PAGE_LIMIT))
    tail = window.read(size - start)
    window.seek(place)
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27:
        return False
    lacing = tail[page + 27 : page + 27 + tail[page + 26]]
    return bool(tail[page + 5] & 4) and len(tail) >= page + 27 + tail[page + 26] + sum(lacing)
