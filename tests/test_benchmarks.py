"""The benchmarks' own arithmetic; that what ships takes and writes what is kept; a worker as others start it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import check, run
from benchmarks.check import FIGURES, Figures, Measured, compared, compared_measured, distance, words
from tests.vad.recordings import read_clip

ROOT = Path(__file__).parent.parent
KEPT = Figures(1000, 10**9, 10.0, 3, 100, {"a": " ".join(map(str, range(100)))})


@pytest.mark.parametrize(
    ("reference", "text", "errors"),
    [
        ("we went home", "we went home", 0),
        ("we went home", "we home", 1),
        ("", "we", 1),
        ("we", "", 1),
        ("a b", "b a", 2),
    ],
)
def test_errors_are_words_left_out_put_in_or_exchanged(reference, text, errors):
    assert distance(reference, text) == errors


def test_case_and_marks_are_no_errors():
    assert words("We went, home: it's 5.") == ["we", "went", "home", "it's", "5"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"bytes": 900, "multiply_adds": 1, "calls": 1.0, "errors": 0}, ""),
        ({"bytes": 1001}, "bytes: 1,001 where 1,000 were kept"),
        ({"multiply_adds": 1_019_000_000}, ""),
        ({"multiply_adds": 1_030_000_000}, "multiply-adds"),
        ({"calls": 10.3}, "calls of the network"),
        ({"errors": 4}, ""),
        ({"errors": 5}, "errors: 5 of 100 words where 3 were kept"),
        ({"texts": {"a": " ".join(map(str, range(98)))}}, ""),
        ({"texts": {"a": " ".join(map(str, range(90)))}}, "a: '90 91 92 93 94 95 96 97 98 99' is now ''"),
    ],
)
def test_what_is_worse_than_the_bounds_allow_is_told(change, told):
    lines = compared(KEPT, replace(KEPT, **change))
    assert [told in line for line in lines] == [True] * bool(told)


def test_what_others_disturb_has_wider_bounds():
    assert compared_measured(Measured(0.1, 100), Measured(0.109, 104)) == []
    assert len(compared_measured(Measured(0.1, 100), Measured(0.12, 110))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("model", check.MODELS)
def test_shipped_models_take_and_write_what_is_kept(model):
    kept = dict(json.loads(FIGURES.read_text())[model])
    kept.pop("measured", None)
    assert compared(Figures(**kept), check.figures(model)[0]) == [], (
        "if it is meant: python -m benchmarks.check --update"
    )


def cell(system, **more):
    row = {"system": system, "mode": "live", "group": "5 s", "date": "2026-11-30", "machine": "M", "version": "0.1.0"}
    row |= {"busy": 0.0, "cpu": 0.1, "wer": 5.0, "clips": 10, "seconds": 50.0, "start": 1.0, "bytes": 10**6}
    row |= {"peak": 10**8, "private": 10**7, "final": {"p50": 0.1, "p95": 0.2, "p99": 0.3}, "first": 1.2}
    return row | more


def test_tables_say_what_was_not_measured_and_what_was_on_a_busy_machine():
    shown = run.tables([cell("rtstream-base"), cell("whisper-base", busy=1.5)]).splitlines()
    (own,) = [line for line in shown if line.startswith("| rtstream-base")]
    (busy,) = [line for line in shown if line.startswith("| whisper-base")]
    (none,) = [line for line in shown if line.startswith("| pocketsphinx")]
    assert "| 0.100 | 5.0 | 100 |" in own
    assert "| 0.100* |" in busy
    assert "not measured" in none
    assert len({line.count("|") for line in (own, busy, none)}) == 1


def test_worker_recognises_as_the_service_does(tmp_path):
    np.save(tmp_path / "clip.npy", read_clip(ROOT / "tests" / "data" / "cv-utica.flac"))
    given = json.dumps([{"id": "clip", "audio": str(tmp_path / "clip.npy")}])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "worker.py"), "rtstream-tiny", "live"],
        input=given,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": ""},
    )
    found = json.loads(done.stdout)
    (clip,) = found["clips"]
    assert "New York" in clip["text"]
    assert clip["words"]
    assert found["memory"]["peak"] > found["memory"]["private"] > 0
    row = run.summed(found, [{"id": "clip", "text": "it was named after utica new york", "seconds": 3.0}])
    assert row["wer"] < 50
    assert row["final"]["p99"] >= row["final"]["p50"] > 0
