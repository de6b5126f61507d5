"""The recordings in a source, each with the reader of its format; mostly there is one."""

from __future__ import annotations

import os
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

from rtstream.audio import mpeg, riff
from rtstream.audio.joined import recordings
from rtstream.audio.pcm import PcmReader, RawReader
from rtstream.audio.promised import Promise, promise
from rtstream.audio.resample import MAX_RATE, MIN_RATE
from rtstream.audio.sndfile import NotAudioError, SndfileReader
from rtstream.audio.window import Lookahead, Window
from rtstream.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.audio.mpeg import FrameRun
    from rtstream.audio.reader import FrameReader
    from rtstream.audio.window import ByteStream

MAX_CHANNELS = 256
TOLERATED_BYTES = 1 << 14
"""That are no audio and no tag, between or behind MP3's frames: half a second to two."""
_HEAD = 16
_OTHERS = {
    b"\x1aE\xdf\xa3": "WebM or Matroska",
    b"0&\xb2u\x8ef\xcf\x11": "WMA (ASF)",
    b"#!AMR": "AMR",
    b"\x0bw": "AC-3",
    b"wvPk": "WavPack",
    b"TTA1": "TTA",
    b"MAC ": "Monkey's Audio",
    b"FLV": "Flash video",
    b"DSD ": "DSD",
    b"\xff\xf1": "AAC",
    b"\xff\xf9": "AAC",
}
_KNOWN = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF"}
"""What libsndfile reads, but not from a pipe."""
_STREAMABLE = (
    "a pipe must carry uncompressed WAV, or raw 16-bit PCM and its rate: ffmpeg -i FILE -f wav - | rtstream replay -"
)
LEAST_MARK = 2
"""Bytes with which raw samples may begin as well."""
NO_AUDIO = "holds no audio, not one sample; record it again"


class PartError(Exception):
    """A recording that cannot be read; the message is without the source's name."""


class Parts:
    """The readers of a source's recordings. Iterate over it once; each reader is read to its end before the next.

    ``duration`` is that of all in seconds, None where it is not known. ``faults`` grows as it is found that not all of
    the source can be read: what is wrong, without the source's name.
    """

    def __init__(self, readers: Iterator[FrameReader], faults: list[str], *, alone: bool = True) -> None:
        """Open the first recording; ``alone``: whether it is the only one. Raises PartError."""
        self.faults = faults
        self._readers = readers
        self._reader = next(readers)
        frames = self._reader.frames if alone else None
        if frames == 0:
            raise PartError(NO_AUDIO)
        self.duration = None if frames is None else frames / self._reader.rate

    def __iter__(self) -> Iterator[FrameReader]:
        """Give the readers, the first of which is open already."""
        while True:
            yield self._reader
            self._reader.close()
            try:
                self._reader = next(self._readers)
            except StopIteration:
                return
            except (PartError, NotAudioError) as error:
                self.faults.append(f"another recording follows in it, which was not read: {error}")
                return

    def close(self) -> None:
        """Close the reader that is open."""
        self._reader.close()


def open_parts(
    name: str, stream: ByteStream, descriptor: int | None, raw_rate: int | None, *, size: int | None = None
) -> Parts:
    """Open a source that stands at its begin, whose ``descriptor`` is None unless it is a regular file.

    ``size`` is in bytes, where it is known though there is no descriptor. Raises AudioError for what cannot be read at
    all, OSError.
    """
    size = size if descriptor is None else os.fstat(descriptor).st_size
    ahead = Lookahead(stream)
    head = b""
    try:
        head = ahead.peek(_HEAD)
        if raw_rate is not None and size != 0:
            _refuse_header(head)
            return Parts(iter([RawReader(ahead, raw_rate, size)]), [])
        return _by_format(ahead, head, descriptor, size)
    except NotAudioError as error:
        raise AudioError(f"{name}: {_unknown(name, head, str(error))}") from None
    except PartError as error:
        raise AudioError(f"{name}: {error}") from None


def _by_format(stream: Lookahead, head: bytes, descriptor: int | None, size: int | None) -> Parts:
    """Tell the format by its first bytes. Raises NotAudioError, PartError."""
    if not head:
        raise PartError("is empty, it holds not a single byte; record it again")
    if riff.is_wav(head) and (header := _wav_header(stream)).width:
        return Parts(_wav(stream, header, size), [])
    if descriptor is None or size is None:
        raise PartError(_not_from_pipe(head))
    return _from_file(descriptor, size, head, [])


