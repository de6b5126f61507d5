"""The table of an ablation: each arm's figures, what is compared with what, and what is not there yet."""

import pytest

from rtstream.model.accounting import encoder_bytes_int8, encoder_parameters
from rtstream.model.config import EncoderConfig
from rtstream.research.ablation.outcome import Outcome
from rtstream.research.ablation.plot import draw_ablation
from rtstream.research.ablation.table import ablation_table, arms_of, mean_wer
from tests.research.ablation.tiny_plan import PLAN, make_plan

K2 = EncoderConfig(share=2, rank=32, diagonal=True)


@pytest.fixture
def plan(tmp_path):
    """Two seeds of the reference, one of the other."""
    return make_plan(tmp_path, PLAN.replace("[arms.unshared]", "[arms.unshared]\nseeds = [3, 4]"))


def row(name, wer, shown, *, taken=40, of=40, asked=None):
    figures = {"wer": wer, "shown_wer": shown, "words": 300, "clips": taken, "engine": "x86"}
    return {"set": name, "taken": taken, "of": of, "asked": asked} | figures


def outcome(run, encoder=None, one=(10.0, 20.0), two=(20.0, 40.0), **changes):
    rows = (row("dev-one", *one), row("dev-two", *two))
    known = {"step": 3, "encoder": encoder or EncoderConfig(), "elapsed": 720.0, "hours": 2.25, "distance": 0.125}
    return Outcome(run, **(known | {"rows": rows} | changes))


@pytest.fixture
def outcomes(plan):
    return [
        outcome(plan.runs[0]),
        outcome(plan.runs[1], one=(12.0, 24.0), elapsed=840.0),
        outcome(plan.runs[2], K2, one=(11.0, 20.0), two=(22.0, 25.0), distance=None),
    ]


def cells(table):
    """The table's rows as heading to cell, by the arm."""
    heading, _, *lines = [line for line in table.split("The paper")[0].splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in heading.strip("|").split("|")]
    rows = [dict(zip(names, [cell.strip() for cell in line[1:-1].split("|")], strict=True)) for line in lines]
    return {row["arm"].split(" ")[0]: row for row in rows}


def test_row_of_an_arm(plan, outcomes):
    parameters = sum(encoder_parameters(K2).values())
    assert cells(ablation_table(plan, outcomes, None))["k2"] == {
        "arm": "k2",
        "K": "2",
        "R": "32",
        "diagonal": "yes",
        "layers": "6",
        "encoder, parameters": f"{parameters:,}",
        "of unshared": f"{100 * parameters / sum(encoder_parameters(EncoderConfig()).values()):.1f} %",
        "int8, MB": f"{sum(encoder_bytes_int8(K2).values()) / 1e6:.2f}",
        "steps": "3",
        "minutes": "12",
        "hours of audio": "2.25",
        "distance": "-",
        "dev-one finals": "11.0",
        "dev-one partials": "20.0",
        "dev-two finals": "22.0",
        "dev-two partials": "25.0",
        # To seed 3 of the reference alone, which it shares: 16.5 to 15, and 22.5 to 30.
        "finals against unshared": "+10.0 %",
        "partials against unshared": "-25.0 %",
    }


def test_seeds_are_a_mean_with_a_range(plan, outcomes):
    plain = cells(ablation_table(plan, outcomes, None))["unshared"]
    assert plain["arm"] == "unshared (2 of 2 seeds)"
    assert (plain["dev-one finals"], plain["dev-two finals"]) == ("11.0 (10.0 to 12.0)", "20.0")
    assert (plain["minutes"], plain["distance"], plain["R"], plain["of unshared"]) == (
        "13 (12 to 14)",
        "0.125",
        "-",
        "100.0 %",
    )
    assert plain["finals against unshared"] == ""


def test_size_of_a_grown_arm_is_to_a_plain_encoder_of_its_depth(plan, outcomes):
    grown = EncoderConfig(layers=12, share=2, layer_scale=True)
    found = cells(ablation_table(plan, [*outcomes[:2], outcome(plan.runs[2], grown)], None))["k2"]
    assert found["layers"] == "12"
    assert 50.0 < float(found["of unshared"].split()[0]) < 55.0  # the convolutions, biases and norms are not halved


def test_unfinished_failed_and_unmeasured_runs_are_named(plan, outcomes):
    table = ablation_table(
        plan,
        [
            outcome(plan.runs[0], rows=(row("dev-one", 10.0, 20.0),)),
            outcome(plan.runs[1], step=2, rows=()),
            Outcome(plan.runs[2]),
        ],
        None,
    )
    assert "- **Not finished:** tiny-unshared-seed4 at step 2 of 3; tiny-k2 not begun.\n" in table
    assert "- **Not measured on all clips:** tiny-unshared on dev-two.\n" in table
    assert cells(table)["unshared"]["dev-one finals"] == "10.0"
    assert set(list(cells(table)["k2"].values())[1:]) == {"-"}
    failed = ablation_table(plan, [*outcomes[:2], Outcome(plan.runs[2], failure="no such file")], None)
    assert "- **Not finished:** tiny-k2 failed (no such file).\n" in failed


def test_what_was_measured_on_other_clips_is_left_out(plan, outcomes):
    table = ablation_table(plan, outcomes, 10)
    assert cells(table)["k2"]["dev-one finals"] == "-"
    assert "**Not measured on 10 clips:** tiny-unshared on dev-one" in table
    assert cells(ablation_table(plan, outcomes, 50)) == cells(ablation_table(plan, outcomes, None))  # that is all


def test_notes_tell_start_engine_sets_and_figure(plan, outcomes):
    rows = (row("dev-one", 1.0, 2.0), row("dev-two", 1.0, 2.0, taken=20, of=90, asked=20))
    few = [outcome(run, rows=(rows[0], rows[1])) for run in plan.runs]
    table = ablation_table(plan, few, 20, start="base", figure="figure.png")
    assert "one start from `base`" in table
    assert "int8 (x86)" in table
    assert "dev-two, 20 of 90 clips, evenly spread, 300 words." in table
    assert "](figure.png)" in table
    assert "start from" not in ablation_table(plan, outcomes, None)


def test_papers_rows_are_said_to_be_the_papers(plan, outcomes):
    papers = ablation_table(plan, outcomes, None).split("The paper's own rows")[1]
    assert "another task and other data" in papers
    assert "| K = 3, R = 2 | 34.0 % | 13.53 | +1.9 % |" in papers


def test_mean_over_the_sets_needs_all_of_them(plan, outcomes):
    assert mean_wer(plan, outcomes[0], None, "wer") == 15.0
    part = outcome(plan.runs[2], rows=(row("dev-one", 10.0, 20.0),))
    assert mean_wer(plan, part, None, "wer") != mean_wer(plan, part, None, "wer")  # not a number
    assert [len(arm.measured) for arm in arms_of(plan, [*outcomes[:2], part], None)] == [2, 0]


def test_figure_is_drawn_of_what_has_been_measured(plan, outcomes, tmp_path):
    target = tmp_path / "figure.png"
    assert not draw_ablation(plan, [Outcome(run) for run in plan.runs], None, target)
    assert not list(tmp_path.glob("figure*"))
    assert draw_ablation(plan, outcomes[:2], None, target)
    some = target.read_bytes()
    assert draw_ablation(plan, outcomes, None, target)
    assert some.startswith(b"\x89PNG")
    assert target.read_bytes() != some
