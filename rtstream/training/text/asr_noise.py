"""English as a recogniser writes it: lower case, no punctuation, numbers in words, and words misheard."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.recognizer.numbers import say_numbers
from rtstream.training.corpus.text import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

KINDS = (0.62, 0.22, 0.08, 0.04, 0.04)
"""Shares of the errors: another word, left out, said twice or put in, split in two, joined with the next."""
FILLERS = ("a", "the", "and", "to", "i", "it", "in", "uh")
# Sounds that are confused map to one letter; what is left of a word is its key.
SOUNDS = (
    (r"^(kn|gn|pn)", "n"),
    (r"^wr", "r"),
    (r"^wh", "w"),
    (r"(?<=[aeiou])gh(?=t)", ""),
    (r"(ph|gh)", "f"),
    (r"(ck|q|x)", "k"),
    (r"c(?=[eiy])", "s"),
    (r"c", "k"),
    (r"(tch|ch|sh|j|g(?=[eiy]))", "j"),
    (r"(th|d)", "t"),
    (r"b", "p"),
    (r"v", "f"),
    (r"z", "s"),
    (r"m", "n"),
    (r"(?<=.)h", ""),
    (r"'", ""),
    (r"(?<=.)[aeiouwy]+", ""),
    (r"^[aeiouy]", "a"),
    (r"(.)\1+", r"\1"),
)


def spoken(text: str) -> str:
    """Lower case, numbers in words, no punctuation; letters that are not English lose their accents, others go."""
    said = say_numbers(text)
    plain = normalize(said)
    if plain is None:  # digits or foreign letters that have no spelling
        plain = " ".join(filter(None, (normalize(word) for word in said.split())))
    return plain


def sound_key(word: str) -> str:
    """What is left of a word when sounds that are confused are taken for one, and vowels are dropped."""
    key = word
    for pattern, replacement in SOUNDS:
        key = re.sub(pattern, replacement, key)
    return key


@dataclass(frozen=True)
class AsrNoise:
    """Errors of a recogniser. ``similar``: the words that each word may be taken for, most likely first."""

    similar: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, texts: Iterable[str], *, least: int = 5, most: int = 8) -> AsrNoise:
        """Words are taken for others of these spoken texts that sound alike and occur ``least`` times or more."""
        counts = Counter(word for text in texts for word in text.split())
        groups: dict[str, list[str]] = defaultdict(list)
        for word, count in counts.most_common():
            if count < least:
                break
            groups[sound_key(word)].append(word)
        return cls(
            {word: [other for other in group if other != word][:most] for group in groups.values() for word in group}
        )

    def __call__(self, text: str, rate: float, rng: np.random.Generator) -> str:
        """The spoken text with about this share of its words in error; never an empty one."""
        words = text.split()
        if rate <= 0.0 or not words:
            return text
        out: list[str] = []
        skip = False
        for index, word in enumerate(words):
            if skip:
                skip = False
                continue
            if rng.random() >= rate:
                out.append(word)
                continue
            kind = int(rng.choice(len(KINDS), p=KINDS))
            if kind == 0:
                others = self.similar.get(word, ())
                # The nearer in the list, the likelier: the commoner word is what a recogniser prefers.
                out.append(others[int(len(others) * rng.random() ** 2)] if others else word[:-1] or word)
            elif kind == 2:
                out += [word, word if rng.random() < 0.3 else FILLERS[int(rng.integers(len(FILLERS)))]]
            elif kind == 3 and len(word) > 5:
                cut = int(rng.integers(2, len(word) - 2))
                out += [word[:cut], word[cut:]]
            elif kind == 4 and index + 1 < len(words):
                out.append(word + words[index + 1])
                skip = True
            elif kind in {3, 4}:
                out.append(word)
        return " ".join(out) or text
