"""The store: durable, continued, bounded, and unmoved by clocks that jump and disks that fill."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rtstream.publish.clock import AgeClock, Clocks
from rtstream.publish.items import Published
from rtstream.publish.store import MIN_BYTES, Store, StoreError
from tests.publish.finals import final

ROOT = Path(__file__).parents[2]
DAY = 86_400.0
SET = 1_800_000_000.0  # a time of day that a machine with a clock has


class FakeMachine:
    """A machine whose clocks the test turns."""

    def __init__(self):
        self.up, self.boot, self.time = 1000.0, "boot-1", SET

    def passes(self, seconds):
        self.up += seconds
        self.time += seconds

    def reboots(self, down, wall):
        self.up, self.boot, self.time = 10.0, f"{self.boot}+", wall if wall is not None else self.time + down

    @property
    def clocks(self):
        return Clocks(lambda: self.up, lambda: self.boot, lambda: self.time)


def numbered(store, first, count=1, text="words that were said"):
    return [Published(final(n, text), store.last.epoch, n) for n in range(first, first + count)]


def open_store(path, clocks=None, age=DAY, size=1 << 20):
    return Store(path / "finals.db", max_age_seconds=age, max_bytes=size, clocks=clocks)


def sequences(store, after=0, limit=10_000):
    return [item.sequence for item in store.after(after, limit)]


def test_finals_come_back_as_they_were(tmp_path):
    store = open_store(tmp_path)
    given = numbered(store, 1, 3)
    store.append(given)
    assert store.after(0, 10) == given
    assert store.after(1, 1) == given[1:2]
    store.close()


def test_confidence_time_and_language_come_back_also_after_a_restart(tmp_path):
    given = replace(final(1), confidence=0.875, time=SET + 0.125, language="es")
    store = open_store(tmp_path)
    store.append([Published(given, store.last.epoch, 1)])
    store.close()
    store = open_store(tmp_path)
    (read,) = store.after(0, 10)
    assert (read.event, read.event.time) == (given, given.time)
    store.close()


def test_finals_of_a_store_from_before_they_had_a_time_and_a_language_are_read(tmp_path):
    store = open_store(tmp_path)
    store.append(numbered(store, 1))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        row = '[1,16000,24001,"words that were said",[["words",16000,20000,0.5]],"ctc"]'
        connection.execute("UPDATE finals SET final = ?", (row,))
    (read,) = store.after(0, 10)
    assert (read.event, read.event.time, read.event.language) == (final(1), None, "")
    store.close()


def test_epoch_and_numbers_go_on_after_a_restart(tmp_path):
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 5))
    last = store.last
    store.close()
    again = open_store(tmp_path)
    assert again.last == last
    assert again.last.sequence == 5
    assert again.knows(last.epoch)
    assert not again.knows("another")
    assert sequences(again) == [1, 2, 3, 4, 5]
    again.close()


def test_what_was_stored_survives_kill_9_in_the_middle_of_writing(tmp_path):
    program = """
import sys
from tests.publish.finals import final
from rtstream.publish.items import Published
from rtstream.publish.store import Store
store = Store(sys.argv[1], max_age_seconds=1e6, max_bytes=1 << 24)
number = store.last.sequence
while True:
    number += 1
    store.append([Published(final(number), store.last.epoch, number)])
    print(number, flush=True)
