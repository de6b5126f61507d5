"""The language that a client names."""

from __future__ import annotations

from rtstream.languages import AUTO, canonical, within
from rtstream.wire.failures import invalid

NAMES = {
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "uk": "ukrainian",
}
"""What OpenAI's answers call languages, as clients may too."""
SHOWN = 40
"""Characters of what a client has named that it is told again."""
ANY = (AUTO, "multi")
"""For whichever language is spoken: ours, and Deepgram's word for it."""


def read_language(wanted: str, known: tuple[str, ...]) -> tuple[str, ...] | None:
    """The languages that may be spoken, as StreamSettings have them: the one that is wanted, any, or the service's own.

    Raises RequestFailedError for one that the model, which recognises ``known``, does not.
    """
    if not wanted:
        return None
    if wanted.lower() in ANY:
        return ()
    shown = wanted[:SHOWN]
    named = next((code for code, name in NAMES.items() if name == wanted.lower()), wanted)
    try:
        tag = canonical(named)
    except ValueError:
        first = known[0] if known else "en"
        raise invalid("language", f"'{shown}' is no language; give its code, such as {first}") from None
    for language in known:
        if within(tag, language) or within(language, tag):
            return (language,)
    raise invalid("language", f"the model does not recognise '{shown}', only {', '.join(known)}")
