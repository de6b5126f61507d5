"""``rtstream notes``: a Markdown file a day, in which every final stands once, whoever is killed when."""

import asyncio
import errno
import os
import re
import signal
from dataclasses import replace
from datetime import datetime

import pytest

from rtstream.cli import note_files
from rtstream.cli.note_files import NoteFiles, NotesError
from rtstream.events import Fault
from rtstream.publish.items import Gap, Position, Published
from tests.cli.test_clients import start
from tests.publish.finals import final, partial
from tests.rpc.calls import until
from tests.rpc.server_process import start_server

SLOWLY = 0.02
"""Seconds between two finals: a slow machine must not be so late that the oldest are no longer held."""
NOON = datetime(2026, 11, 30, 12, 0, 0).timestamp()  # noqa: DTZ001 - local, as notes are
DAY = 86_400


def said(number, text, at=NOON, epoch="3f2a"):
    return Published(replace(final(number, text), time=at), epoch, number)


def write(folder, *items):
    with NoteFiles(folder) as notes:
        for item in items:
            notes.add(item)
        return notes.position


def test_each_day_has_a_file_with_a_line_for_each_final(tmp_path):
    folder = tmp_path / "made" / "notes"
    position = write(
        folder,
        said(1, "Good morning."),
        Published(partial(2), "3f2a"),
        Published(Fault("DISK_FULL", "full"), "3f2a"),
        said(2, ""),
        said(3, "That is *all* for_today\nand `more` <b>", NOON + 61.5),
        said(4, "The next day.", NOON + DAY),
    )
    assert position == Position("3f2a", 4)
    assert sorted(path.name for path in folder.glob("*.md")) == ["2026-11-30.md", "2026-12-01.md"]
    assert (folder / "2026-11-30.md").read_text() == (
        "# 2026-11-30\n\n"
        "- 12:00:00 Good morning. <!-- 3f2a:1 -->\n"
        "- 12:01:01 That is \\*all\\* for\\_today and \\`more\\` \\<b\\> <!-- 3f2a:3 -->\n"
    )
    assert (folder / "2026-12-01.md").read_text() == "# 2026-12-01\n\n- 12:00:00 The next day. <!-- 3f2a:4 -->\n"


def test_what_is_told_again_stands_there_once(tmp_path):
    told = [said(1, "one"), said(2, "two", NOON + DAY), said(3, "three", NOON - DAY)]  # a clock that was corrected
    write(tmp_path, *told)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    write(tmp_path, *told)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("state", ["", "{", "[]", '{"epoch": "3f2a"}'])
def test_state_that_was_cut_off_loses_and_doubles_nothing(tmp_path, state):
    write(tmp_path, said(1, "one"))
    (tmp_path / note_files.STATE).write_text(state)
    with NoteFiles(tmp_path) as notes:
        assert notes.position is None  # all that is held comes again
    write(tmp_path, said(1, "one"), said(2, "two"))
    assert re.findall(r"(\w+) <!--", (tmp_path / "2026-11-30.md").read_text()) == ["one", "two"]


def test_what_people_change_stays(tmp_path):
    write(tmp_path, said(1, "one"), said(2, "two"))
    page = tmp_path / "2026-11-30.md"
    page.write_text("# My day\n- edited <!-- 3f2a:1 -->\nremoved two, and no end of line")
    assert write(tmp_path, said(3, "three")) == Position("3f2a", 3)
    assert page.read_text().splitlines()[1:] == [
        "- edited <!-- 3f2a:1 -->",
        "removed two, and no end of line",
        "- 12:00:00 three <!-- 3f2a:3 -->",
    ]


def test_missing_finals_are_named(tmp_path):
    write(tmp_path, Gap(Position("3f2a", 1), "expired", 12), Gap(Position("3f2a", 1), "unknown_epoch"))
    (page,) = tmp_path.glob("*.md")
    assert "*12 notes are missing here" in page.read_text()
    assert "*Some notes are missing here" in page.read_text()


def test_full_disk_leaves_no_half_line_and_is_one_line(tmp_path, monkeypatch):
    write(tmp_path, said(1, "one"))
    page = tmp_path / "2026-11-30.md"
    before = page.read_text()
    written = os.write

    def full(descriptor, data):
        if len(data) > 10:
            return written(descriptor, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(note_files.os, "write", full)
        with pytest.raises(NotesError, match=r"11-30\.md: No space left on device; check"):
            write(tmp_path, said(2, "two, which is long"))
    assert page.read_text() == before
    assert write(tmp_path, said(2, "two, which is long")) == Position("3f2a", 2)
    assert "two, which is long" in page.read_text()


def test_directory_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotesError, match="file/notes: Not a directory; check"):
        NoteFiles(tmp_path / "file" / "notes")
    with NoteFiles(tmp_path), pytest.raises(NotesError, match="another 'rtstream notes' writes there"):
        NoteFiles(tmp_path)


def numbers(folder):
    return [int(found) for page in sorted(folder.glob("*.md")) for found in re.findall(r":(\d+) -->", page.read_text())]


async def test_every_final_stands_once_though_service_and_notes_are_killed(tmp_path):
    notes = tmp_path / "notes"
    service = await asyncio.to_thread(start_server, tmp_path, SLOWLY)
    writing = None
    try:
        for wanted in (5, 15, 30, 60):
            writing = await start("notes", "--server", f"unix:{tmp_path}/socket", notes)
            await until(lambda count=wanted: len(numbers(notes)) >= count)
            writing.kill()
            await writing.communicate()
            if wanted == 15:
                service.send_signal(signal.SIGKILL)
                await asyncio.to_thread(service.wait)
                service.stdout.close()
                service = await asyncio.to_thread(start_server, tmp_path, SLOWLY)
    finally:
        service.kill()
        service.wait()
        service.stdout.close()
    got = numbers(notes)
    assert len(got) >= 60
    assert got == list(range(1, len(got) + 1))
