"""OpenAI's prompt as phrases."""

from __future__ import annotations

import re

from rtstream.errors import ConfigError
from rtstream.recognizer.phrases import MAX_PHRASES, parse_phrase

_BETWEEN = re.compile(r"[,;:\n]|[.!?](?=\s|$)")
MOST_WORDS = 4
"""A longer piece of a prompt is a sentence, not a name."""
MOST_CHARACTERS, MOST_PIECES = 1 << 16, 4 * MAX_PHRASES
"""Of a prompt: it is read where all clients are served, who must not wait for it."""


def phrases_of(prompt: str) -> tuple[str, ...]:
    """Names and words in a prompt: what stands between commas, semicolons and line ends and has up to four words.

    A prompt is a hint: what cannot be a phrase is passed over, and so is what goes beyond that many phrases, or pieces.
    """
    found: dict[str, None] = {}
    for piece in _BETWEEN.split(prompt[:MOST_CHARACTERS], MOST_PIECES)[:MOST_PIECES]:
        text = " ".join(piece.split())
        if not text or len(text.split()) > MOST_WORDS or text in found:
            continue
        try:
            parse_phrase(text)
        except ConfigError:
            continue
        found[text] = None
        if len(found) == MAX_PHRASES:
            break
    return tuple(found)
