"""What SIGHUP changes, and what it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtstream.config import Config

RELOADABLE = frozenset(
    {
        "log",
        "vad",
        "service",
        "recognition.language",
        "recognition.phrases",
        "publish.store_max_age_hours",
        "publish.store_max_megabytes",
    }
)
"""Sections and settings that take effect at once; "vad", language and phrases for the next segment. Tokens and TLS
files are read again by themselves."""


def changes(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """The settings that differ: those that take effect, and those that need a restart."""
    taken: list[str] = []
    kept: list[str] = []
    for section in type(old).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).model_fields:
            name = f"{section}.{key}"
            if getattr(before, key) != getattr(after, key):
                (taken if RELOADABLE & {section, name} else kept).append(name)
    return taken, kept
