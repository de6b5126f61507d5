"""Training texts: lower case, plain letters and apostrophes."""

from __future__ import annotations

import re
import unicodedata

from rtstream.languages import ENGLISH
from rtstream.model.config import LETTERS
from rtstream.model.letters import fold

SPOKEN = {"&": " and ", "’": "'", "‘": "'", "-": " ", "–": " ", "—": " ", "/": " "}  # noqa: RUF001 typographic on purpose


def normalize(text: str, language: str = ENGLISH) -> str | None:
    """Lower case, accents and punctuation dropped, apostrophes only inside words.

    Of other languages than English, letters are as ``fold`` has them. None where the text holds digits or letters of
    another script, which have no one spelling in these letters, and where a sign is said that is known in English only.
    """
    if language != ENGLISH:
        if "&" in text:
            return None
        text = fold(text)
    for mark, spoken in SPOKEN.items():
        text = text.replace(mark, spoken)
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    if any(c.isalnum() and c not in LETTERS for c in plain):
        return None
    kept = "".join(c if c in LETTERS else " " for c in plain)
    kept = re.sub(r"(?<![a-z])'|'(?![a-z])", " ", kept)
    return " ".join(kept.split())


def spelt_words(text: str, language: str = ENGLISH) -> list[int]:
    """How many words of a normalized text each word of a written one is: none for a dash, two for well-known."""
    return [len((normalize(word, language) or "").split()) for word in text.split()]


def letter_ids(text: str) -> list[int]:
    """CTC symbols of a normalized text; 0 is the blank."""
    return [LETTERS.index(c) + 1 for c in text]
