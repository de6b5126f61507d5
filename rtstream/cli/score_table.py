"""Rows of figures as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def score_table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], words: Collection[str], caption: str
) -> Table:
    """``columns``: what is shown of each row, and its heading. ``words``: those that stand at the left.

    A dash stands for what a row lacks.
    """
    table = Table(caption=caption)
    for key, heading in columns.items():
        table.add_column(heading, justify="left" if key in words else "right", overflow="fold")
    for row in rows:
        table.add_row(*("-" if row.get(key) is None else str(row[key]) for key in columns))
    return table
