"""Curves: smoothed over what is known, drawn whole or not at all."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.training.core.plots import draw_curves, read_rows, smooth

PNG = b"\x89PNG\r\n\x1a\n"


@given(values=st.lists(st.floats(-10, 10) | st.just(float("nan")), min_size=1, max_size=30), window=st.integers(1, 35))
def test_smoothed_value_is_the_mean_of_the_known_ones_in_the_window(values, window):
    got = smooth(np.array(values), window)
    for index, value in enumerate(got):
        known = [v for v in values[max(0, index - window + 1) : index + 1] if v == v]  # noqa: PLR0124 not NaN
        assert np.isnan(value) if not known else value == pytest.approx(np.mean(known), abs=1e-9)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(step, **changes):
    return {"step": step, "hours": step / 60, "ctc": 3 / step, "decoder": 2 / step, "distance": 0.0} | changes


def test_curves_are_drawn_with_and_without_error_rates(tmp_path):
    metrics, scores, target = (tmp_path / name for name in ("metrics.jsonl", "scores.jsonl", "curves.png"))
    write(metrics, [row(1), row(2, ctc=None), row(3)])
    assert draw_curves(metrics, scores, target)
    plain = target.read_bytes()
    assert plain.startswith(PNG)
    write(scores, [{"hours": 0.05, "set": "dev", "wer": 40.0}, {"hours": 0.02, "set": "dev", "wer": 60.0}])
    assert draw_curves(metrics, scores, target)
    assert target.read_bytes().startswith(PNG)
    assert target.read_bytes() != plain
    assert not list(tmp_path.glob("*.tmp"))


def test_nothing_is_drawn_before_the_first_step(tmp_path):
    assert not draw_curves(tmp_path / "metrics.jsonl", tmp_path / "scores.jsonl", tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


def test_losses_that_were_never_computed_are_no_curves(tmp_path):
    write(tmp_path / "metrics.jsonl", [row(1, ctc=0.0, decoder=None)])
    assert draw_curves(tmp_path / "metrics.jsonl", tmp_path / "none.jsonl", tmp_path / "curves.png")


def test_line_that_was_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step"')
    assert read_rows(path) == [{"step": 1}]
