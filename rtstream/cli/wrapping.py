"""Lines that break between words, as a terminal does not."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

_TIMES = re.compile(r"\[[\d:.]+ - [\d:.]+\] ")
"""What a line of a transcript begins with."""
LEAST_COLUMNS = 20
"""Of text beside its times; with less room the text goes on below them."""


def wrap(text: str, columns: int, indent: str = "") -> list[str]:
    """Lines of ``columns`` cells at most, of which all but the first begin with ``indent``.

    Only words that are longer than that are cut.
    """
    lines: list[str] = []
    line: str | None = None
    room = max(columns - cell_len(indent), 1)
    for word in text.split(" "):
        for number, piece in enumerate(chop_cells(word, room) or [""]):
            if line is None:
                line = piece
            elif not number and cell_len(line) + 1 + cell_len(piece) <= columns:
                line += f" {piece}"
            else:
                lines.append(line)
                line = indent + piece
    return [*lines, line or ""]


def wrap_transcript(text: str, columns: int) -> str:
    """Whole lines of a transcript, its texts beside their times, where there is room."""
    return "".join(_wrapped(line, columns) for line in text.splitlines(keepends=True))


def _wrapped(line: str, columns: int) -> str:
    times = _TIMES.match(line)
    if times is None or cell_len(line.rstrip("\n")) <= columns:
        return line
    width = len(times[0])
    indent = " " * width if columns - width >= LEAST_COLUMNS else "  "
    return "".join(f"{part}\n" for part in wrap(line.rstrip("\n"), columns, indent))
