"""The language that a client names."""

from __future__ import annotations

from rtstream.languages import canonical, within
from rtstream.wire.failures import invalid

NAMES = {"en": ("english",)}
"""OpenAI's clients may write a language's name."""


def read_language(wanted: str, known: tuple[str, ...]) -> str:
    """The language that is wanted, which the model must know. Raises RequestFailedError."""
    first = known[0] if known else "en"
    if not wanted or wanted.lower() in NAMES.get(first, ()):
        return first
    try:
        tag = canonical(wanted)
    except ValueError:
        raise invalid("language", f"'{wanted}' is no language; give its code, such as {first}") from None
    for language in known:
        if within(tag, language) or within(language, tag):
            return language
    raise invalid("language", f"the model does not recognise '{wanted}', only {', '.join(known)}")
