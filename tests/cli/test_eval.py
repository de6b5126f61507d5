"""``rtstream eval``: what it measures of phrases."""

import json
import tarfile

import pytest

from rtstream.cli.main import main
from tests.recognizer.tiny_bundle import DATA

CLIP = DATA / "cv-romanians.flac"
TEXT = "romanians germans and russians also lived in the city"


@pytest.fixture
def measure(tiny_bundle, tmp_path, capsys):
    """Evaluate one recorded clip with the tiny model: exit code, rows, standard error."""
    with tarfile.open(tmp_path / "dev-one.tar", "w") as archive:
        archive.add(CLIP, CLIP.name)
    row = {"id": CLIP.stem, "file": CLIP.name, "dur": 4.392, "text": TEXT, "lang": "en"}
    (tmp_path / "dev-one.jsonl").write_text(json.dumps(row) + "\n")
    listed = tmp_path / "names.txt"

    def run(phrases=None):
        arguments = ["eval", tiny_bundle, "dev-one", "--data", tmp_path, "--partials", "none", "--engine", "float"]
        if phrases is not None:
            listed.write_text(phrases)
            arguments += ["--phrases", listed]
        code = main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return run


def test_phrases_are_measured_without_and_with_them(measure):
    code, found, err = measure("Romanians=2\n\nGrafana\n")
    assert (code, err) == (0, "")
    assert [row["phrases"] for row in found] == [0, 2]
    assert all((row["found"], row["invented"]) == ("0/1", 0) for row in found)
    assert all(row["other_wer"] > 0 for row in found)
    (plain,) = measure()[1]
    assert "phrases" not in plain
    assert plain["wer"] == found[0]["wer"]


@pytest.mark.parametrize(("content", "told"), [("x=abc\n", "'x=abc'"), ("\n", "no phrase")])
def test_file_of_phrases_that_holds_none_is_one_line(measure, content, told):
    code, found, err = measure(content)
    assert (code, found) == (1, [])
    assert err.startswith("rtstream: error: ")
    assert "names.txt: " in err
    assert told in err
    assert err.count("\n") == 1
