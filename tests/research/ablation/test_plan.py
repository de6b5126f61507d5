"""Plans say everything of an ablation, strictly: what an arm does not say otherwise is the base's."""

import pytest

from rtstream.errors import TrainingError
from rtstream.research.ablation.plan import load_plan
from rtstream.training.recipe import find_recipe, load_recipe
from tests.research.ablation.tiny_plan import PLAN, make_plan


def recipes(plan):
    return {run.recipe.name: run.recipe for run in plan.runs}


def test_arm_has_the_bases_recipe_but_for_what_it_says(tmp_path):
    plan = make_plan(tmp_path)
    assert (plan.name, plan.arms, plan.sets, plan.reference) == (
        "tiny",
        ("unshared", "k2"),
        ("dev-one", "dev-two"),
        "unshared",
    )
    plain, shared = recipes(plan).values()
    assert (shared.encoder.share, shared.encoder.rank, shared.encoder.diagonal, shared.fade_steps) == (2, 2, True, 2)
    same = {"name": plain.name, "encoder": plain.encoder, "fade_steps": plain.fade_steps}
    assert shared.model_copy(update=same) == plain


def test_arms_table_goes_over_the_bases_key_by_key(tmp_path):
    plan = make_plan(tmp_path, PLAN.replace("fade_steps = 2", "optimizer = { steps = 9 }"))
    plain, shared = (recipe.optimizer for recipe in recipes(plan).values())
    assert (plain.steps, shared.steps) == (3, 9)
    assert shared.model_copy(update={"steps": 3}) == plain


def test_first_seed_goes_by_the_arms_name_and_an_arm_can_have_its_own(tmp_path):
    plan = make_plan(tmp_path, PLAN.replace("[arms.k2]", "[arms.k2]\nseeds = [7, 3]"))
    assert {name: recipe.seed for name, recipe in recipes(plan).items()} == {
        "tiny-unshared": 3,
        "tiny-k2": 7,
        "tiny-k2-seed3": 3,
    }


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('task = "ablation"', "", r'not a plan, which says task = "ablation": give a recipe to rtstream train$'),
        ('name = "tiny"', 'name = "a/b"', r"name: .*pattern.* \(got 'a/b'\)$"),
        ("seeds = [3]", "seeds = []", r"seeds: .*at least 1"),
        ("seeds = [3]", "seeds = [-1]", r"seeds\.0: .*greater than or equal to 0 \(got -1\)$"),
        ("seeds = [3]", "seeds = [3, 3]", r"arms\.unshared: seeds: each must be there once \(got \[3, 3\]\)$"),
        ("[arms.k2]", "[arms.k2]\nseeds = [1, 1]", r"arms\.k2: seeds: each must be there once \(got \[1, 1\]\)$"),
        ("seeds = [3]", "seeds = [3, 4]\n[arms.k2-seed4]", r"arms: 2 runs would be named tiny-k2-seed4: "),
        ('sets = ["dev-one", "dev-two"]', "sets = []", r"sets: .*at least 1"),
        ('sets = ["dev-one", "dev-two"]', "", r"sets: Field required$"),
        ('"unshared"', '"plain"', r"reference: must be one of the arms unshared, k2 \(got 'plain'\)$"),
        ("seeds = [3]", "stepz = 1", r"stepz: .* \(got 1\)$"),
        ("share = 2", "share = 0", r"arms\.k2\.encoder\.share: .*greater than or equal to 1 \(got 0\)$"),
        ("share = 2", "shared = 2", r"arms\.k2\.encoder\.shared: .* \(got 2\)$"),
        ("fade_steps = 2", "seed = 2", r"arms\.k2\.seed: is made of .* \(got 2\)$"),
        ("fade_steps = 2", 'name = "x"', r"arms\.k2\.name: is made of .* \(got 'x'\)$"),
        ("[arms.k2]", "[arms.'k 2']", r"arms\.k 2.*pattern"),
        ("[base]", "[base]\nname = 'x'", r"base\.name: is made of .* \(got 'x'\)$"),
        ("distance = 0.0", "distances = 0.0", r"base\.loss\.distances: .* \(got 0\.0\)$"),
        ("steps = 3, ", "", r"base\.optimizer\.steps: Field required$"),
        ("[base]", '[base]\ntask = "translation"', r"base\.task: .*'speech' \(got 'translation'\)$"),
        ("[base]", "[bas]", r"base: Field required$"),
        ("[base]", "[", r"cannot be read as TOML"),
    ],
)
def test_wrong_plan_is_one_line_that_names_key_and_value(tmp_path, before, after, message):
    text = PLAN.replace(before, after, 1)
    if after.endswith("[arms.k2-seed4]"):  # a table ends what stands before it
        text = PLAN.replace(before, "seeds = [3, 4]").replace("[arms.k2]", "[arms.k2-seed4]\n[arms.k2]")
    assert text != PLAN
    with pytest.raises(TrainingError, match=rf"tiny\.toml: {message}") as caught:
        make_plan(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_plan_is_no_recipe_and_no_plan_goes_by_a_recipes_name(tmp_path):
    make_plan(tmp_path)
    with pytest.raises(
        TrainingError, match=r"tiny\.toml: a plan of several runs, not a recipe: give it to rtstream abla"
    ):
        load_recipe(tmp_path / "tiny.toml")
    with pytest.raises(TrainingError, match=r"bas: no such plan; .*: ablation, bakeoff$"):
        find_recipe("bas", plan=True)
    shipped = "base-chunks, base-digits, base-heads, base-shared, base-short-words, base, en-x-small, multi, "
    shipped += "tiny-decoder, tiny-five, tiny-one-pass, tiny-rounded, tiny-shared, tiny"
    with pytest.raises(TrainingError, match=rf"bake: no such recipe; .*: {shipped}$"):
        find_recipe("bake")
    with pytest.raises(TrainingError, match=r"base\.toml: not a plan"):
        load_plan(find_recipe("base", plan=True))


def test_arms_of_the_bakeoff_keep_the_names_of_their_runs():
    plan = load_plan(find_recipe("bakeoff", plan=True))
    assert [run.recipe.name for run in plan.runs] == ["bakeoff-unshared", "bakeoff-k2", "bakeoff-k3", "bakeoff-grown"]


@pytest.mark.parametrize("name", ["bakeoff", "ablation"])
def test_arms_of_a_shipped_plan_differ_in_structure_and_schedule_alone(name):
    plan = load_plan(find_recipe(name, plan=True))
    own = {"name", "seed", "encoder", "fade_steps", "optimizer"}
    (shared,) = {run.recipe.model_dump_json(exclude=own) for run in plan.runs}
    assert plan.name == name
    assert shared
    for run in plan.runs:
        assert run.recipe.fade_steps < run.recipe.optimizer.steps
    if name == "ablation":
        assert len({run.recipe.optimizer for run in plan.runs}) == 1
