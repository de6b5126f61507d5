"""Byte-level BPE over a cut vocabulary.

The tokenizer is Whisper's (GPT-2's algorithm: Sennrich et al. 2016 over bytes) or Moonshine's (SentencePiece's BPE, of
which the earlier of two pieces is made first), reduced to the tokens that our texts use. ``cut`` keeps every token's
ancestors, so a text whose tokens are all kept is encoded as the full tokenizer encodes it; any other text is spelt with
smaller pieces, down to single bytes, and still comes back exactly.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from rtstream.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# GPT-2's pre-tokenizer; [^\W\d_] and \d stand for its \p{L} and \p{N}.
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

SPACED = re.compile(r" ?[^ ]+| +")
"""The words of a tokenizer without merges: SentencePiece lets only spaces part them."""

Task = Literal["transcribe", "translate"]
"""What Whisper's decoder writes of speech: its text, or that in English."""

LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
"""A language's special token."""


@lru_cache(maxsize=1)
def byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in printable}
    hidden = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


@dataclass(frozen=True)
class Tokenizer:
    """``pieces`` by id, byte-level strings; ``merges`` in order of priority; ``special`` names to ids.

    A merge is its two pieces with a space between, which no piece has: pairs of them, and tables of those, take 4 MB
    that a service without phrases never looks at. Without ``merges`` any two neighbours merge that make a piece, those
    of the lowest id first.
    """

    pieces: tuple[str, ...]
    merges: tuple[str, ...] | None
    special: dict[str, int]

    @cached_property
    def _ids(self) -> dict[str, int]:
        special = set(self.special.values())
        return {piece: index for index, piece in enumerate(self.pieces) if index not in special}

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {merge: rank for rank, merge in enumerate(self.merges or ())}

    def _rank(self, pair: tuple[str, str]) -> int:
        """The priority of a merge, the lower the sooner; that of none is ``len(self)``."""
        if self.merges is None:
            return self._ids.get(pair[0] + pair[1], len(self))
        return self._ranks.get(" ".join(pair), len(self))

    @cached_property
    def _bytes(self) -> dict[str, int]:
        return {character: byte for byte, character in byte_characters().items()}

    @cached_property
    def _cache(self) -> dict[str, tuple[int, ...]]:
        return {}

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def end(self) -> int:
        """Id of the token that ends a text."""
        return self.special["<|endoftext|>"]

    @cached_property
    def unwritten(self) -> list[int]:
        """Special tokens that are no part of a text: all but its end."""
        return [token for token in self.special.values() if token != self.end]

    @cached_property
    def languages(self) -> dict[str, int]:
        """Ids of the tokens by which Whisper's decoder says which language is spoken, by ISO 639 code.

        None in Whisper's models for English alone.
        """
        found = ((LANGUAGE.fullmatch(name), index) for name, index in self.special.items())
        return {match[1]: index for match, index in found if match}

    @property
    def no_speech(self) -> int | None:
        """Id of the token by which, in the place of the language, Whisper's decoder says that nobody speaks.

        None in Moonshine's, which says neither.
        """
        return self.special.get("<|nospeech|>")

    @property
    def translates(self) -> bool:
        """Whether the decoder can be asked to write in English what is said in another language."""
        return "<|translate|>" in self.special and bool(self.languages)

    def check_languages(self, languages: Iterable[str], said: str) -> None:
        """See that the decoder has a token for each of ``languages``; ``said``: where they are named.

        Raises BundleError.
        """
        known = self.languages or ("en",)
        if unknown := [language for language in languages if language not in known]:
            msg = f"{said}: the decoder has no token for {', '.join(unknown)}, only for {', '.join(known)}"
            raise BundleError(msg)

    def prompt(self, language: str = "en", task: Task = "transcribe") -> list[int]:
        """The tokens before a text: start, language, task, no timestamps; start and the last where all is English.

        ``language``: the spoken one. Moonshine's is the start alone. Raises KeyError for a language, or a task, that is
        not known.
        """
        asked = ["<|startoftranscript|>"]
        if self.languages or language != "en":
            asked += [f"<|{language}|>", f"<|{task}|>"]
        if "<|notimestamps|>" in self.special:
            asked.append("<|notimestamps|>")
        return [self.special[name] for name in asked]

    def begins_word(self, token: int) -> bool:
        """Whether a token starts a new word: it begins with a space, or is special."""
        return self.pieces[token].startswith(byte_characters()[ord(" ")]) or token in self.special.values()

    def words(self, text: str) -> list[str]:
        """The parts of a text that are encoded each by itself, with the spaces before them."""
        return (SPACED if self.merges is None else WORDS).findall(text)

    def _split(self, word: str) -> list[str]:
        parts = [byte_characters()[byte] for byte in word.encode()]
        while len(parts) > 1:
            rank, index = min((self._rank(pair), i) for i, pair in enumerate(pairwise(parts)))
            if rank == len(self):
                break
            parts[index : index + 2] = [parts[index] + parts[index + 1]]
        return parts

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; no special tokens."""
        tokens: list[int] = []
        for word in self.words(text):
            if word not in self._cache:
                if len(self._cache) > 100_000:  # bounded: a daemon lives for months
                    self._cache.clear()
                self._cache[word] = tuple(self._ids[part] for part in self._split(word))
            tokens.extend(self._cache[word])
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        special = set(self.special.values())
        joined = "".join(self.pieces[token] for token in tokens if token not in special)
        return bytes(self._bytes[character] for character in joined).decode(errors="replace")

    def cut(self, keep: Iterable[int]) -> tuple[Tokenizer, list[int]]:
        """A tokenizer of the tokens ``keep``, their ancestors, all bytes and all special tokens kept so far.

        Returns it and the old id of each new one, which cuts an embedding table to match.
        """
        pairs = {merge.replace(" ", ""): merge.split(" ") for merge in self.merges or ()}
        wanted = set(byte_characters().values())
        stack = [self.pieces[token] for token in keep if token not in set(self.special.values())]
        while stack:
            piece = stack.pop()
            if piece not in wanted:
                wanted.add(piece)
                stack.extend(pairs[piece] if self.merges is not None else self._made_of(piece))
        old = sorted(self._ids[piece] for piece in wanted) + sorted(self.special.values())
        new = {index: position for position, index in enumerate(old)}
        merges = self.merges and tuple(merge for merge in self.merges if merge.replace(" ", "") in wanted)
        special = {name: new[index] for name, index in self.special.items()}
        return Tokenizer(tuple(self.pieces[index] for index in old), merges, special), old

    def _made_of(self, piece: str) -> list[str]:
        """All pieces that come before a piece where it is made: those that are merged first come first."""
        parts, made = list(piece), []
        while len(parts) > 1:
            rank, index = min((self._rank(pair), i) for i, pair in enumerate(pairwise(parts)))
            if rank == len(self):
                return []  # only whole: nothing makes it of pieces
            parts[index : index + 2] = [parts[index] + parts[index + 1]]
            made.append(parts[index])
        return made[:-1]

    def select_special(self, names: Sequence[str]) -> Tokenizer:
        """The same tokenizer with only these special tokens; the others become unreachable until ``cut``."""
        return Tokenizer(self.pieces, self.merges, {name: self.special[name] for name in names})

    def with_special(self, names: Iterable[str]) -> Tokenizer:
        """The same tokenizer with further special tokens, whose ids follow its own."""
        new = tuple(names)
        first = len(self.pieces)
        special = self.special | {name: first + index for index, name in enumerate(new)}
        return Tokenizer((*self.pieces, *new), self.merges, special)

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        data = {"pieces": self.pieces, "merges": self.merges, "special": self.special}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what ``save`` wrote. Raises BundleError naming the file where it is not that."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            given = data["merges"]
            merges = None if given is None else tuple(given)
            tokenizer = cls(tuple(data["pieces"]), merges, {str(k): int(v) for k, v in data["special"].items()})
            special = set(tokenizer.special.values())
            ordinary = {piece for index, piece in enumerate(tokenizer.pieces) if index not in special}
            complete = ordinary.issuperset(byte_characters().values())
            known = all(merge.count(" ") == 1 and merge.replace(" ", "") in ordinary for merge in merges or ())
            named = all(0 <= index < len(tokenizer) for index in (*tokenizer.special.values(), tokenizer.end))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"{path}: not a tokenizer ({type(error).__name__}): copy the bundle again"
            raise BundleError(msg) from error
        if not complete or not known or not named:
            msg = f"{path}: the tokenizer lacks pieces that it needs itself: copy the bundle again"
            raise BundleError(msg)
        return tokenizer
