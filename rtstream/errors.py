"""Errors that a user can act on: each message is one line, names what is wrong and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class RtstreamError(Exception):
    """Base of every error that is reported to the user as one line, without a traceback."""

    def __init__(self, message: str) -> None:
        # What is quoted, names of files or another library's words, may have many lines, or colours.
        super().__init__(printable(" ".join(message.split())))


class AudioError(RtstreamError):
    """An audio source cannot be read: missing, not audio, empty, truncated, or holding no finite samples.

    ``finals``: what was recognised before, where a whole recording was asked for at once, in that call's own type.
    """

    finals: Sequence[Any] = ()


class BundleError(RtstreamError):
    """A model bundle is missing, corrupt, truncated, of another version, or not a bundle at all."""


class ConfigError(RtstreamError):
    """A setting is unknown or has a value that is not allowed."""


class TrainingError(RtstreamError):
    """A recipe, data set or checkpoint cannot be used for training."""


class TranslationError(RtstreamError):
    """A translation model is missing, cannot be read, or does not know a language."""


def printable(text: str) -> str:
    """Escape what a terminal would obey or cannot show: control characters, and bytes of a name that are no text."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte as os.fsdecode leaves it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
