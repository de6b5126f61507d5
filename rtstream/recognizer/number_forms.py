"""The forms in which finals may have numbers."""

from __future__ import annotations

from typing import Literal, get_args

NumberForm = Literal["as spoken", "digits", "words"]
NUMBER_FORMS: tuple[NumberForm, ...] = get_args(NumberForm)