"""
    promised = 0
    epochs = set()
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "finals.db"], stdout=subprocess.PIPE, cwd=ROOT
        )
        for _ in range(20):
            promised = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        writer.wait()
        promised = int(rest[-1]) if rest else promised
        store = open_store(tmp_path, size=1 << 24)
        epochs.add(store.last.epoch)
        # A final may be on disk that the writer did not come to speak of.
        assert store.last.sequence in (promised, promised + 1)
        assert sequences(store) == list(range(1, store.last.sequence + 1))
        store.close()
    assert len(epochs) == 1


def test_old_finals_go_by_age_and_numbers_go_on(tmp_path):
    machine = FakeMachine()
    store = open_store(tmp_path, machine.clocks, age=100.0)
    store.append(numbered(store, 1, 2))
    machine.passes(60)
    store.append(numbered(store, 3, 2))
    machine.passes(60)
    assert sequences(store) == [3, 4]  # not shown any more, even before they are deleted
    store.append(numbered(store, 5))
    assert store._connection.execute("SELECT min(sequence) FROM finals").fetchone() == (3,)
    machine.passes(1000)
    assert sequences(store) == []
    store.close()
    again = open_store(tmp_path, machine.clocks, age=100.0)
    assert again.last.sequence == 5
    again.close()


@pytest.mark.parametrize("jump", [-50 * 365 * DAY, -DAY, 365 * DAY, 50 * 365 * DAY])
def test_a_jump_of_the_time_of_day_neither_deletes_nor_keeps(tmp_path, jump):
    machine = FakeMachine()
    store = open_store(tmp_path, machine.clocks, age=100.0)
    store.append(numbered(store, 1))
    machine.time += jump
    machine.passes(50)
    store.append(numbered(store, 2))
    assert sequences(store) == [1, 2]
    machine.passes(60)
    assert sequences(store) == [2]
    store.close()
    machine.time -= 2 * jump
    again = open_store(tmp_path, machine.clocks, age=100.0)  # restarted within the same boot
    assert sequences(again) == [2]
    again.close()


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (SET, SET + 50, [1]),  # a reboot of 50 s
        (SET, SET + 200, []),
        (SET, SET - 5000, [1]),  # went back: nothing is known of the down time
        (0.0, SET, [1]),  # no clock before, NTP now: not fifty years
        (SET, 0.0, [1]),  # no battery: 1970 until NTP
    ],
)
def test_age_across_a_reboot(tmp_path, before, after, left):
    machine = FakeMachine()
    machine.time = before
    store = open_store(tmp_path, machine.clocks, age=100.0)
    store.append(numbered(store, 1))
    store.close()
    machine.reboots(0, after)
    store = open_store(tmp_path, machine.clocks, age=100.0)
    assert sequences(store) == left
    store.close()


def test_age_clock_never_goes_back():
    machine = FakeMachine()
    clock = AgeClock(None, machine.clocks)
    seen = []
    for boot_wall in (SET - 1e8, SET + 5.0, 0.0, SET + 1e6):
        machine.passes(10)
        seen.append(clock.now())
        mark = clock.mark()
        machine.reboots(0, boot_wall)
        clock = AgeClock(mark, machine.clocks)
        seen.append(clock.now())
    assert seen == sorted(seen)


def test_file_stays_near_the_size_that_is_allowed(tmp_path):
    store = open_store(tmp_path, size=MIN_BYTES)
    for number in range(1, 200):
        store.append(numbered(store, number, text="x" * 6000))
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size < 1.25 * MIN_BYTES + 4 * 1024 * 1024  # the log has its own bound
    assert (tmp_path / "finals.db").stat().st_size <= 1.25 * MIN_BYTES
    held = sequences(store)
    assert held == list(range(held[0], 200))
    assert len(held) > 20
    store.close()


def test_lower_limits_hold_at_once_and_the_file_shrinks(tmp_path):
    machine = FakeMachine()
    store = open_store(tmp_path, machine.clocks, size=4 << 20)
    for number in range(1, 200):
        store.append(numbered(store, number, text="x" * 6000))
        machine.passes(1.0)
    store.retain(max_age_seconds=DAY, max_bytes=MIN_BYTES)
    held = sequences(store)
    assert held == list(range(held[0], 200))
    assert 20 < len(held) < 60
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "finals.db").stat().st_size <= 1.25 * MIN_BYTES
    with pytest.raises(StoreError) as told:  # SQLite itself keeps to the new size
        store.append(numbered(store, 200, 200, text="x" * 3000))
    assert told.value.code == "DISK_FULL"
    store.retain(max_age_seconds=10.0, max_bytes=4 << 20)
    assert sequences(store) == list(range(190, 200))
    store.append(numbered(store, 200, 200, text="x" * 3000))
    assert store._connection.execute("SELECT min(sequence) FROM finals").fetchone() == (190,)
    store.close()


@pytest.mark.parametrize(
    "limits", [{"max_age_seconds": 0, "max_bytes": MIN_BYTES}, {"max_age_seconds": 1, "max_bytes": 9}]
)
def test_impossible_limits_are_refused_and_the_old_ones_stay(tmp_path, limits):
    store = open_store(tmp_path)
    store.append(numbered(store, 1))
    with pytest.raises(StoreError, match="the age must be positive"):
        store.retain(**limits)
    assert sequences(store) == [1]
    store.close()


def test_a_batch_larger_than_the_file_may_be_is_refused_whole_and_the_next_one_taken(tmp_path):
    store = open_store(tmp_path, size=MIN_BYTES)
    store.append(numbered(store, 1))
    with pytest.raises(StoreError) as told:
        store.append(numbered(store, 2, 200, text="x" * 3000))
    assert told.value.code == "DISK_FULL"
    assert store.last.sequence == 1
    store.append(numbered(store, 2))
    assert sequences(store) == [1, 2]
    store.close()


def test_full_disk_is_told_and_the_store_goes_on_when_there_is_room(tmp_path):
    # A real write error of the kernel: no file of this process may grow beyond the limit.
    program = """
