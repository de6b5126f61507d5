"""Recipes say everything, strictly: a wrong key or value is one line that names it."""

from importlib import resources

import pytest

from rtstream.errors import TrainingError
from rtstream.training.recipe import load_recipe

SHIPPED = sorted(
    file.name
    for file in (resources.files("rtstream.training") / "recipes").iterdir()
    if file.name.endswith(".toml") and 'task = "ablation"' not in file.read_text()
)
SMALL = """
name = "small"
[optimizer]
steps = 10
[sources]
train = 1
"""


def load(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def test_what_is_not_named_has_a_default(tmp_path):
    recipe = load(tmp_path, SMALL)
    assert (recipe.name, recipe.optimizer.steps, recipe.sources) == ("small", 10, {"train": 1.0})
    assert recipe.encoder.share == 1
    assert recipe.precision == "bfloat16"


def test_every_table_can_be_set(tmp_path):
    recipe = load(
        tmp_path,
        'chunks = [0, 8]\nprecision = "float32"'
        + SMALL
        + """
[encoder]
share = 2
rank = 32
diagonal = true
[loss]
ctc = 0.5
[vocabulary]
texts = ["a.txt"]
lower = 10
[augment]
speed = 0
speed_range = [1, 1.5]
""",
    )
    assert recipe.chunks == (0, 8)
    assert (recipe.encoder.share, recipe.encoder.rank, recipe.encoder.diagonal) == (2, 32, True)
    assert recipe.vocabulary.texts == ("a.txt",)
    assert recipe.augment.speed_range == (1.0, 1.5)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipe_is_valid_and_named_as_its_file(name):
    with resources.as_file(resources.files("rtstream.training") / "recipes" / name) as path:
        assert f"{load_recipe(path).name}.toml" == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", r"recipe\.toml: cannot be read as TOML"),
        ("", r"recipe\.toml: name: Field required$"),
        ("stepz = 3" + SMALL, r"recipe\.toml: stepz: .* \(got 3\)"),
        (SMALL + "[loss]\nctcc = 1", r"loss\.ctcc: .* \(got 1\)"),
        (SMALL + "[augment]\nbogus = 1", r"augment\.bogus: .* \(got 1\)"),
        (SMALL + '[loss]\nctc = "0.3"', r"loss\.ctc: .*valid number \(got '0\.3'\)"),
        (SMALL + "[loss]\nctc = -1", r"loss\.ctc: .*greater than or equal to 0 \(got -1\)"),
        (SMALL + "[loss]\nctc = nan", r"loss\.ctc: .*finite"),
        (SMALL + "[encoder]\nshare = 0", r"encoder\.share: .*greater than or equal to 1 \(got 0\)"),
        (SMALL + "[encoder]\ndiagonal = 1", r"encoder\.diagonal: .*valid boolean \(got 1\)"),
        (SMALL + "[encoder]\nrank = 1.5", r"encoder\.rank: .*valid integer .*\(got 1\.5\)"),
        (SMALL + "other = -0.5", r"sources\.other: .*greater than 0 \(got -0\.5\)"),
        (SMALL + "[augment]\nnoise = 2", r"augment: noise: must be a probability from 0 to 1 \(got 2"),
        (SMALL + "[augment]\nspeed_range = [1.2, 0.9]", r"augment: speed_range: must be \[least, most\]"),
        ('name = "small"\n[sources]\n[optimizer]\nsteps = 1', r"sources: .*at least 1"),
        ('name = "small"\n[optimizer]\n[sources]\na = 1', r"optimizer\.steps: Field required"),
        (SMALL.replace("10", "0"), r"optimizer\.steps: .*greater than 0"),
        (SMALL.replace("small", "a/b"), r"name: .*pattern"),
        ("chunks = []" + SMALL, r"chunks: .*at least 1"),
        ("chunks = [-1]" + SMALL, r"chunks\.0: .*greater than or equal to 0 \(got -1\)"),
        ("taught = -1" + SMALL, r"taught: .*greater than or equal to 0 \(got -1\)"),
        ("mix = 1.5" + SMALL, r"mix: .*less than or equal to 1 \(got 1\.5\)"),
        (SMALL + "[loss]\nimitation = -1", r"loss\.imitation: .*greater than or equal to 0 \(got -1\)"),
        (SMALL + "[loss]\ndistance_steps = 9", r"loss\.distance_steps: .* \(got 9\)"),
        ("seed = 1979-05-27" + SMALL, r"seed: .*valid integer"),
        ('precision = "float8"' + SMALL, r"precision: .*'bfloat16' or 'float32'"),
    ],
)
def test_wrong_recipe_is_one_line_that_names_key_and_value(tmp_path, text, message):
    with pytest.raises(TrainingError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_missing_recipe_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"absent\.toml: cannot be read"):
        load_recipe(tmp_path / "absent.toml")
