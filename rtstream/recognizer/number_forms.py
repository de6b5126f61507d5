"""The forms in which finals may have numbers."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

NumberForm = Literal["as spoken", "digits", "words"]
NUMBER_FORMS: tuple[NumberForm, ...] = get_args(NumberForm)


class Span(NamedTuple):
    """A written word and those that it stands for: from ``first`` to ``last``, both included."""

    text: str
    first: int
    last: int
