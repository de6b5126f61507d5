"""``rtstream ablation`` on the command line: what it writes, shows and refuses."""

import json
import subprocess
import sys

import pytest

from rtstream.cli.main import main
from tests.research.ablation.tiny_plan import PLAN, write_places


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_places(tmp_path)
    (tmp_path / "tiny.toml").write_text(PLAN)
    return tmp_path


def ablation(*more):
    data = () if "--data" in more else ("--data", "audio")
    return main(["ablation", "tiny.toml", *data, "--teacher", "none", "--clips", "1", *more])


def test_chosen_arm_is_trained_measured_and_drawn_again(place, capsys):
    assert ablation("--from", "start", "--arms", "k2", "--threads", "1") == 0
    shown = capsys.readouterr()
    runs = place / "home/.cache/rtstream/runs"
    assert shown.out.strip() == str(runs / "tiny/table.md")
    told = " ".join(shown.err.split())
    assert "step 3, 0.00 h of audio; finished" in told
    assert "tiny-k2: dev-two: WER" in told
    assert {path.name for path in (runs / "tiny-k2").iterdir()} == {
        "checkpoint.pt",
        "curves.png",
        "metrics.jsonl",
        "results.json",
        "tokenizer.json",
    }
    before = (runs / "tiny/table.md").read_text()
    (runs / "tiny/table.md").unlink()
    (runs / "tiny/figure.png").unlink()
    assert main(["ablation", "tiny.toml", "--table"]) == 0  # of as many clips as there are figures of
    assert (runs / "tiny/table.md").read_text() == before
    assert (runs / "tiny/figure.png").exists()
    assert {row["taken"] for row in json.loads((runs / "tiny-k2/results.json").read_text())["rows"]} == {1}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--arms", "k2,k9"], "--arms: tiny has no arm 'k9'; it has unshared, k2"),
        (["--table"], "no run of tiny has been begun there: nothing to draw yet"),
        (["--data", "elsewhere"], "dev-one: no shard (needs .tar and .jsonl) in elsewhere"),
        (["--from", "elsewhere"], "2 of tiny's 2 runs failed, the same command tries again: tiny-unshared: elsewhere"),
        ([], "none: no Whisper checkpoint"),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_does_not_fit_is_one_line(capsys, arguments, told):
    assert ablation(*arguments) == 1
    shown = capsys.readouterr().err
    (line,) = [line for line in shown.splitlines() if "rror: " in line and not line.startswith("tiny-")]
    assert told in line
    assert "Traceback" not in shown


@pytest.mark.usefixtures("place")
def test_unknown_plan_names_the_shipped_ones(capsys):
    assert main(["ablation", "absent"]) == 1
    assert "absent: no such plan; " in capsys.readouterr().err
    assert main(["train", "bakeoff"]) == 1
    assert "give it to rtstream ablation" in capsys.readouterr().err


def test_help_does_without_torch():
    program = (
        "import sys; from rtstream.cli.main import main; main(['ablation', '--help']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