import resource, sys
from tests.publish.finals import final
from rtstream.publish.items import Published
from rtstream.publish.store import Store, StoreError
store = Store(sys.argv[1], max_age_seconds=1e6, max_bytes=1 << 24)
def add(number):
    store.append([Published(final(number, "x" * 3000), store.last.epoch, number)])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
number = 0
try:
    while True:
        add(number + 1)
        number += 1
except StoreError as error:
    print(error.code, store.last.sequence == number, number > 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
add(number + 1)
print([item.sequence for item in store.after(0, 9999)] == list(range(1, number + 2)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "finals.db"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first in ("DISK_FULL True True", "STORE_FAILED True True")  # SQLite gives EFBIG one name or the other
    assert second == "True"


def test_numbers_leave_a_hole_after_a_run_that_could_not_store(tmp_path):
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 3))
    store.mark_incomplete(incomplete=True)
    store.close()
    again = open_store(tmp_path)
    assert again.last.sequence == 4  # 4 is nobody's
    again.close()
    third = open_store(tmp_path)
    assert third.last.sequence == 4
    third.close()


def test_second_service_is_kept_off(tmp_path):
    store = open_store(tmp_path)
    with pytest.raises(StoreError, match="another service"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


def test_damaged_file_is_put_aside(tmp_path):
    path = tmp_path / "finals.db"
    path.write_bytes(b"not a database at all" * 1000)
    store = open_store(tmp_path)
    (notice,) = store.notices
    assert notice.code == "STORE_DAMAGED"
    store.append(numbered(store, 1))
    assert sequences(store) == [1]
    assert (tmp_path / "finals.db.damaged").read_bytes().startswith(b"not a database")
    store.close()


def test_store_of_a_later_version_is_left_alone(tmp_path):
    path = tmp_path / "finals.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        open_store(tmp_path)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match="make it"):
        Store(tmp_path / "no" / "finals.db", max_age_seconds=1, max_bytes=MIN_BYTES)


def test_files_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        store = open_store(tmp_path)
        store.append(numbered(store, 1))
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
        store.close()
    finally:
        os.umask(before)


def test_expired_text_is_not_left_in_the_file(tmp_path):
    machine = FakeMachine()
    store = open_store(tmp_path, machine.clocks, age=100.0)
    store.append(numbered(store, 1, text="a secret that was said"))
    machine.passes(200)
    store.append(numbered(store, 2))
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    assert b"a secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


# Paths and files that cannot be used


def unusable(folder, kind):
    """A path at which no store can be, and what to do so that one can."""
    path = folder / "finals.db"
    if kind == "folder":
        path.mkdir()
        return path, path.rmdir
    if kind == "dangling link":
        path.symlink_to(folder / "no" / "such")
        return path, (folder / "no").mkdir
    if kind == "link to itself":
        path.symlink_to(path)
        return path, path.unlink
    if kind == "below a file":
        (folder / "file").write_text("")
        return folder / "file" / "finals.db", lambda: [(folder / "file").unlink(), (folder / "file").mkdir()]
    if kind == "folder for its state":
        Path(f"{path}.state").mkdir()
        return path, Path(f"{path}.state").rmdir
    assert kind == "no folder"
    return folder / "no" / "finals.db", (folder / "no").mkdir


UNUSABLE = ["folder", "dangling link", "link to itself", "below a file", "folder for its state", "no folder"]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_path_is_an_error_of_one_line_that_names_it(tmp_path, kind):
    path, repair = unusable(tmp_path, kind)
    with pytest.raises(StoreError) as told:
        Store(path, max_age_seconds=DAY, max_bytes=1 << 20)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.code == "STORE_FAILED"
    repair()
    Store(path, max_age_seconds=DAY, max_bytes=1 << 20).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_file_of_another_user_is_an_error_of_one_line(tmp_path):
    store = open_store(tmp_path)
    store.append(numbered(store, 1))
    store.close()
    try:
        os.seteuid(65534)
        with pytest.raises(StoreError) as told:
            open_store(tmp_path)
    finally:
        os.seteuid(0)
    assert "finals.db" in str(told.value)
    assert told.value.code == "STORE_FAILED"


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE finals SET final = '{' WHERE sequence = 20",
        "UPDATE finals SET final = '[]' WHERE sequence = 20",
        "UPDATE finals SET final = '[0, 0, 1, 5, [], \"ctc\"]' WHERE sequence = 20",
        'UPDATE finals SET final = \'[0, 0, 1, "a", [3], "ctc"]\' WHERE sequence = 20',
        "UPDATE finals SET final = CAST(x'ff5b5d' AS TEXT) WHERE sequence = 20",
        "UPDATE finals SET final = x'00' WHERE sequence = 20",
        "UPDATE finals SET epoch = CAST(x'ff' AS TEXT) WHERE sequence = 20",
        "DELETE FROM finals WHERE sequence = 20",
    ],
)
def test_bad_row_is_read_around_and_named(tmp_path, spoil):
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 40))
    store.close()
    with sqlite3.connect(tmp_path / "finals.db") as connection:
        connection.execute(spoil)
    store = open_store(tmp_path)
    assert sequences(store) == [*range(1, 20), *range(21, 41)]
    assert sequences(store, after=18, limit=2) == ([19, 21] if "DELETE" in spoil else [19])
    if "DELETE" not in spoil:
        (notice,) = store.notices  # told once
        assert notice.code == "STORE_DAMAGED"
        assert notice.message.endswith("number 20 cannot be read")
    store.append(numbered(store, 41))
    assert sequences(store, after=39) == [40, 41]
    store.close()


