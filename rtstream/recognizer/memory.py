"""Keeps the memory of a process that recognises for days where it was after its first minutes."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library than glibc
        return None
    return trim


def return_freed_memory() -> None:
    """Return freed pages; takes about 5 ms.

    Segments of all lengths leave holes of all sizes in glibc's heap: without this a process grows by half its size
    over some hundred segments, though nothing is kept.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
