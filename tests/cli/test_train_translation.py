"""A translation model on the command line: trained, stopped and gone on with, exported, measured."""

import json

import pytest

from rtstream.cli.main import main
from tests.training.tiny_pairs import write_pairs

RECIPE = """
task = "translation"
name = "tiny"
precision = "float32"
[model]
d_model = 16
heads = 2
ffn = 24
encoder_layers = 2
decoder_layers = 1
rank = 2
vocabulary = 60
max_tokens = 60
[data.files]
es = ["pairs-en-es.train.tsv.gz"]
de = ["pairs-en-de.train.tsv.gz"]
[optimizer]
steps = {steps}
pairs = 8
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_pairs(tmp_path / "texts")
    (tmp_path / "tiny.toml").write_text(RECIPE.format(steps=2))
    (tmp_path / "CARD.md").write_text("card")
    return tmp_path


def train(*more):
    return main(["train", "tiny.toml", "--texts", "texts", "--out", "run", *more])


def test_run_leaves_its_files_and_goes_on(place, capsys):
    assert train() == 0
    assert {path.name for path in (place / "run").iterdir()} == {
        "checkpoint.pt",
        "curves.png",
        "metrics.jsonl",
        "sentencepiece.model",
    }
    assert "step 2, 0.0 M tokens" in " ".join(capsys.readouterr().err.split())
    (place / "tiny.toml").write_text(RECIPE.format(steps=3))
    assert train() == 0
    assert "goes on after step 2" in capsys.readouterr().err
    lines = (place / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


@pytest.mark.usefixtures("place")
def test_run_and_bundle_are_measured(capsys):
    assert train() == 0
    assert main(["model", "export", "run", "bundle", "--card", "CARD.md"]) == 0
    assert "MB of weights" in capsys.readouterr().out
    options = ["--translate", "es", "--data", "texts", "--limit", "4", "--whole", "--json", "--examples", "2"]
    for model in ("run", "bundle"):
        assert main(["eval-translation", model, *options]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["input"] for row in rows] == ["clean", "spoken", "misheard"]
        assert all(0 <= row["bleu"] <= 100 and row["sentences"] == 4 for row in rows)
        assert rows[1]["examples"][0][0] == rows[1]["examples"][0][0].lower()
        assert [len(row["examples"]) for row in rows] == [2, 2, 2]


@pytest.mark.usefixtures("place")
def test_table_of_whole_sentences(capsys):
    assert train() == 0
    arguments = ["--translate", "de", "--data", "texts", "--whole", "--input", "clean", "--beam", "2", "--limit", "2"]
    assert main(["eval-translation", "run", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "BLEU" in shown
    assert "misheard" not in shown.splitlines()[3]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--texts", "absent"], "pairs-en-es.train.tsv.gz: in none of absent"),
        (["--from", "elsewhere"], "--from: a translation run starts from nothing"),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_does_not_fit_is_one_line(capsys, arguments, told):
    assert main(["train", "tiny.toml", "--out", "other", *arguments]) == 1
    shown = capsys.readouterr().err
    assert told in " ".join(shown.split())
    assert "Traceback" not in shown


def test_recipe_of_translation_is_strict(place, capsys):
    (place / "tiny.toml").write_text(RECIPE.format(steps=2).replace("pairs = 8", "seconds = 8"))
    assert train() == 1
    assert "optimizer.seconds" in capsys.readouterr().err


def test_numbers_of_a_translation_recipe_are_not_those_of_speech(place, capsys):
    assert main(["model", "info", str(place / "tiny.toml")]) == 1
    assert "a recipe for translation, not for speech" in capsys.readouterr().err
