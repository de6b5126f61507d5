"""Finals on disk: what a subscriber missed while it, or the service, was away.

One SQLite file in WAL mode with a row for each final and for each translation of one, beside it ``FILE.state``: a byte
that says whether finals went unstored, which is overwritten in place since on a full disk nothing else can be written,
and whose lock keeps a second service off the same history.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from rtstream.events import Fault, Final, Translation
from rtstream.publish.clock import AgeClock, Clocks, Mark
from rtstream.publish.items import Position, Published
from rtstream.publish.rows import final_from_json, final_to_json, translation_from_json, translation_to_json
from rtstream.publish.store_file import (
    PAGE_BYTES,
    StoreError,
    connect,
    identity,
    is_damage,
    numbers,
    open_for_writing,
    read_rows,
    read_translations,
    salvage,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MIN_BYTES", "Store", "StoreError", "new_epoch"]

MIN_BYTES = 256 * 1024
"""Below this the tables themselves would not fit."""
HARD_SHARE = 4
"""SQLite itself refuses to let the file grow beyond max_bytes and a quarter (1 / HARD_SHARE) more."""
TRIM_SHARE = 10
"""When the file is too large a tenth (1 / TRIM_SHARE) of the rows goes at once, so that it is not done for each."""

_ORPHANS = "DELETE FROM translations WHERE sequence < (SELECT coalesce(min(sequence), 1 << 62) FROM finals)"


class Store:
    """Finals of the last ``max_age_seconds`` and their translations, in a file of about ``max_bytes``.

    One thread at a time writes; reading (:meth:`after`) has its own connection each time and any thread may do it.
    Raises StoreError while ``path`` cannot be used at all. A damaged file is put aside and what can be read of it taken
    over; one that was deleted or replaced while it was open is begun anew. ``notices`` says such things.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_age_seconds: float, max_bytes: int, clocks: Clocks | None = None
    ) -> None:
        self.path = Path(path)
        self._limit(max_age_seconds, max_bytes)
        self.notices: list[Fault] = []
        self.last = Position(new_epoch(), 0)
        """The number of the last final that was stored."""
        self.shifts: dict[str, int] = {}
        """What to add to numbers of epochs in which finals were numbered before this history could be read."""
        self.trouble: StoreError | None = None
        """Why nothing could be written when the file was opened, although it could be read."""
        self._clocks = clocks or Clocks()
        self._clock = AgeClock(None, self._clocks)
        self._went_on = False  # this run has had it open before
        self._found: Position | None = None  # the last number in the file when it was opened
        self._missed = False  # another file, or none, was seen in its place
        self._epochs: set[str] = set()  # whose numbers belong to this history
        self._suspect = False
        self._told_lost: set[int] = set()
        self._told_translations = False
        self._state_file: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._files: dict[Path, tuple[int, int] | None] = {}
        self._open()

    def check(self) -> bool:
        """Go on with a file of that name where it was deleted, replaced, or has failed; whether what it held is gone.

        Raises StoreError.
        """
        if self._connection is not None:
            if not self._suspect and all(identity(path) == known for path, known in self._files.items()):
                return False
            self._missed = self._missed or identity(self.path) != self._files[self.path]
            with suppress(sqlite3.Error):  # if only its log was deleted, this saves what was in it
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = self.last
        self._close_file()
        self._open()
        gone = self._missed and self._found != before  # not if it was only away for a while
        if gone:
            message = f"the store {self.path} was deleted or replaced: it is begun anew, what it held is gone"
            self.notices.append(Fault("STORE_DELETED", message))
        self._missed = False
        return gone

    def _open(self) -> None:
        self._suspect = False
        self._told_lost.clear()
        self._told_translations = False
        self.shifts = {}
        try:
            self._keep_lock()
            self._connection = self._open_or_replace()
            self._restore(self._connection)
            logs = (Path(f"{self.path}-wal"), Path(f"{self.path}.state"))
            self._files = {self.path: identity(self.path)}
            self._files |= {path: known for path in logs if (known := identity(path)) is not None}
        except BaseException as error:
            if self._went_on:  # the history stays this service's, and what goes unstored can be noted
                self._close_file()
            else:
                self.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise told(error, self.path) from None
            raise

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return open_for_writing(self.path, self._most_pages)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        aside = self.path.with_name(f"{self.path.name}.damaged")
        for ending in ("", "-wal", "-shm"):
            Path(f"{aside}{ending}").unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # what was written last, if the service was killed
            Path(f"{self.path}-wal").replace(f"{aside}-wal")
        Path(f"{self.path}-shm").unlink(missing_ok=True)
        self.path.replace(aside)
        connection = open_for_writing(self.path, self._most_pages)
        kept, lost = salvage(aside, connection)
        told_lost = f"; lost: number {numbers(lost)}" if lost else ""
        message = f"the store {self.path} is damaged: it was renamed to {aside.name}, and a new one begun"
        self.notices.append(Fault("STORE_DAMAGED", f"{message} with {kept} of its finals{told_lost}"))
        return connection

    def append(self, items: Sequence[Published]) -> None:
        """Make numbered finals and translations of such durable, all or none. Raises StoreError.

        What is too old or too much goes.
        """
        mark = self._clock.mark()
        last = self.last
        try:
            with self._opened() as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._trim(connection, mark.seconds)
                for item in items:
                    if isinstance(item.event, Translation):
                        assert item.translates is not None
                        text = translation_to_json(item.event)
                        of = (item.translates.sequence, item.translates.epoch, item.follows, mark.seconds, text)
                        connection.execute("INSERT INTO translations VALUES (NULL, ?, ?, ?, ?, ?)", of)
                        continue
                    assert isinstance(item.event, Final)
                    assert item.position is not None
                    last = item.position
                    row = (last.sequence, last.epoch, mark.seconds, final_to_json(item.event))
                    connection.execute("INSERT INTO finals VALUES (?, ?, ?, ?)", row)
                    connection.execute("INSERT INTO epochs VALUES (?, ?) ON CONFLICT DO NOTHING", last)
                self._save(connection, last, mark)
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from None
        self.last = last
        self._epochs.update(item.epoch for item in items if item.sequence is not None)

    @property
    def max_age_seconds(self) -> float:
        """How long finals are kept."""
        return self._max_age

    def retain(self, *, max_age_seconds: float, max_bytes: int) -> None:
        """Keep more or less from now on: what is too old or too much goes at once, and the file shrinks.

        Raises StoreError; if the disk is at fault the new limits hold all the same, from the next final on.
        """
        self._limit(max_age_seconds, max_bytes)
        try:
            with self._opened() as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._trim(connection, self._clock.now())
            if _pages(connection) > self._most_pages:  # SQLite sets no limit below the size that a file has
                connection.execute("VACUUM")
            connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from None

    def renumber(self, epoch: str, shift: int) -> None:
        """From the next final on it is known that numbers of ``epoch`` stand for those ``shift`` higher."""
        self.shifts[epoch] = shift

    def mark_incomplete(self, *, incomplete: bool) -> None:
        """Note that finals went unstored, or that none is missing any more; as well as the disk allows."""
        if self._state_file is None:
            return
        with suppress(OSError):
            os.pwrite(self._state_file, b"1" if incomplete else b"0", 0)
            os.fsync(self._state_file)

    def after(self, sequence: int, limit: int) -> list[Published]:
        """The oldest ``limit`` finals that are held with a number above ``sequence``, in order, and translations.

        Those that were published after the final ``sequence`` and before the first that is not among these. What is
        damaged is left out, which ``notices`` says. Raises StoreError.
        """
        oldest = self._clock.now() - self._max_age
        finals: list[Published] = []
        lost: list[range] = []
        start, last = sequence, self.last.sequence
        try:
            with closing(connect(self.path)) as connection:
                while not finals:  # nothing of a page may be readable though more follows
                    found = read_rows(connection, "epoch, final", after=sequence, last=last, limit=limit, oldest=oldest)
                    lost += found.lost
                    for number, epoch, final in found.rows:
                        if (item := _published(number, epoch, final)) is not None:
                            finals.append(item)
                        else:
                            lost.append(range(number, number + 1))
                    if not found.rows:
                        break
                    sequence = found.rows[-1][0]
                until = finals[-1].place if finals else last
                rows, damaged = read_translations(connection, after=start, until=until, oldest=oldest)
        except (sqlite3.Error, OSError) as error:
            raise told(error, self.path) from None
        if news := [run for run in lost if run.start not in self._told_lost]:
            self._told_lost.update(run.start for run in news)
            message = f"the store {self.path} is damaged: number {numbers(news)} cannot be read"
            self.notices.append(Fault("STORE_DAMAGED", message))
        translations = [item for row in rows if (item := _translation(*row)) is not None]
        if (damaged or len(translations) < len(rows)) and not self._told_translations:
            self._told_translations = True
            message = f"the store {self.path} is damaged: translations in it cannot be read"
            self.notices.append(Fault("STORE_DAMAGED", message))
        return sorted([*finals, *translations], key=lambda item: item.place) if translations else finals

    def first_within(self, seconds: float) -> int | None:
        """The number of the oldest final that is held and not older, None if there is none. Raises StoreError."""
        youngest = self._clock.now() - min(seconds, self._max_age)
        try:
            with closing(connect(self.path)) as connection:
                query = "SELECT min(sequence) FROM finals WHERE seconds >= ?"
                number: int | None = connection.execute(query, (youngest,)).fetchone()[0]
        except (sqlite3.Error, OSError) as error:
            raise told(error, self.path) from None
        return number

    def knows(self, epoch: str) -> bool:
        """Whether numbers of ``epoch`` belong to this history, also of finals that are not held any more."""
        return epoch in self._epochs or epoch in self.shifts

    def close(self) -> None:
        """Close the file; what was stored is on disk already."""
        self._close_file()
        if self._state_file is not None:
            os.close(self._state_file)
        self._state_file = None

    def _close_file(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("STORE_FAILED", f"store {self.path}: is closed")
        return self._connection

    def _failed(self, error: Exception) -> StoreError:
        """What to tell about a failure to write, after which the file is opened anew unless it only was full."""
        failure = told(error, self.path)
        self._suspect = failure.code != "DISK_FULL"
        return failure

    @property
    def _most_pages(self) -> int:
        return (self._max_bytes + self._max_bytes // HARD_SHARE) // PAGE_BYTES

    def _limit(self, max_age_seconds: float, max_bytes: int) -> None:
        if max_age_seconds <= 0 or max_bytes < MIN_BYTES:
            raise StoreError(
                "STORE_FAILED", f"store {self.path}: the age must be positive and the size at least {MIN_BYTES} bytes"
            )
        self._max_age, self._max_bytes = max_age_seconds, max_bytes

    def _keep_lock(self) -> None:
        """Have the file beside the store locked, also where it was deleted meanwhile."""
        if self._state_file is not None:
            held = os.fstat(self._state_file)
            if identity(Path(f"{self.path}.state")) == (held.st_dev, held.st_ino):
                return
            os.close(self._state_file)
            self._state_file = None
        self._state_file = self._lock()

    def _lock(self) -> int:
        path = f"{self.path}.state"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise StoreError(
                "STORE_FAILED", f"store {self.path}: there is no folder {self.path.parent}; make it"
            ) from None
        except OSError as error:
            raise StoreError(
                told(error, self.path).code,
                f"store {self.path}: {error.strerror}; make its folder writable for the service's user",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreError(
                "STORE_FAILED", f"store {self.path}: another service uses it; end that one, or name another file"
            ) from None
        if not os.fstat(descriptor).st_size:
            with suppress(OSError):
                os.pwrite(descriptor, b"0", 0)
        return descriptor

    def _restore(self, connection: sqlite3.Connection) -> None:
        """Go on where the last run ended, or where this one was when the file was opened before."""
        found = self._read_state(connection)
        self._found = found[0] if found is not None else None
        if found is not None:
            self.last, mark = found
            self._clock = AgeClock(mark, self._clocks)
            # A number is left out where finals went unstored: whoever resumes across it is told of a gap.
            if not self._went_on and self._state_file is not None and os.pread(self._state_file, 1, 0) == b"1":
                self.last = Position(self.last.epoch, self.last.sequence + 1)
        first, self._went_on = not self._went_on, True
        self._epochs = {epoch for (epoch,) in connection.execute("SELECT epoch FROM epochs")} | {self.last.epoch}
        mark = self._clock.mark()
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO epochs VALUES (?, ?) ON CONFLICT DO NOTHING", self.last)
                self._save(connection, self.last, mark)
                self._trim(connection, mark.seconds)
        except sqlite3.Error as error:
            if found is None:
                raise
            self.trouble = told(error, self.path)  # what is there can be read, and the next final tries again
        else:
            self.trouble = None
            if first:
                self.mark_incomplete(incomplete=False)

    def _read_state(self, connection: sqlite3.Connection) -> tuple[Position, Mark] | None:
        """The last number of all, and the clocks when it was given; None where the file is new."""
        (highest,) = connection.execute("SELECT max(sequence) FROM finals").fetchone()
        try:
            self.shifts |= dict(connection.execute("SELECT epoch, shift FROM renumbered").fetchall())
            row = connection.execute("SELECT epoch, sequence, seconds, uptime, boot_id, wall FROM state").fetchone()
            if row is None and highest is None:
                return None
            if row is not None and _is_state(row, highest or 0):
                return Position(*row[:2]), Mark(*row[2:])
        except (sqlite3.OperationalError, ValueError):
            pass  # text that is none
        (seconds,) = connection.execute("SELECT max(seconds) FROM finals WHERE typeof(seconds) = 'real'").fetchone()
        message = f"the store {self.path} is damaged: its state cannot be read; its finals are kept, under a new epoch"
        self.notices.append(Fault("STORE_DAMAGED", message))
        return Position(new_epoch(), highest or 0), Mark(seconds or 0.0, 0.0, "", 0.0)

    def _save(self, connection: sqlite3.Connection, last: Position, mark: Mark) -> None:
        connection.execute("REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)", (*last, *astuple(mark)))
        connection.executemany("REPLACE INTO renumbered VALUES (?, ?)", self.shifts.items())

    def _trim(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM finals WHERE seconds < ?", (now - self._max_age,))
        connection.execute(_ORPHANS)
        while _used_bytes(connection) > self._max_bytes:
            (count,) = connection.execute("SELECT count(*) FROM finals").fetchone()
            if not count:
                break
            some = max(count // TRIM_SHARE, 1)
            connection.execute(  # by rank, not by number: numbers may have holes
                "DELETE FROM finals WHERE sequence IN (SELECT sequence FROM finals ORDER BY sequence LIMIT ?)", (some,)
            )
            connection.execute(_ORPHANS)
        connection.execute(
            "DELETE FROM epochs WHERE epoch NOT IN (SELECT epoch FROM epochs ORDER BY sequence DESC LIMIT 1000)"
        )


def _published(number: int, epoch: bytes, final: bytes) -> Published | None:
    """What a row holds, None if it is damaged."""
    try:
        return Published(final_from_json(final.decode()), epoch.decode(), number)
    except (ValueError, AttributeError):  # AttributeError: it is no text at all
        return None


def _translation(sequence: int, epoch: bytes, follows: int, translation: bytes) -> Published | None:
    """What a row holds, None if it is damaged."""
    try:
        event, of = translation_from_json(translation.decode()), Position(epoch.decode(), sequence)
    except (ValueError, AttributeError):
        return None
    return Published(event, of.epoch, translates=of, follows=follows)


def _is_state(row: tuple[object, ...], highest: int) -> bool:
    """Whether a row says where the history is, and not something that damage has made of it."""
    kinds = (str, int, float, float, str, float)
    return all(map(isinstance, row, kinds)) and isinstance(row[1], int) and row[1] >= highest


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


def _used_bytes(connection: sqlite3.Connection) -> int:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return (_pages(connection) - int(free)) * PAGE_BYTES


def new_epoch() -> str:
    """A name for a history that no other one has."""
    return secrets.token_hex(8)
