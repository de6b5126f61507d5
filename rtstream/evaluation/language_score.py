"""How often the language of a clip is found, where several may be spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_SECONDS = 3.0
"""Length of a clip from which on its language counts: of a word it is anybody's guess."""


class FoundLanguage(NamedTuple):
    """Which language a clip is in, and in which most of its finals are, "" where there is none."""

    spoken: str
    found: str


def language_figures(clips: Sequence[FoundLanguage]) -> dict[str, Any] | None:
    """How many clips there are, per cent of them that are right, and both of each language; None without clips."""
    if not clips:
        return None
    languages = sorted({clip.spoken for clip in clips})
    by_language = {language: [clip for clip in clips if clip.spoken == language] for language in languages}
    return {**_figures(clips), "by_language": {language: _figures(its) for language, its in by_language.items()}}


def _figures(clips: Sequence[FoundLanguage]) -> dict[str, Any]:
    return {
        "clips": len(clips),
        "right": round(100.0 * sum(clip.found == clip.spoken for clip in clips) / len(clips), 1),
    }
