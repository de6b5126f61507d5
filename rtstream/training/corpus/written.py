"""References as they would be written: case and punctuation taken over from the teacher's text."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from rtstream.training.corpus.text import normalize

if TYPE_CHECKING:
    from collections.abc import Callable

TERMINAL = re.compile(r"[.!?]+[\"')\]]*$")


def in_style(reference: str, written: str, plain: Callable[[str], str | None] = normalize) -> str:
    """The words of ``reference`` (normalized), each as ``written`` has it where both say the same.

    Each word of the result normalizes to the reference's word at its place, so both have equally many. Words that
    the other text does not have stay as they are, but for the first one's capital and the last one's full stop, which
    are put where the other text begins and ends so. ``plain`` says which words are the same.
    """
    words = reference.split()
    theirs = [(same, word) for word in written.split() if (same := plain(word)) and " " not in same]
    styled = list(words)
    matcher = SequenceMatcher(None, [plain(word) for word in words], [same for same, _ in theirs], autojunk=False)
    for ours, other, size in matcher.get_matching_blocks():
        styled[ours : ours + size] = [word for _, word in theirs[other : other + size]]
    plain_end = styled[-1:] == words[-1:]
    if words and styled[0] == words[0] and written[:1].isupper():
        styled[0] = styled[0][0].upper() + styled[0][1:]
    if words and plain_end and styled[-1][-1].isalnum() and TERMINAL.search(written.strip()):
        styled[-1] += "."
    return " ".join(styled)


def in_case(reference: str, written: str) -> str:
    """``reference`` as an index has it, in whatever language, with the teacher's case and marks if it has no case.

    Unlike normalized texts it has its accents, and words that differ by one are not the same.
    """
    reference = re.sub('"+', '"', reference)  # as tables double them
    return reference if reference != reference.lower() else in_style(reference, written, _without_marks)


def _without_marks(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word.lower())


def alone(reference: str) -> str:
    """``reference`` (normalized) as a sentence, where no teacher wrote one: with a capital and a full stop.

    Letters are in capitals where they are spelt: each by itself, "a" and "i" only beside another.
    """
    words = reference.split()
    if not words:
        return ""
    letters = [len(word) == 1 and word.isalpha() for word in words]
    beside = zip([False, *letters], [*letters[1:], False], strict=False)
    written = [
        word.upper() if letter and (word not in {"a", "i"} or any(others)) else word
        for word, letter, others in zip(words, letters, beside, strict=False)
    ]
    written[0] = written[0][0].upper() + written[0][1:]
    return " ".join(written) + "."
