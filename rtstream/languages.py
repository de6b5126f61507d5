"""Names of languages, which are BCP 47 tags (RFC 5646) such as ``es``, ``zh-Hant``, ``pt-BR``, and their words."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rtstream.events import Final

ENGLISH = "en"
"""From which texts are translated, and into which speech is."""
UNSPACED = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages that are written without spaces between words."""

AUTO = "auto"
"""In the place of a language that is spoken: whichever it is of those that the model knows."""

_TAG = re.compile(r"([a-z]{2,3})(?:[-_]([a-z]{4}))?(?:[-_]([a-z]{2}|[0-9]{3}))?", re.IGNORECASE)


def canonical(tag: str) -> str:
    """A tag as it is usually written, whatever its case and separator. Raises ValueError if it is not one."""
    match = _TAG.fullmatch(tag.strip())
    if match is None:
        raise ValueError(f"{tag!r} is no language tag: it is one such as es, pt-BR or zh-Hant")
    language, script, region = match.groups()
    return "-".join(filter(None, (language.lower(), (script or "").title(), (region or "").upper())))


def primary(tag: str) -> str:
    """The language of a tag without its script and region, as tokenizers name it."""
    return tag.partition("-")[0]


def within(tag: str, wanted: str) -> bool:
    """Whether a canonical tag is ``wanted`` or more exact than it, as ``pt-BR`` is for ``pt`` (RFC 4647, 3.3.1)."""
    return tag == wanted or tag.startswith(f"{wanted}-")


def known_as(tag: str, known: Collection[str]) -> str | None:
    """The one of ``known`` canonical tags that a canonical tag is or is more exact than; None if there is none."""
    return tag if tag in known else next((wanted for wanted in known if within(tag, wanted)), None)


def read_choice(given: str | Iterable[str]) -> tuple[str, ...]:
    """Languages that may be spoken, as people name them: tags, in one text parted by commas; none for :data:`AUTO`.

    Raises ValueError.
    """
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
    if names == [AUTO]:
        return ()
    return tuple(dict.fromkeys(map(canonical, names)))


def choose(wanted: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Those of a model's languages that canonical tags mean, its own order aside; all where none is wanted.

    Raises ValueError, which says what it knows, for another.
    """
    found: dict[str, None] = {}
    for tag in wanted:
        name = known_as(tag, known)
        if name is None:
            raise ValueError(f"'{tag}' is not known to this model, only {', '.join(known)}")
        found[name] = None
    return tuple(found) or tuple(known)


def main_language(finals: Iterable[Final]) -> str:
    """The language in which most is said, by its time; "" where no final says which it is in."""
    said: Counter[str] = Counter()
    for final in finals:
        if final.language and final.text:
            said[final.language] += final.end - final.start
    return max(said, key=lambda language: said[language], default="")


def split_words(text: str, language: str) -> list[str]:
    """The words of a text in the language of a tag; its characters where words are not parted."""
    return list("".join(text.split())) if _is_unspaced(language) else text.split()


def join_words(words: Iterable[str], language: str) -> str:
    """The text of words."""
    return ("" if _is_unspaced(language) else " ").join(words)


def _is_unspaced(language: str) -> bool:
    return primary(language) in UNSPACED
