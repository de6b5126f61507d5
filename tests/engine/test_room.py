"""Too little memory is said before it is taken."""

import pytest

from rtstream.bundle.bundle import read_manifest
from rtstream.bundle.default import CHECKOUT
from rtstream.engine import room
from rtstream.engine.open import load_bundle
from rtstream.errors import BundleError
from tests.recognizer.tiny_bundle import save_tiny_bundle

MEBI = 1 << 20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine's files: its memory in MiB, and control groups' limit, use, and what of it is of files."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }

    def make(available, groups=(), version=2):
        (tmp_path / "meminfo").write_text(f"MemTotal: {2 * available << 10} kB\nMemAvailable: {available << 10} kB\n")
        entry = "0::" if version == 2 else "4:cpu,memory:"
        (tmp_path / "group").write_text(f"9:pids:/\n{entry}/{'/'.join('x' * len(groups))}\n")
        folder = tmp_path / "fs" / ("" if version == 2 else "memory")
        for limit, used, files in groups:
            folder = folder / "x"
            folder.mkdir(parents=True)
            values = ("max" if limit is None else str(limit * MEBI), str(used * MEBI), str(files * MEBI))
            most, now, cached = names[version]
            (folder / most).write_text(values[0])
            (folder / now).write_text(values[1])
            (folder / "memory.stat").write_text(f"anon 7\n{cached} {values[2]}\n")
        monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")
        monkeypatch.setattr(room, "GROUP", tmp_path / "group")
        monkeypatch.setattr(room, "GROUPS", tmp_path / "fs")

    return make


@pytest.mark.parametrize("version", [1, 2])
def test_available_is_the_least_that_the_system_and_all_control_groups_leave(machine, version):
    machine(900, [(400, 250, 50), (1000, 10, 0)], version)
    assert room.available() == 200 * MEBI
    assert room.total() == 400 * MEBI


def test_a_group_without_a_limit_leaves_what_the_system_has(machine):
    machine(900, [(None, 10, 0)])
    assert (room.available(), room.total()) == (900 * MEBI, 1800 * MEBI)


def test_a_system_that_does_not_say_refuses_nothing(machine, tmp_path):
    machine(1)
    (tmp_path / "meminfo").unlink()
    (tmp_path / "group").unlink()
    assert room.available() is None
    room.check_room(read_manifest(CHECKOUT / "tiny")[1], first=True)


def test_a_first_start_and_a_larger_model_need_more():
    base, tiny = (read_manifest(CHECKOUT / name)[1] for name in ("base", "tiny"))
    assert room.needed(tiny, first=False) < room.needed(tiny) < room.needed(base)


def test_a_model_for_which_there_is_no_room_is_refused_with_the_figures(machine, tmp_path, monkeypatch):
    path = save_tiny_bundle(tmp_path / "bundle")
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    machine(60, [(30, 20, 0)])
    monkeypatch.setattr(room, "STATUS", tmp_path / "nothing")
    monkeypatch.setattr("rtstream.engine.open.read_tensors", lambda *_: pytest.fail("the weights were read"))
    with pytest.raises(BundleError, match=r"the model needs 12\d MiB of memory and there are 10: stop other programs"):
        load_bundle(path)
