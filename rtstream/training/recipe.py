"""Training recipes: one strict TOML file says everything that a run depends on."""

from __future__ import annotations

from pathlib import Path

from rtstream.errors import TrainingError
from rtstream.training.core.toml import read_toml, validated
from rtstream.training.speech.recipe import Recipe
from rtstream.training.text.recipe import TranslationRecipe

SHIPPED = Path(__file__).parent / "recipes"
ABLATION = "ablation"
"""The task of a file that is no recipe but a plan of several runs, see :mod:`rtstream.research.ablation.plan`."""


def find_recipe(name: str, *, plan: bool = False) -> Path:
    """The file of a recipe, or of a ``plan``: ``name`` itself, or the shipped one of that name.

    Raises TrainingError naming those that are shipped.
    """
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    if name in shipped and not Path(name).is_file():
        return shipped[name]
    if not Path(name).is_file():
        fitting = [stem for stem, path in shipped.items() if (read_toml(path).get("task") == ABLATION) == plan]
        kind = "plan" if plan else "recipe"
        msg = f"{name}: no such {kind}; give a TOML file, or the name of a shipped one: {', '.join(fitting)}"
        raise TrainingError(msg)
    return Path(name)


def load_recipe(path: Path) -> Recipe | TranslationRecipe:
    """Read a recipe, of what its ``task`` says. Raises TrainingError naming the key, the value and what is allowed."""
    data = read_toml(path)
    if data.get("task") == ABLATION:
        msg = f"{path}: a plan of several runs, not a recipe: give it to rtstream ablation"
        raise TrainingError(msg)
    if data.get("task") == "translation":
        return validated(TranslationRecipe, path, data)
    return validated(Recipe, path, data)
