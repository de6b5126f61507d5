"""Tensors' names of former versions, by which bundles and checkpoints made then still load."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Tensor = TypeVar("Tensor")
RENAMED = {"encoder.conv1.": "encoder.front.conv1.", "encoder.conv2.": "encoder.front.conv2."}
"""What a name began with, and begins with now."""
DROPPED = "speech."
"""What names of a part began with that is no more: it translated speech itself."""


def current_name(name: str) -> str:
    """The present name of a tensor."""
    for old, new in RENAMED.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by their present names, without those of parts that are no more."""
    return {current_name(name): tensor for name, tensor in state.items() if not name.startswith(DROPPED)}
