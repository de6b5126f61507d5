"""Pairs of an English sentence and its translation: which files hold them, and which of them weights may be made of.

A file holds a pair a line, english TAB translation TAB source; one that several sources have names all of them, joined
by "+". A dev file holds english TAB a JSON list of references TAB source. A name that ends in .gz is compressed.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

SHIPPABLE = frozenset(
    {"tatoeba-manythings", "tatoeba-challenge", "tatoeba-laser", "diabla", "bcontrast", "machine-bergamot"}
)
"""Sources whose licences let weights made of them be shipped (CC BY 2.0 FR, CC BY-SA 4.0, MIT).

Not here: wmt22-chat (non-commercial), multi30k and tuxemon (unclear), wmt-newstest (research), wesnoth (GPL).
"""


@dataclass(frozen=True, slots=True)
class References:
    """A sentence of a dev set and its translations by people."""

    english: str
    translations: tuple[str, ...]
    source: str


def read_pairs(path: Path, sources: Collection[str]) -> list[tuple[str, str]]:
    """The (english, translation) pairs of a file that have one of ``sources``.

    Raises TrainingError where it is missing, broken, or a line is no pair.
    """
    pairs = []
    for number, line in _lines(path):
        fields = line.split("\t")
        if len(fields) != 3 or not fields[0] or not fields[1]:
            msg = f"{path}: line {number} is no pair: it needs english, translation and source, parted by tabs"
            raise TrainingError(msg)
        if not set(fields[2].split("+")).isdisjoint(sources):
            pairs.append((fields[0], fields[1]))
    return pairs


def read_references(path: Path) -> list[References]:
    """The sentences of a dev file. Raises TrainingError where it is missing, broken, or a line is not of that kind."""
    rows = []
    for number, line in _lines(path):
        try:
            english, translations, source = line.split("\t")
            rows.append(References(english, tuple(map(str, json.loads(translations))), source))
        except (ValueError, TypeError) as error:
            msg = f"{path}: line {number} must be english, a JSON list of references, and source, parted by tabs"
            raise TrainingError(msg) from error
    return rows


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        msg = f"{path}: pairs cannot be read: {error}"
        raise TrainingError(msg) from error
