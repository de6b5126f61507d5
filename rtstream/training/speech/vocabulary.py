"""Cut a tokenizer to the tokens that texts use."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import wordfreq

from rtstream.bundle.tokenizer import LANGUAGE, Tokenizer
from rtstream.errors import TrainingError
from rtstream.training.corpus.text import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
"""Tokens with a meaning of their own that stay, besides those of the languages."""


def count_tokens(tokenizer: Tokenizer, words: Counter[str]) -> Counter[int]:
    """How often each token occurs in texts of these pre-tokenized words."""
    counts: Counter[int] = Counter()
    for word, number in words.items():
        for token in tokenizer.encode(word):
            counts[token] += number
    return counts


def common_words(language: str, count: int) -> list[str]:
    """The ``count`` commonest words of a language, lower case (wordfreq). Raises TrainingError without such a list."""
    if language not in wordfreq.available_languages():  # else it takes the nearest that it knows
        msg = (
            f"vocabulary: no list of the words of '{language}'; of {', '.join(sorted(wordfreq.available_languages()))}"
        )
        raise TrainingError(msg)
    found: list[str] = wordfreq.top_n_list(language, count)
    return found


def cut_tokenizer(
    full: Tokenizer, texts: Iterable[Path], *, lower: int, cased: int, words: Iterable[str] = ()
) -> Tokenizer:
    """The tokenizer of the ``lower`` commonest tokens of the normalized texts and the ``cased`` of them as written.

    ``texts``: files of one sentence a line, gzip where the name ends in .gz. ``words``: of which all tokens are kept,
    whether a word begins with a capital or a space, or not. Raises TrainingError where a file is missing.
    """
    as_written: Counter[str] = Counter()
    normalized: Counter[str] = Counter()
    for path in texts:
        try:
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", encoding="utf-8") as file:
                for line in file:
                    as_written.update(full.words(f" {line.strip()}"))
                    plain = normalize(line)
                    if plain:
                        normalized.update(full.words(f" {plain}"))
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            msg = f"{path}: text for the vocabulary cannot be read: {error}"
            raise TrainingError(msg) from error
    keep = {token for token, _ in count_tokens(full, normalized).most_common(lower)}
    keep |= {token for token, _ in count_tokens(full, as_written).most_common(cased)}
    for word in words:
        for before, form in product(("", " "), {word, word.capitalize()}):
            keep.update(full.encode(before + form))
    special = [name for name in full.special if name in SPECIAL or LANGUAGE.fullmatch(name)]
    return full.select_special(special).cut(keep)[0]


def kept_ids(full: Tokenizer, cut: Tokenizer) -> list[int]:
    """The full tokenizer's id of each token of the cut one."""
    special = {index: full.special[name] for name, index in cut.special.items()}
    plain = {piece: index for index, piece in enumerate(full.pieces) if piece not in full.special}
    return [special[index] if index in special else plain[piece] for index, piece in enumerate(cut.pieces)]
