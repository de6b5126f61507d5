"""Where a text may be parted: which points end a sentence, and which words belong together."""

from __future__ import annotations

import re

NEVER_LAST = frozenset(
    {
        *("mr", "mrs", "ms", "messrs", "dr", "prof", "rev", "fr", "hon", "gen", "col", "maj", "capt", "lt", "sgt"),
        *("cpl", "cmdr", "adm", "gov", "sen", "rep", "pres", "supt", "st", "mt", "ft", "vol", "fig", "figs", "pp"),
        *("ch", "sec", "approx", "vs", "cf", "viz", "e.g", "i.e"),
    }
)
"""Abbreviations behind which something is still to come: "Mr." never ends a sentence."""
OPENING = "\"'“‘«([{¿¡"  # noqa: RUF001 - quotation marks, as below
CLOSING = "\"'”’»)]}"  # noqa: RUF001
"""What may stand behind a sentence's last point."""
ENDS = (".", "?", "!", "…", "。", "？", "！")  # noqa: RUF001 - those of Chinese and Japanese

_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
"""One letter and a point, or several such: "J.", "U.S."."""
_NUMBER = re.compile(r"[^\w\s]?\d[\d.,:/]*")


def ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends between two words."""
    bare = word.rstrip(CLOSING)
    if not bare.endswith(ENDS):
        return False
    begins = following.lstrip(OPENING)[:1]
    if begins.islower():  # "at 7 p.m. on", "Well... maybe"
        return False
    return not (bare.endswith(".") and _goes_on(bare, begins))


def may_part(word: str, following: str) -> bool:
    """Whether what is read in one piece may end between two words: not behind "Mr.", an initial, or a number."""
    bare = word.rstrip(CLOSING)
    if bare.endswith(".") and _goes_on(bare, following[:1]):
        return False
    return ends_sentence(word, following) or not _NUMBER.fullmatch(bare)


def _goes_on(bare: str, begins: str) -> bool:
    """Whether the point at the end of a word is that of an abbreviation, an initial, or a number that is not over."""
    name = bare.lstrip(OPENING).removesuffix(".").lower()
    if name in {"a.m", "p.m"}:
        return False
    if name in {"no", "nos"}:  # the answer ends a sentence, "No. 5" does not
        return begins.isdigit()
    return name in NEVER_LAST or _INITIALS.fullmatch(f"{name}.") is not None or (name[-1:] + begins).isdecimal()
