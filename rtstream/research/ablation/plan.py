"""Plans of an ablation: one recipe, and what each arm has otherwise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field

from rtstream.errors import TrainingError
from rtstream.training.core.schedule import Strict
from rtstream.training.core.toml import read_toml, validated
from rtstream.training.recipe import ABLATION
from rtstream.training.speech.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class _Arm(Strict):
    """Its seeds, where they are not the plan's, and keys of a recipe that it has otherwise."""

    model_config = ConfigDict(extra="allow")

    seeds: Seeds | None = None


class _PlanFile(Strict):
    task: Literal["ablation"]
    name: Name = Field(description="also of the directory of table and figure, and the beginning of the runs' names")
    seeds: Seeds = (0,)
    sets: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, description="shards to measure on")
    reference: str = Field(description="the arm that the others are compared with")
    base: dict[str, Any] = Field(description="a recipe without name and seed")
    arms: dict[Name, _Arm] = Field(min_length=1, description="names, and keys that go over those of base")


@dataclass(frozen=True, slots=True)
class Run:
    """An arm with one of its seeds."""

    arm: str
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """A family of runs at equal terms, arm by arm; ``sets`` are what they are measured on."""

    name: str
    sets: tuple[str, ...]
    reference: str
    runs: tuple[Run, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in the file's order."""
        return tuple(dict.fromkeys(run.arm for run in self.runs))


def load_plan(path: Path) -> Plan:
    """Read a plan and make the recipe of each run. Raises TrainingError naming the key, the value and what is allowed.

    A run is named PLAN-ARM; those of an arm's further seeds PLAN-ARM-seedN.
    """
    data = read_toml(path)
    if data.get("task") != ABLATION:
        msg = f'{path}: not a plan, which says task = "{ABLATION}": give a recipe to rtstream train'
        raise TrainingError(msg)
    file = validated(_PlanFile, path, data)
    if file.reference not in file.arms:
        msg = f"{path}: reference: must be one of the arms {', '.join(file.arms)} (got {file.reference!r})"
        raise TrainingError(msg)
    _recipe(path, "base", {}, file.base, {"name": file.name, "seed": 0})
    runs = []
    for arm, own in file.arms.items():
        seeds = own.seeds or file.seeds
        if len(set(seeds)) < len(seeds):
            msg = f"{path}: arms.{arm}: seeds: each must be there once (got {list(seeds)})"
            raise TrainingError(msg)
        for number, seed in enumerate(seeds):
            name = f"{file.name}-{arm}" + (f"-seed{seed}" if number else "")
            made = {"name": name, "seed": seed}
            runs.append(Run(arm, _recipe(path, f"arms.{arm}", file.base, own.model_extra or {}, made)))
    name, count = Counter(run.recipe.name for run in runs).most_common(1)[0]
    if count > 1:
        msg = f"{path}: arms: {count} runs would be named {name}: name the arms otherwise"
        raise TrainingError(msg)
    return Plan(file.name, file.sets, file.reference, tuple(runs))


def _recipe(path: Path, table: str, base: Mapping[str, Any], own: Mapping[str, Any], made: Mapping[str, Any]) -> Recipe:
    for key in made:
        if key in own:
            msg = f"{path}: {table}.{key}: is made of the plan's name, the arm's and seeds (got {own[key]!r})"
            raise TrainingError(msg)
    return validated(Recipe, path, _over(base, own) | dict(made), table)


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``own``, table by table."""
    merged = dict(base)
    for key, value in own.items():
        before = base.get(key)
        merged[key] = _over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
