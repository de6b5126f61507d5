"""Finals of several runs of a service, each with offsets of its own, on one line of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from rtstream.events import Final

SET_AFTER = 1_735_689_600.0
"""2025-01-01 in Unix time: a clock that says less has not been set since its machine was switched on."""


class Timeline:
    """Moves finals, in order, so that none begins before the end of the one before it.

    The first one begins at 0, or with ``clock`` at its time of day, local time; behind midnight hours go on counting.
    The distance between two is that of their times of day. Where a clock was set meanwhile it is that of their offsets,
    and one that has neither follows at once.
    """

    def __init__(self, *, clock: bool = False) -> None:
        self._clock = clock
        self._midnight: datetime | None = None  # local, before the first final
        self._last: Final | None = None
        self._at = 0  # where that was put, in samples

    def place(self, final: Final) -> Final:
        """The final, with its words, where it belongs."""
        last = self._last
        earliest = 0 if last is None else self._at + last.end - last.start
        at = 0 if last is None else self._at + _distance(last, final)
        if self._clock and final.time is not None:
            time_of_day = self._since_midnight(final.time, anew=last is not None and _was_set(last, final))
            at = time_of_day if time_of_day >= earliest else at  # else the clock was set back
        self._last, self._at = final, at
        return _moved(final, at - final.start)

    def _since_midnight(self, time: float, *, anew: bool) -> int:
        local = datetime.fromtimestamp(time, UTC).astimezone().replace(tzinfo=None)
        if self._midnight is None or anew:
            self._midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        return round((local - self._midnight) / timedelta(seconds=1) * SAMPLE_RATE)


def _distance(last: Final, final: Final) -> int:
    """Samples from the start of one final to that of the next."""
    length = last.end - last.start
    if last.time is not None and final.time is not None and not _was_set(last, final):
        passed = round((final.time - last.time) * SAMPLE_RATE)
        if passed >= length:
            return passed
    # Of one run, as far as can be seen: then its offsets are right.
    return final.start - last.start if final.segment > last.segment and final.start >= last.end else length


def _was_set(last: Final, final: Final) -> bool:
    """Whether the clock heard of the time of day between two finals."""
    return last.time is not None and final.time is not None and last.time < SET_AFTER <= final.time


def _moved(final: Final, by: int) -> Final:
    words = tuple(replace(word, start=word.start + by, end=word.end + by) for word in final.words)
    return replace(final, start=final.start + by, end=final.end + by, words=words)
