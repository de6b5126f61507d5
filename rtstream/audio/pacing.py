"""Recorded audio at the speed at which a microphone would deliver it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rtstream.events import AudioBlock


def realtime(
    blocks: Iterable[AudioBlock],
    speed: float = 1.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[AudioBlock]:
    """Release each block when its last sample would have been captured, ``speed`` times as fast as real time.

    The start is the moment at which the first block is asked for. Times are kept against that start, so a consumer that
    falls behind catches up and errors do not add up. ``clock`` gives seconds, ``sleep`` takes seconds.
    Raises ValueError unless ``speed`` is positive.
    """
    if not speed > 0:
        msg = f"speed must be positive, got {speed}"
        raise ValueError(msg)
    return _paced(blocks, speed, clock, sleep)


def _paced(
    blocks: Iterable[AudioBlock],
    speed: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> Iterator[AudioBlock]:
    start = clock()
    origin: int | None = None
    for block in blocks:
        if origin is None:
            origin = block.position
        due = start + (block.position + len(block.samples) - origin) / (SAMPLE_RATE * speed)
        # sleep may return early: ask the clock again
        while (wait := due - clock()) > 0:
            sleep(wait)
        yield block
