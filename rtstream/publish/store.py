"""Finals on disk: what a subscriber missed while it, or the daemon, was away.

One SQLite file in WAL mode with a row per final, beside it ``FILE.state``: a byte that says whether finals went
unstored, which is overwritten in place since on a full disk nothing else can be written, and whose lock keeps a second
daemon off the same history.
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

from rtstream.errors import RtstreamError
from rtstream.events import Fault, Final
from rtstream.publish.clock import AgeClock, Clocks, Mark
from rtstream.publish.items import Position, Published
from rtstream.publish.rows import final_from_json, final_to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
PAGE_BYTES = 4096
MIN_BYTES = 256 * 1024
"""Below this the tables themselves would not fit."""
HARD_SHARE = 4
"""SQLite itself refuses to let the file grow beyond max_bytes and a quarter (1 / HARD_SHARE) more."""
TRIM_SHARE = 10
"""When the file is too large a tenth (1 / TRIM_SHARE) of the rows goes at once, so that it is not done for each."""
WAL_PAGES = 256
"""Pages in the write-ahead log before it is written back: 1 MiB."""

_SCHEMA = """
CREATE TABLE finals (sequence INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seconds REAL NOT NULL, final TEXT NOT NULL);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL, sequence INTEGER NOT NULL,
                    seconds REAL NOT NULL, uptime REAL NOT NULL, boot_id TEXT NOT NULL, wall REAL NOT NULL);
