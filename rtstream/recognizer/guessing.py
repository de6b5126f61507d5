"""Guesses at what a decoder will write: it checks several tokens at once in hardly more time than it takes for one."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from rtstream.model.letters import TRANSLITERATED, fold

if TYPE_CHECKING:
    from rtstream.bundle.tokenizer import Tokenizer

GUESSED_WORDS = 6
"""Of CTC at a time: what is wrong at the beginning costs what follows it."""


def continued(written: str, heard: str) -> str:
    """What a text was heard to go on with: the words of ``heard`` behind those that ``written`` has.

    The two may differ in words, and ``written`` in case, marks and accents; ``heard`` is as CTC spells. Of words that
    both have the last ones tell.
    """
    old = ["".join(filter(str.isalnum, fold(word))) for word in written.split()]
    new = ["".join(filter(str.isalnum, word)) for word in heard.split()]
    *matches, _ = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    left = len(old)
    if matches:
        last = matches[-1]
        left = last.b + last.size + len(old) - (last.a + last.size)
    words = heard.split()[left : left + GUESSED_WORDS]
    # A word that was written in part is heard whole.
    if old and 0 < left <= len(new) and new[left - 1] != old[-1] and new[left - 1].startswith(old[-1]):
        return " ".join([new[left - 1][len(old[-1]) :], *words])
    return "".join(f" {word}" for word in words)


def with_ctc(tokens: list[int], heard: str, tokenizer: Tokenizer, language: str = "en") -> list[int]:
    """Tokens, and behind them those of what CTC has heard besides, if the language is written in its letters."""
    if language in TRANSLITERATED:
        return tokens
    following = continued(tokenizer.decode(tokens), heard)
    return [*tokens, *tokenizer.encode(following)] if following else tokens
