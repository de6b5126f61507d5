"""What a client is given of a recording."""

from __future__ import annotations

from typing import Generic, TypeVar

FinalT = TypeVar("FinalT")
TranslationT = TypeVar("TranslationT")


class Transcript(list[FinalT], Generic[FinalT, TranslationT]):
    """The finals of a recording, in order, as a list.

    ``translations``, if asked for: of those that are in another language than English, into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.translations: list[TranslationT] = []
