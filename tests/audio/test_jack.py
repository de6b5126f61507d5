"""What a killed process has left of JACK's metadata hangs nobody; what is in use stays."""

import mmap
import os

import pytest

from rtstream.audio.jack import remove_unused_metadata


@pytest.fixture
def metadata(tmp_path):
    folder = tmp_path / f"jack_db-{os.getuid()}"
    folder.mkdir()
    (folder / "__db.001").touch()  # as a process leaves it that is killed behind its first step
    return folder


def test_metadata_that_nobody_has_mapped_is_removed(metadata):
    assert remove_unused_metadata(metadata.parent)
    assert list(metadata.parent.iterdir()) == []


def test_metadata_of_a_process_that_lives_stays(metadata):
    (metadata / "__db.001").write_bytes(bytes(mmap.PAGESIZE))
    with (metadata / "__db.001").open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert not remove_unused_metadata(metadata.parent)
    assert metadata.exists()
    assert remove_unused_metadata(metadata.parent)


def test_no_metadata_and_metadata_of_others_are_left_alone(tmp_path):
    assert not remove_unused_metadata(tmp_path)
    others = tmp_path / f"jack_db-{os.getuid() + 1}"
    others.mkdir()
    assert not remove_unused_metadata(tmp_path)
    assert others.exists()


def test_a_link_is_not_followed(metadata, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    metadata.rename(elsewhere)
    metadata.symlink_to(elsewhere)
    assert not remove_unused_metadata(tmp_path)
    assert (elsewhere / "__db.001").exists()
