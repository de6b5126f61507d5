"""Phrases of the user's own, which recognition should find where they are said: names, products, terms of a trade.

No torch here: settings and requests are checked before a model is loaded.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING

from rtstream.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_PHRASES = 500
MAX_CHARACTERS = 60
MIN_LETTERS = 3
"""Shorter ones are found by chance in what is none of them."""
MAX_WEIGHT = 5.0
SILENT = frozenset(" '-.’")  # noqa: RUF001 typographic on purpose
"""What a phrase may have besides letters: it is written, and not heard."""
WORD = re.compile(r"^([^\w']*)(.*?)([^\w']*)$")
POSSESSIVE = re.compile(r"^([^\w']*)(.*?)('s?[^\w']*)$")
"""What stands before, in and behind a word."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """``text`` as it is to be written. ``weight``: how readily it is written, 1 as a rule."""

    text: str
    weight: float = 1.0


def parse_phrase(text: str) -> Phrase:
    """Read ``PHRASE`` or ``PHRASE=WEIGHT``. Raises ConfigError, which quotes it and says what is wrong."""
    shown = repr(text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}...")
    name, separator, number = text.partition("=")
    name = " ".join(name.split())
    if len(name) > MAX_CHARACTERS:
        raise ConfigError(f"phrase {shown}: it has {len(name)} characters, {MAX_CHARACTERS} are allowed")
    weight = _weight(number, shown) if separator else 1.0
    heard = [c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c)]
    letters = sum(c in ascii_lowercase for c in heard)
    wrong = next((c for c in heard if c not in ascii_lowercase and c not in SILENT), None)
    if wrong is not None:
        raise ConfigError(f"phrase {shown}: {wrong!r} cannot be heard; write it in the letters of the words spoken")
    if letters < MIN_LETTERS:
        raise ConfigError(f"phrase {shown}: it has too few letters, at least {MIN_LETTERS} are needed to hear it")
    return Phrase(name, weight)


def parse_phrases(texts: Iterable[str]) -> tuple[Phrase, ...]:
    """Read a list; of phrases that differ in case alone the last counts. Raises ConfigError, also for too many."""
    found: dict[str, Phrase] = {}
    for text in texts:
        phrase = parse_phrase(text)
        found.pop(phrase.text.lower(), None)
        found[phrase.text.lower()] = phrase
        if len(found) > MAX_PHRASES:
            raise ConfigError(f"phrases: there are more than {MAX_PHRASES}; leave out those that are recognised anyway")
    return tuple(found.values())


def _weight(number: str, shown: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        message = f"the weight {number.strip()[:20]!r} is not a number; write PHRASE=WEIGHT, such as Grafana=2.0"
        raise ConfigError(f"phrase {shown}: {message}") from None
    if not 0.0 < weight <= MAX_WEIGHT:  # also false for NaN
        raise ConfigError(f"phrase {shown}: the weight must be more than 0 and at most {MAX_WEIGHT:g}; 1 is usual")
    return weight


class Spelling:
    """Finds phrases in texts, and writes them there as the user does."""

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        self._texts = [phrase.text for phrase in phrases]
        self._keys = {tuple(_plain(text).split()): index for index, text in enumerate(self._texts)}
        self._longest = max(map(len, self._keys), default=0)

    def find(self, words: Sequence[str]) -> list[tuple[int, int, int]]:
        """Where phrases stand, in any case, longer ones first: first word, the one after the last, phrase's index."""
        found: list[tuple[int, int, int]] = []
        first = 0
        while first < len(words):
            runs = (words[first : first + n] for n in range(min(self._longest, len(words) - first), 0, -1))
            hits = ((first, first + len(run), index) for run in runs if (index := self._index(run)) is not None)
            hit = next(hits, None)
            if hit is not None:
                found.append(hit)
            first = first + 1 if hit is None else hit[1]
        return found

    def write(self, words: Sequence[str]) -> list[str]:
        """The words with all phrases among them in the user's spelling; punctuation and a possessive s stay."""
        written = list(words)
        for first, last, index in reversed(self.find(words)):
            before, _, _ = parts(words[first])
            for pattern in (WORD, POSSESSIVE):
                _, core, after = parts(words[last - 1], pattern)
                if self._texts[index].lower().endswith(_plain(core)):
                    break
            written[first:last] = f"{before}{self._texts[index]}{after}".split()
        return written

    def _index(self, run: Sequence[str]) -> int | None:
        for pattern in (WORD, POSSESSIVE):
            split = [*(parts(word) for word in run[:-1]), parts(run[-1], pattern)]
            joined = not any(after for _, _, after in split[:-1]) and not any(before for before, _, _ in split[1:])
            index = self._keys.get(tuple(_plain(core) for _, core, _ in split)) if joined else None
            if index is not None:
                return index
        return None


def parts(word: str, pattern: re.Pattern[str] = WORD) -> tuple[str, str, str]:
    """Punctuation before a word, the word, and what is behind it."""
    match = pattern.match(word.replace("’", "'"))  # noqa: RUF001 typographic on purpose
    return (match[1], match[2], match[3]) if match else ("", word, "")


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")  # noqa: RUF001 typographic on purpose
