"""Sentences that are cut in two because a segment was as long as it may be: case and full stop follow the sentence.

A decoder ends whatever it hears with a full stop and begins with a capital letter, which says nothing of such a cut.
"""

from __future__ import annotations

import re

SHORT = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc)|\.\w+|\b[A-HJ-Z]|\.)\.$")
"""Ends whose point is no full stop: a title, "U.S.", an initial, three points."""
FIRST = re.compile(r"\w+")
LIST = (
    "a about after all also an and any are as at be because been before but by can could did do does for from "
    "had has have he her him his how if in into is it its more my no nor not of on only or other our out over "
    "shall she should so some such than that the their them then there these they this those through to under "
    "until up upon us very was we were what when where which while who whom whose why will with would you "
    "your"
)
SMALL = frozenset(LIST.split())
"""Words that have a capital letter only where a sentence begins. Others may be names, and keep theirs."""


def unfinished(text: str) -> str:
    """The text before a cut, without the full stop at its end."""
    return text if not text.endswith(".") or SHORT.search(text) else text[:-1]


def continued(text: str) -> str:
    """The text behind a cut: a small word at its beginning is written small."""
    first = FIRST.match(text)
    if first is None or first[0].lower() not in SMALL:
        return text
    return text[0].lower() + text[1:]
