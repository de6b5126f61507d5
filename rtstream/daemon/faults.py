"""What is broken now, from what is published about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from rtstream.publish.items import PASSING_FAULTS

if TYPE_CHECKING:
    from rtstream.events import Fault

log = structlog.get_logger()


class Faults:
    """The faults that have not recovered, by code; safe to use from any thread."""

    def __init__(self) -> None:
        self.count = 0
        """How many were told, in all."""
        self._active: dict[str, Fault] = {}
        self._lock = threading.Lock()

    @property
    def active(self) -> tuple[Fault, ...]:
        """What is broken now."""
        with self._lock:
            return tuple(self._active.values())

    def note(self, fault: Fault) -> bool:
        """Take news of a fault; whether they are any: the same again is not."""
        with self._lock:
            known = self._active.get(fault.code)
            if fault.recovered:
                self._active.pop(fault.code, None)
            elif fault.code not in PASSING_FAULTS and fault != known:  # the same again is as old as it was
                self._active[fault.code] = fault
            news = known is not None if fault.recovered else known != fault
            self.count += news and not fault.recovered
        if news:
            report = log.info if fault.recovered else log.error
            report("fault recovered" if fault.recovered else "fault", code=fault.code, message=fault.message)
        return news
