"""That what ships takes and writes what is kept, and what counts as worse."""

import json
from dataclasses import replace

import pytest

from benchmarks import check
from benchmarks.check import FIGURES, Figures, Measured, compared, compared_measured, distance, words

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
    assert distance(reference.split(), text.split()) == errors


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
