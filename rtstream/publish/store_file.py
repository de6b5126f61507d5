"""The SQLite file of a store: how it is opened, what its failures are called, and what of a damaged one can be read."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rtstream.errors import RtstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

VERSION = 1
PAGE_BYTES = 4096
WAL_PAGES = 256
"""Pages in the write-ahead log before it is written back: 1 MiB."""
NEARLY_FULL = 1 << 18
"""Bytes free on a disk, below which what fails does so for want of room, whatever SQLite calls it."""
STEPS = 64
"""Numbers tried one by one behind damage, then in ever larger steps: a damaged page holds some dozens of rows."""

_SCHEMA = """
CREATE TABLE finals (sequence INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seconds REAL NOT NULL, final TEXT NOT NULL);
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL, sequence INTEGER NOT NULL,
                    seconds REAL NOT NULL, uptime REAL NOT NULL, boot_id TEXT NOT NULL, wall REAL NOT NULL);
CREATE TABLE epochs (epoch TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
"""
_LATER = """
CREATE TABLE IF NOT EXISTS renumbered (epoch TEXT PRIMARY KEY, shift INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS translations (number INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, epoch TEXT NOT NULL,
                                         follows INTEGER NOT NULL, seconds REAL NOT NULL, translation TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS translations_of ON translations (sequence);
CREATE INDEX IF NOT EXISTS translations_behind ON translations (follows);
"""
"""Tables that a store of this version may lack."""

OTHERS = ("state", "epochs", "renumbered", "translations")
"""Tables besides that of finals."""


class StoreError(RtstreamError):
    """The store cannot be opened, read or written. ``code`` is that of the Fault to publish."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Rows:
    """Rows of finals that could be read, in order, and the numbers ``lost`` between them of those that could not."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    lost: list[range] = field(default_factory=list)


def connect(path: Path) -> sqlite3.Connection:
    """Open a file that is there. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=10.0, isolation_level=None, check_same_thread=False
    )


def open_for_writing(path: Path, most_pages: int) -> sqlite3.Connection:
    """Open a store, or begin one. Raises sqlite3.Error, OSError, StoreError."""
    if path.is_dir():
        raise StoreError("STORE_FAILED", f"store {path}: is a folder; name a file in it")
    if not path.exists():
        # Transcripts are private: SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = connect(path)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # also when the power goes, not only at kill -9
        connection.execute("PRAGMA secure_delete = ON")  # what is too old is gone, not only out of sight
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * PAGE_BYTES}")
        connection.execute(f"PRAGMA max_page_count = {most_pages}")
        _make_tables(connection, path)
        connection.execute("SELECT count(*) FROM finals, state, epochs").fetchone()
        connection.execute("SELECT max(length(translation)) FROM translations").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def read_rows(
    connection: sqlite3.Connection, columns: str, *, after: int, last: int, limit: int, oldest: float
) -> Rows:
    """``sequence`` and ``columns`` of the first ``limit`` finals with numbers above ``after``, around any damage.

    ``last``: the highest number that can be there; ``oldest``: seconds of service, below which they are too old. Texts
    come as bytes: one that is no text is a damaged row, and not an error of the query. Raises sqlite3.Error for what is
    no damage.
    """
    connection.text_factory = bytes
    query = f"SELECT sequence, {columns} FROM finals WHERE sequence >= ? AND seconds >= ? ORDER BY sequence LIMIT ?"  # noqa: S608 - names of this program
    # Not "> at": that would look at the page on which the number "at" is, or was.
    found, at, most = Rows(), after, limit
    while at < last and (room := limit - len(found.rows)) > 0:
        given = len(found.rows)
        try:
            for row in connection.execute(query, (at + 1, oldest, min(most, room))):
                at = row[0]
                found.rows.append(row)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            if most > 1:  # a row that was read is not given if the one behind it cannot be: one by one, then
                most = 1
            else:
                good = _next_readable(connection, columns, at + 1, last)
                found.lost.append(range(at + 1, good))
                at, most = good - 1, limit
        else:
            if most > 1 or len(found.rows) == given:
                break
    return found


def read_translations(
    connection: sqlite3.Connection, *, after: int, until: int, oldest: float
) -> tuple[list[tuple[Any, ...]], bool]:
    """``sequence``, ``epoch``, ``follows`` and ``translation`` of those that follow a final of these numbers, in order.

    And whether any are lost to damage. ``oldest``: as for :func:`read_rows`. Raises sqlite3.Error for what is none.
    """
    query = (
        "SELECT sequence, epoch, follows, translation FROM translations WHERE follows BETWEEN ? AND ? AND seconds >= ?"
    )
    connection.text_factory = bytes
    return _around_damage(connection, query, (after, until, oldest), ("follows", "number"))


def salvage(path: Path, into: sqlite3.Connection) -> tuple[int, list[range]]:
    """Copy what can still be read of a damaged file: how many finals, and the numbers of those that are lost.

    Raises sqlite3.Error for failures of ``into``.
    """
    known = _columns(into)
    try:
        with closing(connect(path)) as connection:
            names = [name for name in _columns(connection) if name in known and name != "sequence"]
            others = {name: rows for name in OTHERS if (rows := _all(connection, name))}
            last = _highest(connection)
            columns = ", ".join(names)
            found = read_rows(connection, columns, after=0, last=last, limit=last, oldest=float("-inf"))
    except (sqlite3.Error, OSError):
        return 0, []
    whole = []
    for row in found.rows:
        try:
            whole.append([value.decode() if isinstance(value, bytes) else value for value in row])
        except UnicodeDecodeError:
            found.lost.append(range(row[0], row[0] + 1))
    with into:
        into.execute("BEGIN IMMEDIATE")
        for table, rows in others.items():
            with suppress(sqlite3.Error):  # of another shape
                into.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
        marks = ", ".join("?" * (1 + len(names)))
        into.executemany(f"INSERT INTO finals (sequence, {', '.join(names)}) VALUES ({marks})", whole)  # noqa: S608
        into.execute("INSERT OR IGNORE INTO epochs SELECT epoch, min(sequence) FROM finals GROUP BY epoch")
    return len(whole), found.lost


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that what stands in the file is wrong."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def told(error: Exception, path: Path) -> StoreError:
    """What to tell about a failure of SQLite, or of the file system below it."""
    if isinstance(error, StoreError):
        return error
    full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    with suppress(OSError):
        disk = os.statvfs(path.parent)
        full = full or disk.f_bavail * disk.f_frsize < NEARLY_FULL
    if full:
        return StoreError(
            "DISK_FULL", f"store {path}: the disk is full; free some space, or lower publish.store_max_megabytes"
        )
    reason = error.strerror if isinstance(error, OSError) else error
    return StoreError("STORE_FAILED", f"store {path}: {reason}; check the disk, and the owner and mode of the file")


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def numbers(lost: Iterable[range]) -> str:
    """Numbers for people: ``7, 12 to 40``."""
    runs: list[range] = []
    for run in sorted(lost, key=lambda run: run.start):
        joined = bool(runs) and runs[-1].stop == run.start
        runs.append(range(runs.pop().start, run.stop) if joined else run)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new store; raise StoreError if it is one of another version."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise StoreError(
            "STORE_FAILED", f"store {path}: has version {version}, this program knows {VERSION}; name another file"
        )
    connection.executescript(_LATER)


