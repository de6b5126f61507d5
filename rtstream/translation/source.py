"""What is translated as a text: what was said in English, and the English of what was said in another language."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rtstream.events import Event, Final, Partial, Transcription, Translation
from rtstream.languages import ENGLISH

if TYPE_CHECKING:
    from collections.abc import Iterable


def text_languages(languages: Iterable[str]) -> tuple[str, ...]:
    """The targets into which texts are translated: all but English, which the decoder of speech writes itself."""
    return tuple(language for language in dict.fromkeys(languages) if language != ENGLISH)


def english_text(event: Event, *, by_speech: bool) -> Transcription | None:
    """The English of a segment that an event brings, to be translated on; None where it brings none.

    ``by_speech``: what is said in other languages has translations into English. Without them a final in another
    language becomes an empty one, which takes back what was shown while its segment was taken for English.
    """
    if isinstance(event, Translation):
        if event.language != ENGLISH:
            return None
        kind = Final if event.final else Partial
        return kind(event.segment, event.start, event.end, event.text, time=event.time, language=ENGLISH)
    if event.language in {ENGLISH, ""}:
        return event
    return None if by_speech or isinstance(event, Partial) else replace(event, text="", words=(), confidence=None)
