"""Keeps the memory of a process that recognises for days where it was after its first minutes."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of malloc.h."""
MAPPED = 8 << 20
"""Bytes from which on memory is the system's as soon as it is freed; of less than that, asking anew costs time."""
KERNELS = 8
"""How many shapes of one operation or another oneDNN keeps compiled code for; making it again takes well below 1 ms."""


def keep_heap_small() -> None:
    """Have glibc give back what is freed; to be called before there are threads, of which each gets a heap otherwise.

    What a long segment takes stays in the heap's holes else: a third of the service's own memory.
    """
    with suppress(OSError, AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, MAPPED), (M_TRIM_THRESHOLD, MAPPED)):
            mallopt(name, value)


def bound_kernel_cache() -> None:
    """Let oneDNN keep little compiled code; to be called before torch computes, afterwards it has no effect.

    By default it is for 1024 shapes, and texts and segments of all lengths make ever new ones: 18 MB in an hour, and
    pieces so small and so scattered that the heap cannot use the room between them. What the environment says counts.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


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
