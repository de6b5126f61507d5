"""num2words' converters, one language at a time: the package by itself imports all of its sixty, 3 MB of memory.

This module is a package whose modules are num2words' own: ``number_converters.lang_ES`` is its Spanish.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.util import find_spec
from typing import Protocol, cast

_num2words = find_spec("num2words")
if _num2words is None:
    raise ModuleNotFoundError("num2words is not installed: pip install num2words", name="num2words")
__path__ = list(_num2words.submodule_search_locations or ())


class Converter(Protocol):
    """What is used of a converter. Each raises OverflowError or the like for numbers that it has no words for."""

    def to_cardinal(self, value: int) -> str:
        """A count in words."""
        ...

    def to_ordinal(self, value: int) -> str:
        """A place in a row."""
        ...

    def to_year(self, value: int) -> str:
        """A year as it is mostly said."""
        ...


@cache
def converter(language: str) -> Converter:
    """The converter of a language, an ISO 639-1 code. Raises ModuleNotFoundError where there is none."""
    name = language.upper()
    module = importlib.import_module(f"{__name__}.lang_{name}")
    return cast("Converter", getattr(module, f"Num2Word_{name}")())
