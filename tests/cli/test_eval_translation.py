"""``eval-translation`` with a model that writes in capitals."""

import gzip
import json

import pytest

from rtstream.cli.main import main
from tests.translation.tiny_ctranslate2 import save_shouting_model

TEXTS = ("So it goes.", "A high wall divided the courtyard from the men's.", "Twelve!")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_shouting_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    spoken = [text.strip(".!").upper() for text in TEXTS]
    lines = [f"{text}\t{json.dumps([said, 'no'])}\ttest" for text, said in zip(TEXTS, spoken, strict=True)]
    with gzip.open(folder / "pairs-en-es.dev.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def evaluate(model, data, capsys):
    def run(*options, translate="es"):
        code = main(["eval-translation", str(model), "--translate", translate, "--data", str(data), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_scores_of_each_mask_are_lines_of_json(evaluate):
    code, out, err = evaluate("--mask", "0", "--mask", "2", "--keep", "partials", "--keep", "all", "--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["keep"], row["mask"]) for row in rows] == [
        *(("partials", 0), ("partials", 2), ("all", 0), ("all", 2)),
    ]
    assert {row["bleu"] for row in rows} == {100.0}
    assert {row["erasure"] for row in rows} == {0.0}
    assert rows[0]["laal"] < rows[1]["laal"]


def test_context_of_earlier_finals_is_measured(evaluate):
    code, out, err = evaluate("--mask", "0", "--context", "0", "--context", "2", "--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["context"], row["bleu"]) for row in rows] == [(0, 100.0), (2, 100.0)]


def test_table_and_plot(evaluate, tmp_path):
    code, out, err = evaluate("--plot", str(tmp_path / "lag.png"), "--limit", "2", "--join", "2")
    assert (code, err) == (0, "")
    assert "LAAL" in out
    assert (tmp_path / "lag.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("translate", "told"),
    [("fr", "pairs-en-fr.dev.tsv.gz"), ("es,fr", "pairs-en-fr.dev.tsv.gz"), ("spanish", "no language tag")],
)
def test_what_is_missing_is_told(evaluate, translate, told):
    code, out, err = evaluate(translate=translate)
    assert code in {1, 2}
    assert out == ""
    assert told in err
    assert "Traceback" not in err


def test_languages_must_be_named(capsys):
    assert main(["eval-translation", "somewhere"]) == 2
    assert "Missing option '--translate'" in capsys.readouterr().err
