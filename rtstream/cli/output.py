"""Where transcripts go: standard output."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from rtstream.cli.screen import terminal_columns
from rtstream.cli.wrapping import wrap_transcript

if TYPE_CHECKING:
    from rtstream.cli.screen import LiveLine
    from rtstream.formats.writer import Format


class Output:
    """Standard output, in UTF-8 whatever the locale; ``line`` is cleared before anything is written.

    On a terminal lines of text break between words.
    """

    def __init__(self, format_: Format, line: LiveLine) -> None:
        self._wraps = format_ == "text" and sys.stdout.isatty()
        self._line = line
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")

    def write(self, text: str) -> None:
        """Write whole lines, or nothing; whoever reads the other end of a pipe sees them now."""
        if text:
            self._line.clear()
            sys.stdout.write(wrap_transcript(text, terminal_columns(sys.stdout)) if self._wraps else text)
            sys.stdout.flush()
