"""A translation model on the command line: trained, stopped and gone on with, exported, measured."""

import json
import shutil

import pytest

from rtstream.cli.main import main
from tests.recognizer.tiny_bundle import save_tiny_bundle
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


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_pairs(folder / "texts")
    (folder / "tiny.toml").write_text(RECIPE.format(steps=2))
    (folder / "CARD.md").write_text("card")
    words = ["train", folder / "tiny.toml", "--texts", folder / "texts", "--out", folder / "run"]
    assert main([str(word) for word in words]) == 0
    words = ["model", "export", folder / "run", folder / "bundle", "--card", folder / "CARD.md"]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def bundle(made, place):
    """Made of a run, which is there too."""
    shutil.copytree(made / "run", place / "run")
    return shutil.copytree(made / "bundle", place / "bundle")


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
        (["--from", "elsewhere"], "elsewhere: no model that translates (sentencepiece.model is missing)"),
        (["--from", "speech"], "speech: no model that translates (sentencepiece.model is missing)"),
        (["--from", "texts/empty"], "texts/empty: no model that translates"),
        (["--from", "damaged"], "model.safetensors: the checksum differs"),
        (["--from", "run/checkpoint.pt"], "run/checkpoint.pt: not a checkpoint of a training run"),
    ],
)
def test_what_does_not_fit_is_one_line(place, bundle, capsys, arguments, told):
    save_tiny_bundle(place / "speech")
    (place / "texts/empty").mkdir()
    shutil.copytree(bundle, "damaged")
    (place / "damaged/model.safetensors").write_bytes(b"")
    (place / "run/checkpoint.pt").write_bytes(b"PK")
    assert main(["train", "tiny.toml", "--out", "other", *arguments]) == 1
    shown = capsys.readouterr().err
    assert told in " ".join(shown.split())
    assert "Traceback" not in shown


@pytest.mark.parametrize("source", ["run/checkpoint.pt", "bundle"])
def test_run_starts_from_another_run_or_a_bundle_and_goes_on_without_it(place, bundle, capsys, source):
    assert train("--out", "further", "--from", source) == 0
    assert (place / "further/sentencepiece.model").read_bytes() == (bundle / "sentencepiece.model").read_bytes()
    (place / "tiny.toml").write_text(RECIPE.format(steps=3))
    assert train("--out", "further") == 0
    assert "goes on after step 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ffn = 24": "ffn = 32"}, "--from: its encoder has ffn 24, the recipe 32: they must agree"),
        ({"rank = 2": "rank = 3"}, "--from: its encoder has rank 2, the recipe 3: they must agree"),
        ({"decoder_layers = 1": "decoder_layers = 2"}, "--from: its decoder has layers 1, the recipe 2"),
        ({"vocabulary = 60": "vocabulary = 61"}, "--from: its decoder has vocabulary 60, the recipe 61"),
        ({"max_tokens = 60": "max_tokens = 70"}, "--from: its decoder has max_tokens 60, the recipe 70"),
        ({"de = [": "nl = ["}, "--from: it translates into es, de, not into nl: take that out of the recipe"),
    ],
)
@pytest.mark.usefixtures("bundle")
def test_start_that_does_not_fit_the_recipe_is_one_line_that_names_what_differs(place, capsys, changes, told):
    text = RECIPE.format(steps=2)
    for before, after in changes.items():
        text = text.replace(before, after)
    (place / "tiny.toml").write_text(text)
    assert train("--out", "further", "--from", "bundle") == 1
    shown = capsys.readouterr().err
    assert told in " ".join(shown.split())
    assert "Traceback" not in shown
    assert not list((place / "further").iterdir())


@pytest.mark.parametrize("source", ["run", "bundle"])
@pytest.mark.usefixtures("bundle")
def test_speech_run_does_not_start_from_a_model_that_translates(capsys, source):
    assert main(["train", "base", "--out", "other", "--from", source]) == 1
    shown = capsys.readouterr().err
    assert f"{source}: a model that translates (sentencepiece.model is there), not one of speech" in " ".join(
        shown.split()
    )
    assert "Traceback" not in shown


def test_recipe_of_translation_is_strict(place, capsys):
    (place / "tiny.toml").write_text(RECIPE.format(steps=2).replace("pairs = 8", "seconds = 8"))
    assert train() == 1
    assert "optimizer.seconds" in capsys.readouterr().err