def test_finals_behind_a_page_of_bad_rows_are_read(tmp_path):
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 40))
    store.close()
    with sqlite3.connect(tmp_path / "finals.db") as connection:
        connection.execute("UPDATE finals SET final = '?' WHERE sequence BETWEEN 5 AND 30")
    store = open_store(tmp_path)
    assert sequences(store, after=4, limit=5) == [31, 32, 33, 34]
    (notice,) = store.notices
    assert notice.message.endswith("number 5 to 30 cannot be read")
    store.close()


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE state SET epoch = x'ff'",
        "UPDATE state SET sequence = 'many'",
        "UPDATE state SET uptime = 'long'",
        "UPDATE state SET boot_id = x'00'",
        "DELETE FROM state",
    ],
)
def test_bad_row_of_the_state_costs_no_final_and_numbers_go_on_in_a_new_epoch(tmp_path, spoil):
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 5))
    before = store.last
    store.close()
    with sqlite3.connect(tmp_path / "finals.db") as connection:
        connection.execute(spoil)
    store = open_store(tmp_path)
    assert sequences(store) == [1, 2, 3, 4, 5]
    assert store.last.sequence == 5
    assert store.last.epoch != before.epoch
    assert [notice.code for notice in store.notices] == ["STORE_DAMAGED"]
    store.append(numbered(store, 6))
    assert sequences(store) == [1, 2, 3, 4, 5, 6]
    store.close()


