"""The time of day may jump, as on a Pi that has no clock and hears of the time after it has started."""

import ast
from pathlib import Path

import pytest

import rtstream

ROOT = Path(rtstream.__file__).parent
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.today", "datetime.utcnow"}
LIVE = sorted(path for part in ("audio", "vad", "recognizer", "daemon") for path in (ROOT / part).glob("*.py"))


@pytest.mark.parametrize("path", LIVE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_that_listens_or_recognises_looks_at_the_time_of_day(path):
    if path.name == "audio_clock.py":
        pytest.skip("it says when an event was")
    calls = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not calls & WALL
