"""Phrases of the user's own, which recognition should find where they are said: names, products, terms of a trade.

No torch here: settings and requests are checked before a model is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, NamedTuple

from rtstream.errors import ConfigError
from rtstream.model.letters import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_PHRASES = 500
MAX_CHARACTERS = 60
MIN_LETTERS = 3
"""Shorter ones are found by chance in what is none of them."""
MAX_WEIGHT = 5.0
SILENT = frozenset(" '-.")
"""What a phrase may have besides letters: it is written, and not heard."""
WORD = re.compile(r"^([^\w']*)(.*?)([^\w']*)$")
POSSESSIVE = re.compile(r"^([^\w']*)(.*?)('s?[^\w']*)$")
ELIDED = re.compile(r"^([^\w']*\w{1,6}')(\w.*?)([^\w']*)$")
"""What stands before, in and behind a word."""
POSSESSIVE_S = frozenset({"en", "nl"})
ELIDING = frozenset({"ca", "fr", "it"})
"""Languages that join an s to a name (Anna's), and those that join what stands before it (l'Oréal)."""


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
    heard = fold(name)
    letters = sum(c in ascii_lowercase for c in heard)
    wrong = next((c for c in heard if c not in ascii_lowercase and c not in SILENT), None)
    if wrong is not None:
        raise ConfigError(f"phrase {shown}: {wrong!r} cannot be heard; write it in the letters of the words spoken")
    if letters < MIN_LETTERS:
        raise ConfigError(f"phrase {shown}: it has too few letters, at least {MIN_LETTERS} are needed to hear it")
    return Phrase(name, weight)


def parse_phrases(texts: Iterable[str]) -> tuple[Phrase, ...]:
    """Read a list; of phrases spelt with the same letters the last counts. Raises ConfigError, also for too many."""
    found: dict[str, Phrase] = {}
    for text in texts:
        phrase = parse_phrase(text)
        found.pop(fold(phrase.text), None)
        found[fold(phrase.text)] = phrase
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


class _Place(NamedTuple):
    """Where a phrase stands: its words from ``first`` to before ``last``, what is joined to the first and the last."""

    first: int
    last: int
    phrase: int
    before: str
    after: str


class Spelling:
    """Finds phrases in texts, and writes them there as the user does; accents and case do not count.

    ``language`` (ISO 639-1): that of the text, which says what may be joined to a name.
    """

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        self._texts = [phrase.text for phrase in phrases]
        self._keys = {tuple(fold(text).split()): index for index, text in enumerate(self._texts)}
        self._longest = max(map(len, self._keys), default=0)

    def find(self, words: Sequence[str], language: str = "en") -> list[tuple[int, int, int]]:
        """Where phrases stand, longer ones first: first word, the one after the last, phrase's index."""
        return [(found.first, found.last, found.phrase) for found in self._find(words, language)]

    def write(self, words: Sequence[str], language: str = "en") -> list[str]:
        """The words with all phrases among them in the user's spelling; what is joined to them stays."""
        written = list(words)
        for found in reversed(list(self._find(words, language))):
            written[found.first : found.last] = f"{found.before}{self._texts[found.phrase]}{found.after}".split()
        return written

    def _find(self, words: Sequence[str], language: str) -> Iterator[_Place]:
        first = 0
        while first < len(words):
            runs = (words[first : first + n] for n in range(min(self._longest, len(words) - first), 0, -1))
            found = next(filter(None, (self._place(first, run, language) for run in runs)), None)
            if found is not None:
                yield found
            first = first + 1 if found is None else found.last

    def _place(self, first: int, run: Sequence[str], language: str) -> _Place | None:
        """The phrase that a run of words is, if it is one."""
        plain = [parts(word) for word in run]
        ways = [plain]
        if language in POSSESSIVE_S:
            ways.append([*plain[:-1], parts(run[-1], POSSESSIVE)])
        if language in ELIDING:
            ways.append([parts(run[0], ELIDED), *plain[1:]])
        for split in ways:
            joined = not any(after for _, _, after in split[:-1]) and not any(before for before, _, _ in split[1:])
            index = self._keys.get(tuple(fold(core) for _, core, _ in split)) if joined else None
            if index is not None:
                return _Place(first, first + len(run), index, split[0][0], split[-1][2])
        return None


def parts(word: str, pattern: re.Pattern[str] = WORD) -> tuple[str, str, str]:
    """What stands before a word, such as punctuation, the word, and what is behind it."""
    match = pattern.match(word.replace("’", "'"))
    return (match[1], match[2], match[3]) if match else ("", word, "")
