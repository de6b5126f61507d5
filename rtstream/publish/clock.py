"""A clock to measure ages with, which no change of the time of day disturbs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SET_AFTER = 1_735_689_600.0
"""2025-01-01 in Unix time: a time of day before it is that of a machine without a clock that has not heard of NTP."""


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The machine's clocks: seconds since boot, suspension included; which boot; the time of day."""

    uptime: Callable[[], float] = _boottime
    boot_id: Callable[[], str] = _boot_id
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, as it is stored: the age clock's reading together with the machine's."""

    seconds: float
    uptime: float
    boot_id: str
    wall: float


@dataclass(slots=True)
class AgeClock:
    """Seconds of service. Never goes back; while the service is down it advances as far as that can be known.

    Within one boot the machine's uptime tells. Across boots the time of day does, but only if it was set at both ends
    and did not go back: else the down time counts as nothing, which keeps things longer and never deletes too early.
    """

    last: Mark | None = None
    clocks: Clocks = field(default_factory=Clocks)
    _origin: float = field(init=False)

    def __post_init__(self) -> None:
        down = 0.0
        if self.last is not None:
            if self.last.boot_id and self.last.boot_id == self.clocks.boot_id():
                down = self.clocks.uptime() - self.last.uptime
            elif min(self.last.wall, self.clocks.wall()) > SET_AFTER:
                down = self.clocks.wall() - self.last.wall
        at = (self.last.seconds if self.last is not None else 0.0) + max(down, 0.0)
        self._origin = at - self.clocks.uptime()

    def now(self) -> float:
        """Seconds of service."""
        return self._origin + self.clocks.uptime()

    def mark(self) -> Mark:
        """This moment, to be given to the next AgeClock as ``last``."""
        clocks = self.clocks
        return Mark(self.now(), clocks.uptime(), clocks.boot_id(), clocks.wall())
