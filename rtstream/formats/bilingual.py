"""Captions in several languages: a final's own lines, and below them its translations'."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from rtstream.events import Final, Translation
from rtstream.formats.captions import COLUMNS, captions
from rtstream.formats.lines import clean
from rtstream.languages import join_words, split_words, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtstream.events import Event
    from rtstream.formats.captions import Caption

MOST_WAITING = 32
"""Finals that wait for their translations; when there are more the oldest goes without."""

NARROWEST = 20
"""Columns below which captions do not go to make room for a longer translation's share."""

Translated = tuple[Final, "Mapping[str, str]"]
"""A final and the translations that it has, by language."""


class Waiting:
    """Finals that wait for translations into ``languages``, which come in the finals' order or not at all.

    Into its own language none comes of a final.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = tuple(languages)
        self._finals: deque[tuple[Final, dict[str, str | None]]] = deque()

    def add(self, event: Event) -> list[Translated]:
        """The finals that wait no longer, in order."""
        if isinstance(event, Final):
            self._finals.append((event, {}))
        elif isinstance(event, Translation) and event.final:
            self._note(event)
        return list(self._ready())

    def rest(self) -> list[Translated]:
        """All finals that wait."""
        return [self._take() for _ in range(len(self._finals))]

    def _note(self, translation: Translation) -> None:
        language = next((wanted for wanted in self._languages if within(translation.language, wanted)), None)
        if language is None or all(final.segment != translation.segment for final, _ in self._finals):
            return
        for final, translations in self._finals:
            if final.segment == translation.segment:
                translations[language] = translation.text
                break
            translations.setdefault(language, None)  # it has been passed over

    def _ready(self) -> Iterator[Translated]:
        while self._finals:
            final, translations = self._finals[0]
            complete = all(name in translations or name == final.language for name in self._languages)
            if not complete and len(self._finals) <= MOST_WAITING:
                break
            yield self._take()

    def _take(self) -> Translated:
        final, translations = self._finals.popleft()
        return final, {name: text for name in self._languages if (text := translations.get(name))}


def bilingual(final: Final, translations: Mapping[str, str], *, after: int = 0) -> list[Caption]:
    """A final as captions, see :func:`~rtstream.formats.captions.captions`: with translations a line for each language.

    Where a translation's share of a caption needs more than a line, captions are made narrower, as far as that helps.
    """
    if not translations:
        return captions(final, after=after)
    widest = None
    for columns in range(COLUMNS, NARROWEST - 1, -2):
        both = add_translations(captions(final, lines=1, columns=columns, after=after), translations)
        if all(len(caption.lines) <= 1 + len(translations) for caption in both):
            return both
        widest = widest or both
    return widest or []


def add_translations(captions: Sequence[Caption], translations: Mapping[str, str]) -> list[Caption]:
    """Part each translation among a final's captions by the length of their texts, and put its lines below theirs."""
    lengths = [sum(map(len, caption.lines)) for caption in captions]
    lines: list[list[str]] = [list(caption.lines) for caption in captions]
    for language, text in translations.items():
        words = split_words(clean(text), language)
        begin = done = 0
        for length, caption in zip(lengths, lines, strict=True):
            done += length
            end = round(len(words) * done / sum(lengths))
            caption.extend(_wrap(words[begin:end], language))
            begin = end
    return [replace(caption, lines=tuple(its)) for caption, its in zip(captions, lines, strict=True)]


def _wrap(words: Sequence[str], language: str) -> list[str]:
    """Lines of words, none longer than a caption's unless it is a single word."""
    lines: list[list[str]] = []
    for word in words:
        if lines and len(join_words([*lines[-1], word], language)) <= COLUMNS:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [join_words(line, language) for line in lines]
