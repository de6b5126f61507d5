"""``rtstream train``: from teacher to checkpoint, stopped and gone on with, alone and in two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rtstream.cli.main import main
from rtstream.cli.train import stop_on_signals
from tests.training.tiny_training import write_data
from tests.training.tiny_whisper import make_weights, write_hugging_face

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "tiny"
chunks = [0, 8]
precision = "float32"
[vocabulary]
texts = ["words.txt"]
[optimizer]
steps = {steps}
seconds = 1.0
[sources]
speech = 1.0
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with data, texts, teacher and recipe; commands run in it, with a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_data(tmp_path / "audio")
    (tmp_path / "words.txt").write_text("the end and our thing\n")
    write_hugging_face(tmp_path / "teacher", make_weights())
    (tmp_path / "tiny.toml").write_text(RECIPE.format(steps=2))
    return tmp_path


def arguments(recipe="tiny.toml", *more, out="run"):
    return ["train", recipe, "--data", "audio", "--texts", ".", "--teacher", "teacher", "--out", out, *more]


def steps(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_run_leaves_checkpoint_tokenizer_metrics_and_curves(place, capsys):
    assert main(arguments()) == 0
    assert {path.name for path in (place / "run").iterdir()} == {
        "checkpoint.pt",
        "curves.png",
        "metrics.jsonl",
        "tokenizer.json",
    }
    assert steps(place / "run") == [1, 2]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "step 2, 0.00 h of audio; finished" in " ".join(shown.err.split())


def test_run_goes_on_where_it_stood(place, capsys):
    assert main(arguments()) == 0
    (place / "tiny.toml").write_text(RECIPE.format(steps=3))
    (place / "run" / "metrics.jsonl").open("a").write('{"step": 3}\n')  # of a process that was killed
    capsys.readouterr()
    assert main(arguments()) == 0
    assert "goes on after step 2" in capsys.readouterr().err
    assert steps(place / "run") == [1, 2, 3]
    assert "ctc" in (place / "run" / "metrics.jsonl").read_text().splitlines()[-1]


def test_default_directory_is_in_the_cache_by_the_recipes_name(place):
    command = arguments()
    del command[command.index("--out") :]
    assert main(command) == 0
    assert (place / "home/.cache/rtstream/runs/tiny/checkpoint.pt").exists()


def test_what_the_teacher_makes_is_kept_in_the_cache_and_used_again(place):
    taught = RECIPE.format(steps=1) + "[loss]\nimitation = 1.0\n"
    (place / "taught.toml").write_text("taught = 0.01\n" + taught)
    assert main(arguments("taught.toml")) == 0
    kept = {path: path.read_bytes() for path in (place / "home/.cache/rtstream/taught").rglob("speech.*")}
    assert {path.suffix for path in kept} == {".f16", ".jsonl"}
    assert json.loads((place / "run/metrics.jsonl").read_text())["distance"] > 0
    assert main(arguments("taught.toml", out="second")) == 0
    assert {path: path.read_bytes() for path in kept} == kept
    assert {path.name for path in place.iterdir()} >= {"home", "run", "second"}
    assert not (place / "~").exists()


@pytest.mark.parametrize("start", ["run", "run/checkpoint.pt", "bundle"])
def test_run_can_start_from_another_run_or_a_bundle(place, start):
    assert main(arguments()) == 0
    if start == "bundle":
        (place / "CARD.md").write_text("card")
        assert main(["model", "export", "run", "bundle", "--card", "CARD.md"]) == 0
    shared = RECIPE.format(steps=1).replace("tiny", "shared") + "[encoder]\nshare = 2\nrank = 4\n"
    (place / "shared.toml").write_text(shared)
    assert main(arguments("shared.toml", "--from", start, out="second")) == 0
    state = torch.load(place / "second/checkpoint.pt", weights_only=True)
    assert (state["config"]["encoder"]["share"], state["step"]) == (2, 1)
    first, second = (json.loads((place / run / "tokenizer.json").read_text()) for run in ("run", "second"))
    assert first == second


def test_changed_structure_needs_another_directory(place, capsys):
    assert main(arguments()) == 0
    (place / "tiny.toml").write_text(RECIPE.format(steps=3) + "[encoder]\nshare = 2\n")
    assert main(arguments()) == 1
    assert "its encoder has share 1, the recipe 2" in capsys.readouterr().err


def test_plot_draws_and_trains_nothing(place, capsys):
    assert main(arguments("tiny.toml", "--plot")) == 1
    assert "no steps to draw yet" in capsys.readouterr().err
    assert main(arguments()) == 0
    (place / "run/curves.png").unlink()
    capsys.readouterr()
    assert main(arguments("tiny.toml", "--plot")) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes().startswith(b"\x89PNG")
    assert steps(place / "run") == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: "absent.toml"}, "absent.toml: no such recipe; give a TOML file, or the name of a shipped one: "),
        ({1: "bas"}, "bas: no such recipe"),
        ({3: "absent"}, "noise: no shard (needs .tar and .jsonl) in absent"),
        ({5: "absent"}, "absent/words.txt: text for the vocabulary cannot be read"),
        ({7: "absent"}, "absent: no Whisper checkpoint"),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_is_missing_is_one_line(capsys, change, message):
    command = arguments()
    for index, value in change.items():
        command[index] = value
    assert main(command) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rtstream: error: ")]
    assert message in line


@pytest.mark.parametrize(("start", "message"), [("absent", "not a checkpoint"), (".", "neither a run")])
@pytest.mark.usefixtures("place")
def test_start_that_is_none_is_one_line(capsys, start, message):
    assert main(arguments("tiny.toml", "--from", start)) == 1
    assert message in capsys.readouterr().err


def test_missing_package_of_the_train_extra_is_one_line(place, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "rtstream.training.core.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.backends.backend_agg", raising=False)
    monkeypatch.delitem(sys.modules, "matplotlib.backends", raising=False)
    assert main(arguments()) == 1
    shown = capsys.readouterr().err
    assert "'matplotlib" in shown
    assert "rtstream[train]" in shown
    assert not (place / "run").exists()


def test_first_signal_asks_to_stop_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGTERM)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


PROGRAM = "import sys; from rtstream.cli.main import main; sys.exit(main(sys.argv[1:]))"


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_process_saves_and_exits_cleanly(place, number):
    (place / "tiny.toml").write_text(RECIPE.format(steps=100_000))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments()], env=environment(), stderr=subprocess.PIPE, start_new_session=True
    )
    metrics = place / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.1)
    os.killpg(process.pid, number)  # Ctrl-C on a terminal and systemd's stop reach the loader's process too
    errors = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "stopped; the same command goes on" in " ".join(errors.split())
    assert torch.load(place / "run/checkpoint.pt", weights_only=True)["step"] == steps(place / "run")[-1]


@pytest.mark.slow
def test_two_processes_under_torchrun_print_once_and_share_the_run(place):
    (place / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    done = subprocess.run(
        [*torchrun, *arguments("tiny.toml", "--threads", "1")], env=environment(), capture_output=True, check=False
    )
    errors = " ".join(done.stderr.decode().split())
    assert done.returncode == 0, errors
    assert errors.count("reading teacher and data") == 1
    assert errors.count("step 2, 0.00 h of audio; finished") == 1
    assert steps(place / "run") == [1, 2]