def leaf_pages(path):
    """Offsets of the pages that hold rows of finals, with the numbers of those rows."""
    pages = []
    data = path.read_bytes()
    for at in range(4096, len(data), 4096):
        page = data[at : at + 4096]
        count = int.from_bytes(page[3:5], "big")
        if page[0] != 13 or b"words that were said" not in page or not count:
            continue
        numbers = []
        for cell in range(count):
            place = int.from_bytes(page[8 + 2 * cell : 10 + 2 * cell], "big")
            _, place = varint(page, place)
            numbers.append(varint(page, place)[0])
        pages.append((numbers, at))
    return [(at, numbers) for numbers, at in sorted(pages)]


def varint(data, at):
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] < 0x80:
            return value, at


@pytest.mark.parametrize("while_open", [False, True])
@pytest.mark.parametrize("which", [0, 3, -1])
def test_damaged_page_costs_the_finals_on_it_alone_and_they_are_named(tmp_path, which, while_open):
    path = tmp_path / "finals.db"
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 300))
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    at, lost = leaf_pages(path)[which]
    left = [number for number in range(1, 301) if number not in lost]
    assert 200 < len(left) < 300
    if not while_open:
        store.close()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([0x55]) * 4096)
    if not while_open:
        store = open_store(tmp_path)
    got, after = [], 0
    while page := sequences(store, after, 50):
        got, after = got + page, page[-1]
    assert got == left
    assert f"number {lost[0]} to {lost[-1]}" in store.notices[-1].message
    if while_open:  # it is put aside at the first write that meets the damage, or at the next start
        store.close()
        store = open_store(tmp_path)
    assert sequences(store) == left
    assert store.last.sequence == 300
    store.append(numbered(store, 301))
    store.close()
    again = open_store(tmp_path)
    assert sequences(again) == [*left, 301]
    assert not again.notices
    again.close()


@pytest.mark.parametrize("what", ["", "-wal", ".state"])
def test_deleted_file_is_noticed_and_begun_anew(tmp_path, what):
    store = open_store(tmp_path)
    store.append(numbered(store, 1, 3))
    Path(f"{store.path}{what}").unlink()
    store.check()
    left = [] if not what else [1, 2, 3]
    assert [notice.code for notice in store.notices] == ([] if what else ["STORE_DELETED"])
    assert store.last.sequence == 3
    assert sequences(store) == left
    store.append(numbered(store, 4))
    with pytest.raises(StoreError, match="another service"):
        open_store(tmp_path)
    last = store.last
    store.close()
    again = open_store(tmp_path)
    assert again.last == last
    assert sequences(again) == [*left, 4]
    again.close()


def test_history_can_still_be_read_where_nothing_can_be_written_at_the_start(tmp_path):
    program = """
import os, resource, sys
from tests.publish.finals import final
from rtstream.publish.items import Published
from rtstream.publish.store import Store
def append(store, numbers):
    store.append([Published(final(n, "x" * 3000), store.last.epoch, n) for n in numbers])
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
if sys.argv[2] == "first":
    append(Store(sys.argv[1], max_age_seconds=1e6, max_bytes=1 << 24), range(1, 31))
    os._exit(0)  # so that its log stays, behind whose end the next run writes
limit(40_000)
store = Store(sys.argv[1], max_age_seconds=1e6, max_bytes=1 << 24)
print(store.trouble.code, len(store.after(0, 99)))
limit(resource.RLIM_INFINITY)
store.check()
append(store, [31])
print(len(store.after(0, 99)))
"""
    for run in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "finals.db", run],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.stderr == ""
    at_first, later = done.stdout.splitlines()
    assert at_first in {"DISK_FULL 30", "STORE_FAILED 30"}  # SQLite gives EFBIG one name or the other
    assert later == "31"