CREATE TABLE epochs (epoch TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
"""


class StoreError(RtstreamError):
    """The store cannot be opened, read or written. ``code`` is that of the Fault to publish."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Store:
    """Finals of the last ``max_age_seconds``, in a file of about ``max_bytes``.

    One thread at a time writes; reading (:meth:`after`) has its own connection each time and any thread may do it.
    Raises StoreError if ``path`` cannot be used at all. A damaged file is put aside, which ``notices`` says.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_age_seconds: float, max_bytes: int, clocks: Clocks | None = None
    ) -> None:
        self.path = Path(path)
        self._limit(max_age_seconds, max_bytes)
        self.notices: list[Fault] = []
        self.last: Position
        """The number of the last final that was stored."""
        self._state_file = self._lock()
        try:
            self._open_or_replace()
            self._restore(clocks or Clocks())
        except BaseException:
            os.close(self._state_file)
            raise

    def _open_or_replace(self) -> None:
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") not in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
                raise _told(error, self.path) from None
            aside = self.path.with_name(f"{self.path.name}.damaged")
            for ending in ("-wal", "-shm"):
                Path(f"{self.path}{ending}").unlink(missing_ok=True)
            self.path.replace(aside)
            message = f"the store {self.path} is damaged: it was renamed to {aside.name}, and a new one begun"
            self.notices.append(Fault("STORE_DAMAGED", message))
            self._connection = self._open()

    def append(self, finals: Sequence[Published]) -> None:
        """Make numbered finals durable, all or none, and let go of what is too old or too much. Raises StoreError."""
        mark = self._clock.mark()
        last = self.last
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._trim(connection, mark.seconds)
                for item in finals:
                    assert isinstance(item.event, Final)
                    assert item.position is not None
                    last = item.position
                    row = (last.sequence, last.epoch, mark.seconds, final_to_json(item.event))
                    connection.execute("INSERT INTO finals VALUES (?, ?, ?, ?)", row)
                    connection.execute("INSERT INTO epochs VALUES (?, ?) ON CONFLICT DO NOTHING", last)
                self._save(connection, last, mark)
        except sqlite3.Error as error:
            raise _told(error, self.path) from None
        self.last = last

    def retain(self, *, max_age_seconds: float, max_bytes: int) -> None:
        """Keep more or less from now on: what is too old or too much goes at once, and the file shrinks.

        Raises StoreError; if the disk is at fault the new limits hold all the same, from the next final on.
        """
        self._limit(max_age_seconds, max_bytes)
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._trim(connection, self._clock.now())
            if _pages(self._connection) > self._most_pages:  # SQLite sets no limit below the size that a file has
                self._connection.execute("VACUUM")
            self._connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
        except sqlite3.Error as error:
            raise _told(error, self.path) from None

    def mark_incomplete(self, *, incomplete: bool) -> None:
        """Note that finals went unstored, or that none is missing any more; as well as the disk allows."""
        with suppress(OSError):
            os.pwrite(self._state_file, b"1" if incomplete else b"0", 0)
            os.fsync(self._state_file)

    def after(self, sequence: int, limit: int) -> list[Published]:
        """The oldest ``limit`` finals that are held with a number above ``sequence``, in order. Raises StoreError."""
        query = (
            "SELECT epoch, sequence, final FROM finals WHERE sequence > ? AND seconds >= ? ORDER BY sequence LIMIT ?"
        )
        oldest = self._clock.now() - self._max_age
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute(query, (sequence, oldest, limit)).fetchall()
                return [Published(final_from_json(final), epoch, number) for epoch, number, final in rows]
        except (sqlite3.Error, ValueError) as error:
            raise _told(error, self.path) from None

    def first_within(self, seconds: float) -> int | None:
        """The number of the oldest final that is held and not older, None if there is none. Raises StoreError."""
        youngest = self._clock.now() - min(seconds, self._max_age)
        try:
            with closing(self._connect()) as connection:
                query = "SELECT min(sequence) FROM finals WHERE seconds >= ?"
                number: int | None = connection.execute(query, (youngest,)).fetchone()[0]
        except sqlite3.Error as error:
            raise _told(error, self.path) from None
        return number

    def knows(self, epoch: str) -> bool:
        """Whether numbers of ``epoch`` belong to this history, also of finals that are not held any more."""
        try:
            with closing(self._connect()) as connection:
                row = connection.execute("SELECT 1 FROM epochs WHERE epoch = ?", (epoch,)).fetchone()
        except sqlite3.Error as error:
            raise _told(error, self.path) from None
        return row is not None or epoch == self.last.epoch

    def close(self) -> None:
        """Close the file; what was stored is on disk already."""
        with suppress(sqlite3.Error):
            self._connection.close()
        os.close(self._state_file)

    @property
    def _most_pages(self) -> int:
        return (self._max_bytes + self._max_bytes // HARD_SHARE) // PAGE_BYTES

    def _limit(self, max_age_seconds: float, max_bytes: int) -> None:
        if max_age_seconds <= 0 or max_bytes < MIN_BYTES:
            raise StoreError(
                "STORE_FAILED", f"store {self.path}: the age must be positive and the size at least {MIN_BYTES} bytes"
            )
        self._max_age, self._max_bytes = max_age_seconds, max_bytes

    def _lock(self) -> int:
        path = f"{self.path}.state"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                "STORE_FAILED",
                f"store {self.path}: {error.strerror}; make its folder, writable for the daemon's user",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreError(
                "STORE_FAILED", f"store {self.path}: another daemon uses it; end that one, or name another file"
            ) from None
        if not os.fstat(descriptor).st_size:
            with suppress(OSError):
                os.pwrite(descriptor, b"0", 0)
        return descriptor

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)

    def _open(self) -> sqlite3.Connection:
        # Transcripts are private: SQLite gives its other files the mode of this one.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = self._connect()
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # also when the power goes, not only at kill -9
            connection.execute("PRAGMA secure_delete = ON")  # what is too old is gone, not only out of sight
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * PAGE_BYTES}")
            connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
            _make_tables(connection, self.path)
            connection.execute("SELECT count(*) FROM finals, state, epochs").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _restore(self, clocks: Clocks) -> None:
        """Go on where the last run ended."""
        connection = self._connection
        try:
            row = connection.execute("SELECT epoch, sequence, seconds, uptime, boot_id, wall FROM state").fetchone()
            if row is None:
                self._clock = AgeClock(None, clocks)
                self.last = Position(new_epoch(), 0)
            else:
                self._clock = AgeClock(Mark(*row[2:]), clocks)
                # A number is left out where finals went unstored: whoever resumes across it is told of a gap.
                left_out = os.pread(self._state_file, 1, 0) == b"1"
                self.last = Position(row[0], row[1] + left_out)
            mark = self._clock.mark()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO epochs VALUES (?, ?) ON CONFLICT DO NOTHING", self.last)
                self._save(connection, self.last, mark)
                self._trim(connection, mark.seconds)
        except sqlite3.Error as error:
            told = _told(error, self.path)
            if told.code != "DISK_FULL" or row is None:
                raise told from None
            self.notices.append(Fault(told.code, str(told)))  # the next final tries again
        else:
            self.mark_incomplete(incomplete=False)

    def _save(self, connection: sqlite3.Connection, last: Position, mark: Mark) -> None:
        connection.execute("REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)", (*last, *astuple(mark)))

    def _trim(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM finals WHERE seconds < ?", (now - self._max_age,))
        while _used_bytes(connection) > self._max_bytes:
            (count,) = connection.execute("SELECT count(*) FROM finals").fetchone()
            if not count:
                break
            some = max(count // TRIM_SHARE, 1)
            connection.execute(  # by rank, not by number: numbers may have holes
                "DELETE FROM finals WHERE sequence IN (SELECT sequence FROM finals ORDER BY sequence LIMIT ?)", (some,)
            )
        connection.execute(
            "DELETE FROM epochs WHERE epoch NOT IN (SELECT epoch FROM epochs ORDER BY sequence DESC LIMIT 1000)"
        )


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new store; raise StoreError if it is one of another version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise StoreError(
            "STORE_FAILED", f"store {path}: has version {version}, this program knows {VERSION}; name another file"
        )


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


def _used_bytes(connection: sqlite3.Connection) -> int:
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return (_pages(connection) - int(free)) * PAGE_BYTES


def _told(error: Exception, path: Path) -> StoreError:
    """What to tell about a failure of SQLite."""
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return StoreError(
            "DISK_FULL", f"store {path}: the disk is full; free some space, or lower the store's max_bytes"
        )
    return StoreError("STORE_FAILED", f"store {path}: {error}; check the disk and the file's permissions")


def new_epoch() -> str:
    """A name for a history that no other one has."""
    return secrets.token_hex(8)
