"""Texts of any language in the plain Latin letters that CTC writes."""

from __future__ import annotations

import unicodedata

LATIN = "ß ss æ ae œ oe ø o ł l đ d ð d þ th ı i ŋ n ħ h"
CYRILLIC = (
    "а a б b в v г g д d е e ж zh з z и i к k л l м m н n о o п p р r с s т t у u ф f х h ц ts ч ch ш sh щ shch ы y "
    "э e ю yu я ya "  # those of Russian and Bulgarian
    "є ye і i ґ g "  # Ukrainian, Belarusian
    "ђ dj ј j љ lj њ nj ћ c џ dz ѕ dz"  # Serbian, Macedonian
)
GREEK = "α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps ω o"
UNSAID = "ъь·\N{SOFT HYPHEN}"
"""What has no sound of its own; the dot is Catalan's, of l·l."""
APOSTROPHES = "’‘ʼ"
TRANSLITERATED = frozenset({"be", "bg", "el", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "uk"})
"""Languages, ISO 639-1, that are not written in Latin letters: CTC's letters are none of theirs."""

_PAIRS = f"{LATIN} {CYRILLIC} {GREEK}".split()
_PLAIN = str.maketrans(
    dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True)) | dict.fromkeys(UNSAID, "") | dict.fromkeys(APOSTROPHES, "'")
)


def fold(text: str) -> str:
    """A text in lower case and plain Latin letters: without accents, Cyrillic and Greek transliterated.

    Digits, signs and the letters of other scripts stay. A text that is folded stays as it is.
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.replace("´", "'"))  # an accent by itself is an apostrophe
    return "".join(c for c in apart if not unicodedata.combining(c)).lower().translate(_PLAIN)
