"""Finals as notes: a Markdown file for each day, in which every final stands once."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Self

from rtstream.errors import RtstreamError
from rtstream.events import Final
from rtstream.formats.lines import clean
from rtstream.publish.items import Gap, Position

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rtstream.publish.items import Item

STATE = ".rtstream.json"
"""In the directory: after which final to go on."""
_MARK = re.compile(r"<!-- (\S+):(\d+) -->")
_MARKUP = re.compile(r"([\\`*_\[\]<>])")


class NotesError(RtstreamError):
    """The directory cannot be used."""


class NoteFiles:
    """The notes in ``directory``, which is made; use it as a context manager. Raises NotesError.

    A line is on the disk before its final is noted as written. Were the program killed between the two, the mark in the
    line tells that it is there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._marks: tuple[Path, set[str]] | None = None  # of the file that was written last
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._failed(directory, error) from None
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._folder)
            raise NotesError(f"{directory}: another 'rtstream notes' writes there; give each its own") from None
        self.position: Position | None = self._read_position()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._folder)

    def add(self, item: Item) -> None:
        """Write a final, or that some are missing; anything else is passed over. Raises NotesError."""
        if isinstance(item, Gap):
            count = "Some notes" if item.missed is None else f"{item.missed} notes"
            self._append(time.time(), f"*{count} are missing here: the service no longer held them.*", None)
        elif isinstance(item.event, Final) and item.position is not None:
            if text := clean(item.event.text):
                said = time.time() if item.event.time is None else item.event.time
                self._append(said, _MARKUP.sub(r"\\\1", text), item.position)
            self._note_position(item.position)

    def _append(self, said: float, text: str, position: Position | None) -> None:
        """Add a line to the file of its day, unless it is there."""
        when = datetime.fromtimestamp(said).astimezone()
        path = self._directory / f"{when:%Y-%m-%d}.md"
        mark = "" if position is None else f"{position.epoch}:{position.sequence}"
        try:
            marks = self._marks_of(path)
            if mark in marks:
                return
            line = f"- {when:%H:%M:%S} {text}{f' <!-- {mark} -->' if mark else ''}\n"
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                begin = f"# {when:%Y-%m-%d}\n\n" if not size else _end_of_line(descriptor, size)
                _write_all(descriptor, f"{begin}{line}".encode(), size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failed(path, error) from None
        if mark:
            marks.add(mark)

    def _marks_of(self, path: Path) -> set[str]:
        """The numbers of the finals that a file has."""
        if self._marks is None or self._marks[0] != path or not path.exists():
            text = path.read_text("utf-8", errors="replace") if path.exists() else ""
            self._marks = path, {f"{epoch}:{sequence}" for epoch, sequence in _MARK.findall(text)}
        return self._marks[1]

    def _read_position(self) -> Position | None:
        path = self._directory / STATE
        try:
            state = json.loads(path.read_text("utf-8"))
            return Position(str(state["epoch"]), int(state["sequence"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(path, error) from None
        except (ValueError, KeyError, TypeError):  # cut off by a power failure: the marks are there
            return None

    def _note_position(self, position: Position) -> None:
        path, new = self._directory / STATE, self._directory / f"{STATE}.new"
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, json.dumps(position._asdict()).encode(), 0)
            finally:
                os.close(descriptor)
            new.replace(path)
        except OSError as error:
            raise self._failed(path, error) from None
        self.position = position

    @staticmethod
    def _failed(path: Path, error: OSError) -> NotesError:
        return NotesError(
            f"{path}: {error.strerror}; check the disk, its owner and its mode; the next run goes on here"
        )


def _end_of_line(descriptor: int, size: int) -> str:
    """What a file lacks at its end, of whose last line somebody's editor may have left out the end."""
    return "" if os.pread(descriptor, 1, size - 1) == b"\n" else "\n"


def _write_all(descriptor: int, data: bytes, size: int) -> None:
    """Write to the disk, or nothing at all: a full one takes a part, which is removed again from ``size`` on."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
