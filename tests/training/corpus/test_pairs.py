"""Pair files: only what weights may be made of is read, and what is broken is named."""

import gzip

import pytest

from rtstream.errors import TrainingError
from rtstream.training.corpus.pairs import SHIPPABLE, read_pairs, read_references

LINES = "Hi.\tHallo.\ttatoeba-laser\nGo.\tGeh.\twesnoth\nNo.\tNein.\twesnoth+tatoeba-challenge\n"


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_sources_that_may_not_be_shipped_are_left_out(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES.encode()) if name.endswith(".gz") else LINES.encode())
    assert read_pairs(path, SHIPPABLE) == [("Hi.", "Hallo."), ("No.", "Nein.")]
    assert len(read_pairs(path, {"wesnoth"})) == 2


def test_references_of_a_sentence_are_a_list(tmp_path):
    path = tmp_path / "dev.tsv"
    path.write_text('Hi.\t["Hallo.", "Hi."]\ttatoeba-laser\n')
    (row,) = read_references(path)
    assert (row.english, row.translations, row.source) == ("Hi.", ("Hallo.", "Hi."), "tatoeba-laser")


@pytest.mark.parametrize("text", ["one\n", "a\tb\n", "\tb\tc\n", "a\t\tc\n", "a\tb\tc\td\n"])
def test_line_that_is_no_pair_is_named(tmp_path, text):
    path = tmp_path / "pairs.tsv"
    path.write_text(LINES + text)
    with pytest.raises(TrainingError, match=r"pairs\.tsv: line 4 is no pair"):
        read_pairs(path, SHIPPABLE)


def test_broken_files_are_one_line(tmp_path):
    with pytest.raises(TrainingError, match=r"absent\.tsv: pairs cannot be read"):
        read_pairs(tmp_path / "absent.tsv", SHIPPABLE)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(LINES.encode() * 99)[:60])
    with pytest.raises(TrainingError, match="pairs cannot be read"):
        read_pairs(tmp_path / "cut.gz", SHIPPABLE)
    (tmp_path / "dev.tsv").write_text("a\tnot json\tc\n")
    with pytest.raises(TrainingError, match="line 1 must be english, a JSON list"):
        read_references(tmp_path / "dev.tsv")
