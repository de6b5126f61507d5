"""``rtstream eval``: what it measures of phrases, lag, beside a teacher, and of clips without English words."""

import json
import tarfile

import pytest

from rtstream.bundle import default
from rtstream.cli.main import main
from rtstream.recognizer.recognizer import RecognizerConfig
from tests.recognizer.tiny_bundle import DATA
from tests.training.tiny_dictation import save_dictating_whisper
from tests.vad.recordings import needs_silero

CLIP = DATA / "cv-romanians.flac"
TEXT = "romanians germans and russians also lived in the city"


@pytest.fixture
def evaluate(tiny_bundle, tmp_path, capsys, monkeypatch):
    """Evaluate a recording, once as English and once as if it were German: exit code, output, standard error."""
    monkeypatch.setenv("COLUMNS", "250")  # or a narrow terminal folds the table
    with tarfile.open(tmp_path / "dev-one.tar", "w") as archive:
        archive.add(CLIP, CLIP.name)
    row = {"id": CLIP.stem, "file": CLIP.name, "dur": 4.392, "text": TEXT}
    rows = [row | {"lang": "en"}, row | {"lang": "de"}]
    (tmp_path / "dev-one.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))

    def run(name, *more):
        options = ["--data", tmp_path, "--partials", "none", "--engine", "float", *more]
        code = main([*map(str, ["eval", tiny_bundle, name, *options])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def measure(evaluate, tmp_path):
    """Evaluate the English clip, with these phrases listed: exit code, rows, standard error."""
    listed = tmp_path / "names.txt"

    def run(phrases=None, *more):
        if phrases is not None:
            listed.write_text(phrases)
            more = ("--phrases", listed, *more)
        code, out, err = evaluate("dev-one:en", "--json", *more)
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def test_a_clip_that_cannot_be_read_takes_nothing_away_that_was_measured_before(evaluate, tmp_path):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(CLIP.read_bytes()[:20_000])
    with tarfile.open(tmp_path / "dev-two.tar", "w") as archive:
        archive.add(broken, CLIP.name)
    (tmp_path / "dev-two.jsonl").write_text((tmp_path / "dev-one.jsonl").read_text())
    code, out, err = evaluate("dev-one:en", "dev-two:en")
    assert code == 1
    assert "dev-one:en" in out
    assert f"{tmp_path}/dev-two.tar: the clip at byte " in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("evaluate")
def test_a_model_that_ships_is_known_by_its_name(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "little").symlink_to(tiny_bundle)
    monkeypatch.setattr(default, "CHECKOUT", tmp_path / "shipped")
    options = ("dev-one:en", "--data", str(tmp_path), "--engine", "float", "--partials", "none")
    assert main(["eval", "little", *options]) == 0
    assert main(["eval", "nothing", *options]) == 1


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


@needs_silero
def test_gate_is_one_of_two(measure):
    code, (row,), err = measure(None, "--vad", "silero")
    assert (code, err) == (0, "")
    assert row["vad"] == "silero"
    assert measure()[1][0]["vad"] == "webrtc"


def test_teacher_is_measured_on_the_same_clips(evaluate, tmp_path):
    teacher = save_dictating_whisper(tmp_path / "teacher", " Romanians, Germans and Russians.")
    outs = [
        evaluate("dev-one:en", "--teacher", teacher, "--teacher-beam", beam, "--json", "--chunk-ms", "full")
        for beam in (1, 5)
    ]
    assert [(code, err) for code, _, err in outs] == [(0, "")] * 2
    greedy, row = (json.loads(out) for _, out, _ in outs)
    assert greedy["teacher"]["wer"] == row["teacher"]["wer"]
    assert row["teacher"]["wer"] == pytest.approx(100 * 5 / 9, abs=0.01)
    assert (row["teacher"]["punctuation"], row["teacher"]["case"]) == (None, None)
    assert row["against_teacher"]["punctuation"]["all"]["wanted"] == 2
    assert row["against_teacher"]["case"] is not None
    code, out, _ = evaluate("dev-one:en", "--teacher", teacher)
    assert code == 0
    assert {"WER", "teacher", "punctuation", "case"} <= set(out.split())


def test_digits_are_right_or_wrong_as_a_whole(evaluate, tmp_path):
    index = tmp_path / "dev-one.jsonl"
    index.write_text(index.read_text().replace(TEXT, "five five oh"))
    teacher = save_dictating_whisper(tmp_path / "teacher", " 5-50.")
    code, out, err = evaluate("dev-one:en", "--teacher", teacher, "--json")
    assert (code, err) == (0, "")
    row = json.loads(out)
    assert row["teacher"]["digits"] == {"clips": 1, "right": 1, "accuracy": 100, "error_rate": 0}
    assert (row["digits"]["clips"], row["digits"]["right"]) == (1, 0)
    code, out, _ = evaluate("dev-one:en")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("│ dev-one:en │ float")]
    assert [cell.strip() for cell in line.split("│")[-4:-2]] == ["1", "0.0"]
    assert "wrong digits: of all of them" in " ".join(out.split())


def test_set_without_punctuation_and_case_says_that_it_has_none(evaluate):
    code, out, _ = evaluate("dev-one:en")
    assert code == 0
    assert "-: the set's references have none" in " ".join(out.split())
    (row,) = [line for line in out.splitlines() if line.startswith("│ dev-one:en │ float")]
    assert [cell.strip() for cell in row.split("│")[-3:-1]] == ["-", "-"]


def test_what_is_written_of_other_languages_is_counted_and_listed(evaluate):
    code, out, err = evaluate("dev-one:de", "--json")
    assert (code, err) == (0, "")
    row = json.loads(out)
    assert (row["clips"], row["wer"], row["punctuation"]) == (1, None, None)
    (text,) = row["published"]["texts"]
    assert row["published"]["words_per_hour"] == pytest.approx(len(text["text"].split()) * 3600 / 4.392, abs=0.1)
    code, out, _ = evaluate("dev-one:de")
    assert out.splitlines()[-1] == f"dev-one:de float 640\tde\t{text['text']}"


def test_as_many_clips_as_asked_for_are_measured(evaluate):
    assert [json.loads(evaluate("dev-one", "--json", *more)[1])["clips"] for more in ([], ["--clips", "1"])] == [2, 1]


def test_kind_of_clip_that_a_set_lacks_is_one_line(evaluate):
    code, out, err = evaluate("dev-one:fr")
    assert (code, out) == (1, "")
    assert err.startswith("rtstream: error: ")
    assert err.endswith("dev-one: no usable clip in the shard of the kind 'fr': it has de, en\n")


def test_each_stop_is_measured_once_and_whole_segments_have_none(measure):
    more = ("--partials", "decoder", "--chunk-ms", "640", "--chunk-ms", "full")
    code, found, err = measure(None, *more, "--stop-ms", "400, 0", "--stop-ms", "400")
    assert (code, err) == (0, "")
    assert [(row["chunk_ms"], row["stop_ms"]) for row in found] == [("640", 0), ("640", 400), ("full", None)]
    code, found, _ = measure(None, *more)
    assert code == 0
    assert [row["stop_ms"] for row in found] == [RecognizerConfig().stop_ms, None]


def test_each_beam_is_measured(measure, evaluate):
    code, found, err = measure(None, "--beam", "1", "--beam", "3")
    assert (code, err) == (0, "")
    assert [row["beam"] for row in found] == [1, 3]
    assert " beam " in evaluate("dev-one", "--beam", "1", "--beam", "3")[1]
    assert " beam " not in evaluate("dev-one", "--beam", "3")[1]
    assert evaluate("dev-one", "--beam", "6")[0] == 2


def test_words_of_partials_are_less_late_than_those_of_the_final(measure):
    (row,) = measure(None, "--partials", "ctc")[1]
    (without,) = measure()[1]
    lag, late = row["lag_ms"], without["lag_ms"]
    assert (lag["words"], without["shown_words"], late["early"]) == (late["words"], 0, None)
    assert 0 < lag["early"]["words"] <= lag["words"]
    assert lag["mean"] < late["mean"]
    assert row["stop_ms"] is None


def test_lags_are_a_table_and_a_plot(evaluate, tmp_path):
    target = tmp_path / "lag.png"
    code, out, err = evaluate("dev-one:en", "--partials", "ctc", "--plot", target)
    assert (code, err) == (0, "")
    assert {"stop", "lag", "p90", "early"} <= set(out.split())
    assert target.read_bytes().startswith(b"\x89PNG")


def test_plot_without_partials_is_one_line_behind_what_was_measured(evaluate, tmp_path):
    code, out, err = evaluate("dev-one", "--plot", tmp_path / "lag.png")
    assert code == 1
    assert "WER" in out
    assert (
        err == f"rtstream: error: {tmp_path}/lag.png: nothing to draw: no partial of English speech has been scored\n"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--partials", "decoder", "--stop-ms", "0,30"], "stop_ms: 30 is not allowed; give a multiple of 20"),
        (["--partials", "decoder", "--stop-ms", "0,"], "'' is no number of milliseconds"),
        (["--partials", "decoder", "--stop-ms=-20"], "'-20' is no number of milliseconds"),
        (["--partials", "ctc", "--stop-ms", "200"], "--stop-ms is for the decoder's partials, not for --partials ctc"),
    ],
)
def test_wrong_stop_is_told_before_anything_is_measured(measure, options, told):
    code, found, err = measure(None, *options)
    assert code in {1, 2}
    assert found == []
    assert told in err
    assert "Traceback" not in err