def _from_file(descriptor: int, size: int, head: bytes, faults: list[str]) -> Parts:
    """What libsndfile reads. Raises NotAudioError, PartError."""
    frames = mpeg.first_frames(descriptor, size) if mpeg.is_frame(head) else None
    if frames is None:
        whole = Window(descriptor, 0, size)
        begins = recordings(whole, size, head)
        told = promise(whole, size, head)
        try:
            return Parts(_sndfile(descriptor, [*begins, size], told), faults, alone=len(begins) == 1)
        except NotAudioError:
            # Zeros or half a frame may stand before the first whole frame.
            frames = None if _kind(head) else mpeg.first_frames(descriptor, size)
            if frames is None:
                raise
    return Parts(_mpeg(descriptor, size, frames, faults), faults)


def _wav(stream: Lookahead, header: riff.WavHeader, size: int | None) -> Iterator[FrameReader]:
    while True:
        reader = PcmReader(stream, header, size)
        yield reader
        if not reader.followed:
            return
        header = _wav_header(stream)
        if not header.width:
            raise PartError(_compressed(header))


def _wav_header(stream: Lookahead) -> riff.WavHeader:
    """Read a header up to the audio; that of compressed audio is only looked at."""
    try:
        header = riff.read_header(stream)
    except riff.RiffError as error:
        raise PartError(f"{error}; the file is damaged, get another copy") from None
    _check(header.rate, header.channels)
    return header


def _sndfile(descriptor: int, places: list[int], told: Promise) -> Iterator[FrameReader]:
    """``told``: of the last one; what has a patch stands alone."""
    for begin, end in pairwise(places):
        claimed = told.length if end == places[-1] else end
        yield opened(SndfileReader(Window(descriptor, begin, end, claimed=claimed - begin, patch=told.patch)))


def _mpeg(descriptor: int, size: int, frames: FrameRun | None, faults: list[str]) -> Iterator[FrameReader]:
    readable = False
    while frames is not None:
        try:
            reader = opened(SndfileReader(frames, promised=frames.promised))
        except NotAudioError:
            place = frames.begin + 1
        else:
            readable = True
            yield reader
            place = max(frames.end, frames.begin + 1)
        frames = mpeg.first_frames(descriptor, size, place)
        end = size if frames is None else frames.begin
        if end - place > TOLERATED_BYTES and not mpeg.is_tag(os.pread(descriptor, _HEAD, place)):
            faults.append(f"{end - place} bytes in it are no MP3, and were not read; it is damaged, get another copy")
    if not readable:
        raise NotAudioError("none of its MP3 frames can be decoded")


def opened(reader: SndfileReader) -> SndfileReader:
    """The reader, if its header is possible. Raises PartError."""
    _check(reader.rate, reader.channels)
    return reader


def _check(rate: int, channels: int) -> None:
    """Refuse headers whose numbers no audio has."""
    if not 1 <= channels <= MAX_CHANNELS:
        what, can = f"{channels} channels", f"1 to {MAX_CHANNELS}"
    elif not MIN_RATE <= rate <= MAX_RATE:
        what, can = f"a rate of {rate} Hz", f"{MIN_RATE} to {MAX_RATE}"
    else:
        return
    raise PartError(f"its header says {what} ({can} can be read); it is damaged or no audio, get another copy")


def _compressed(header: riff.WavHeader) -> str:
    return f"is WAV with compressed audio (format {header.coding:#06x}); {_STREAMABLE}"


def _not_from_pipe(head: bytes) -> str:
    if riff.is_wav(head):
        return f"is WAV with compressed audio; {_STREAMABLE}"
    kind = _kind(head) or next((kind for magic, kind in _KNOWN.items() if head.startswith(magic)), None)
    return f"is {kind}, not WAV; {_STREAMABLE}" if kind else f"is not WAV; {_STREAMABLE}"


def _unknown(name: str, head: bytes, reason: str) -> str:
    kind = _kind(head)
    what = f"is {kind}, which cannot be read here" if kind else f"not audio that can be read here ({reason})"
    return f"{what}; if ffmpeg can: ffmpeg -i {shlex.quote(name)} -f wav - | rtstream replay -"


def _refuse_header(head: bytes) -> None:
    """Raise PartError for what is said to be raw and begins as a file with a header does."""
    known = _KNOWN | _OTHERS
    marked = next((kind for magic, kind in known.items() if len(magic) > LEAST_MARK and head.startswith(magic)), None)
    kind = "WAV" if riff.is_wav(head) else "MPEG-4 (m4a, mp4)" if head[4:8] == b"ftyp" else marked
    if kind is not None:
        raise PartError(f"is no raw PCM, it begins as {kind}, which says its rate itself: leave the rate out")


def _kind(head: bytes) -> str | None:
    """Name a format that libsndfile does not read."""
    if head[4:8] == b"ftyp":
        return "MPEG-4 (m4a, mp4)"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    return next((kind for magic, kind in _OTHERS.items() if head.startswith(magic)), None)