def _next_readable(connection: sqlite3.Connection, columns: str, low: int, last: int) -> int:
    """The first number after ``low`` from which on a row can be read again; ``last`` + 1 if there is none."""

    def readable(number: int) -> bool:
        try:
            query = f"SELECT {columns} FROM finals WHERE sequence >= ? ORDER BY sequence LIMIT 1"  # noqa: S608 - as above
            connection.execute(query, (number,)).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return False
        return True

    bad, step = low, 1
    while bad + step <= last and not readable(bad + step):
        bad += step
        step = 1 if bad - low < STEPS else 2 * step
    good = min(bad + step, last + 1)
    while good - bad > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if readable(middle) else (good, middle)
    return good


def _columns(connection: sqlite3.Connection) -> list[str]:
    return [row[1] for row in connection.execute("PRAGMA table_info(finals)")]


def _all(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table, as far as they can be read."""
    try:
        return _around_damage(connection, f"SELECT * FROM {table}", (), ("rowid",))[0]  # noqa: S608 - a name of this program
    except sqlite3.Error:
        return []


def _around_damage(
    connection: sqlite3.Connection, query: str, parameters: tuple[Any, ...], order: tuple[str, ...]
) -> tuple[list[tuple[Any, ...]], bool]:
    """Rows in order, from the first to what is damaged and from there to the last, and whether anything is."""
    rows: list[tuple[Any, ...]] = []
    try:
        rows.extend(connection.execute(f"{query} ORDER BY {', '.join(order)}", parameters))
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    else:
        return rows, False
    behind: list[tuple[Any, ...]] = []
    with suppress(sqlite3.DatabaseError):
        behind.extend(connection.execute(f"{query} ORDER BY {', '.join(f'{name} DESC' for name in order)}", parameters))
    return list(dict.fromkeys([*rows, *reversed(behind)])), True


def _highest(connection: sqlite3.Connection) -> int:
    """The highest number that may be in a damaged store."""
    found = [0]
    for query in ("SELECT max(sequence) FROM finals", "SELECT sequence FROM state", "SELECT max(sequence) FROM epochs"):
        with suppress(sqlite3.Error):
            row = connection.execute(query).fetchone()
            found += [value for value in row or () if isinstance(value, int)]
    return max(found)
