"""An ablation trains and measures what is not yet there, whatever stopped it, and one arm's failure is its own."""

import json
import shutil

import pytest
import torch
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.research.ablation.outcome import read_outcome
from rtstream.research.ablation.run import redraw, run_plan
from rtstream.training.core.loop import write_metrics
from tests.research.ablation.tiny_plan import PLAN, make_plan, write_places, write_set, write_start
from tests.training.tiny_whisper import make_weights, write_hugging_face

ARMS = ("unshared", "k2")


class Watching:
    """Trains without a screen. ``after``: stop so many steps later; ``interrupt``: what is shown when Ctrl-C comes."""

    def __init__(self, after=None, interrupt=None):
        self.after, self.interrupt = after, interrupt
        self.steps, self.told, self.shown = [], [], []

    def doing(self, text):
        self.shown.append(text)
        if self.interrupt is not None and self.interrupt in text:
            raise KeyboardInterrupt

    def done(self, text):
        self.told.append(text)

    def train(self, trainer):
        write = write_metrics(trainer.directory / "metrics.jsonl", trainer.step)

        def report(metrics):
            self.steps.append((trainer.recipe.name, metrics["step"]))
            write(metrics)

        return trainer.run(report, workers=0, stopped=lambda: self.after is not None and len(self.steps) >= self.after)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Places where both arms are finished and measured on one clip of each set, and what was told meanwhile."""
    directory = tmp_path_factory.mktemp("once")
    places, viewer = write_places(directory), Watching()
    assert run_plan(make_plan(directory), places, viewer, arms=ARMS, clips=1)
    return places, viewer


@pytest.fixture
def places(tmp_path):
    return write_places(tmp_path)


@pytest.fixture
def finished(once, places):
    """A copy of those, for one test."""
    shutil.copytree(once[0].runs, places.runs)
    return places


@pytest.fixture
def plan(tmp_path):
    return make_plan(tmp_path)


def rows(plan, places):
    """What was measured of each run, without what the clock says, directly or by choosing the engine."""
    found = {run.recipe.name: read_outcome(run, places.runs / run.recipe.name).rows for run in plan.runs}
    return {
        name: [{key: value for key, value in row.items() if key not in {"rtf", "engine"}} for row in measured]
        for name, measured in found.items()
    }


def weights(plan, places):
    paths = {run.recipe.name: places.runs / run.recipe.name / "checkpoint.pt" for run in plan.runs}
    return {name: torch.load(path, weights_only=True)["average"] for name, path in paths.items()}


def test_every_arm_is_trained_measured_and_drawn(plan, once):
    places, viewer = once
    assert viewer.steps == [(f"tiny-{arm}", step) for arm in ARMS for step in (1, 2, 3)]
    table = (places.runs / "tiny/table.md").read_text()
    assert "Not finished" not in table
    assert "one start from `start`" in table
    assert "dev-one, all 1 clips, 6 words; dev-two, 1 of 2 clips, evenly spread, 6 words" in table
    assert (places.runs / "tiny/figure.png").read_bytes().startswith(b"\x89PNG")
    for measured in rows(plan, places).values():
        assert [(row["set"], row["clips"], row["chunk_ms"]) for row in measured] == [
            ("dev-one", 1, 640),
            ("dev-two", 1, 640),
        ]


def test_all_arms_are_measured_by_one_int8_engine(plan, once):
    outcomes = [read_outcome(run, once[0].runs / run.recipe.name) for run in plan.runs]
    (engine,) = {row["engine"] for outcome in outcomes for row in outcome.rows}
    assert engine != "float"


def test_nothing_is_done_twice(plan, finished):
    before = {path: path.read_bytes() for path in finished.runs.glob("tiny-*/*") if path.is_file()}
    viewer = Watching()
    assert run_plan(plan, finished, viewer, arms=ARMS, clips=1)
    assert (viewer.steps, viewer.told, viewer.shown) == ([], [], [])
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["tiny-unshared: dev-two: clip 1", "tiny-k2: writing its bundle"])
def test_what_was_interrupted_ends_as_if_it_had_not_been(plan, places, once, shown):
    assert not run_plan(plan, places, Watching(after=2), arms=ARMS, clips=1)
    assert "tiny-unshared at step 2 of 3" in (places.runs / "tiny/table.md").read_text()
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, places, Watching(interrupt=shown), arms=ARMS, clips=1)
    viewer = Watching()
    assert run_plan(plan, places, viewer, arms=ARMS, clips=1)
    assert not any("unshared: dev-one" in text for text in viewer.shown)
    assert rows(plan, places) == rows(plan, once[0])
    assert_close(weights(plan, places), weights(plan, once[0]), rtol=0, atol=0)


def test_arms_can_be_chosen_and_the_table_says_what_is_open(plan, places):
    assert run_plan(plan, places, Watching(), arms=["k2"], clips=1)
    assert "**Not finished:** tiny-unshared not begun." in (places.runs / "tiny/table.md").read_text()


def test_other_number_of_clips_is_measured_beside_the_first(plan, finished):
    viewer = Watching()
    run_plan(plan, finished, viewer, arms=ARMS, clips=None)
    assert not viewer.steps
    assert [text.split(": WER")[0] for text in viewer.told] == ["tiny-unshared: dev-two", "tiny-k2: dev-two"]
    assert "1 of 2 clips" in redraw(plan, finished.runs, clips=1).read_text()


def test_run_that_was_trained_on_is_measured_again(finished, tmp_path):
    longer = make_plan(tmp_path, PLAN.replace("steps = 3", "steps = 4"))
    assert not any(read_outcome(run, finished.runs / run.recipe.name).finished for run in longer.runs)
    viewer = Watching()
    assert run_plan(longer, finished, viewer, arms=["k2"], clips=1)
    assert viewer.steps == [("tiny-k2", 4)]
    assert [text.split(": WER")[0] for text in viewer.told] == ["tiny-k2: dev-one", "tiny-k2: dev-two"]


def test_arm_that_fails_does_not_lose_the_others(places, tmp_path):
    plan = make_plan(tmp_path, PLAN.replace("[arms.k2]", "[arms.k3]\nencoder = { share = 3 }\n[arms.k2]"))
    with pytest.raises(
        TrainingError, match=r"1 of tiny's 3 runs failed.*: tiny-k3: encoder: layers \(2\) must be a mul"
    ):
        run_plan(plan, places, Watching(), arms=plan.arms, clips=1)
    table = (places.runs / "tiny/table.md").read_text()
    assert "tiny-k3 failed (encoder: layers (2) must be a multiple of share (3))" in table
    assert all(len(read_outcome(run, places.runs / run.recipe.name).rows) == 2 for run in plan.runs[::2])


def test_broken_or_foreign_checkpoint_fails_its_arm_alone(plan, finished, tmp_path):
    (finished.runs / "tiny-unshared/checkpoint.pt").write_bytes(b"no checkpoint")
    assert "tiny-unshared failed (" in redraw(plan, finished.runs, clips=1).read_text()
    other = make_plan(tmp_path, PLAN.replace("rank = 2", "rank = 3"))
    with pytest.raises(TrainingError, match=r"2 of tiny's 2 runs failed.*not a checkpoint.*has rank 2, the recipe 3"):
        run_plan(other, finished, Watching(), arms=ARMS, clips=1)


def test_all_runs_of_a_plan_have_one_start(plan, places, tmp_path):
    run_plan(plan, places, Watching(), arms=["unshared"], clips=1)
    write_start(tmp_path / "start", seed=5)
    with pytest.raises(
        TrainingError, match=r"start: other runs of tiny started from start, other weights: give the sam"
    ):
        run_plan(plan, places, Watching(), arms=ARMS, clips=1)
    write_start(tmp_path / "start")
    assert run_plan(plan, places, Watching(), arms=ARMS, clips=1)


def test_start_that_nothing_came_of_does_not_count(plan, places):
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, places, Watching(interrupt="reading teacher"), arms=ARMS, clips=1)
    (places.runs / "tiny/start.json").parent.mkdir(parents=True, exist_ok=True)
    (places.runs / "tiny/start.json").write_text(json.dumps({"name": "former", "weights": "others"}))
    assert run_plan(plan, places, Watching(), arms=["k2"], clips=1)
    assert "one start from `start`" in (places.runs / "tiny/table.md").read_text()


def test_missing_set_is_told_before_anything_is_trained(places, tmp_path):
    plan = make_plan(tmp_path, PLAN.replace('"dev-two"]', '"dev-three"]'))
    viewer = Watching()
    with pytest.raises(TrainingError, match="dev-three: no shard"):
        run_plan(plan, places, viewer, arms=ARMS, clips=None)
    assert not viewer.steps
    with pytest.raises(TrainingError, match="no run of tiny has been begun there"):
        redraw(plan, places.runs, clips=None)


def test_set_without_texts_cannot_be_measured_on(plan, places):
    (audio,) = places.audio
    write_set(audio, "dev-one", ["noise-room.flac"])
    index = audio / "dev-one.jsonl"
    index.write_text(index.read_text().replace("romanians also lived in the city", ""))
    with pytest.raises(TrainingError, match="dev-one: none of 1 clips has a text to compare with"):
        run_plan(plan, places, Watching(), arms=["unshared"], clips=None)


def test_distance_to_the_teacher_is_that_of_the_last_steps(places, tmp_path):
    write_hugging_face(tmp_path / "teacher", make_weights())
    (tmp_path / "words.txt").write_text("the end\n")
    text = PLAN.replace("distance = 0.0", "distance = 1.0").replace(
        "[base]", '[base]\ntaught = 0.01\nvocabulary = { texts = ["words.txt"] }'
    )
    plan = make_plan(tmp_path, text)
    from_teacher = type(places)(**{name: getattr(places, name) for name in places.__slots__} | {"start": None})
    assert run_plan(plan, from_teacher, Watching(), arms=["k2"], clips=1)
    lines = (places.runs / "tiny-k2/metrics.jsonl").read_text().splitlines()
    given = [json.loads(line)["distance"] for line in lines]
    outcome = read_outcome(plan.runs[1], places.runs / "tiny-k2")
    assert min(given) > 0
    assert outcome.distance == pytest.approx(sum(given) / 3)
    assert f"| {outcome.distance:.3f} |" in (places.runs / "tiny/table.md").read_text()
