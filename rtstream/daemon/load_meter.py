"""How much work recognition is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable

LATELY_SECONDS = 60.0
"""Of audio, over which the real-time factor is averaged."""


class LoadMeter:
    """What all streams together have cost. ``observe`` hears how long after its arrival a chunk's audio was done."""

    def __init__(self, observe: Callable[[float], None] | None = None) -> None:
        self.steps = 0
        """Pieces of work done."""
        self.samples = 0
        self.cpu_seconds = 0.0
        self._observe = observe
        self._lately_audio = 0.0
        self._lately_cpu = 0.0
        self._lock = threading.Lock()

    @property
    def real_time_factor(self) -> float | None:
        """CPU time per time of audio, lately; None before any audio."""
        with self._lock:
            return self._lately_cpu / self._lately_audio if self._lately_audio else None

    def add(self, samples: int, cpu_seconds: float, latency: float | None) -> None:
        """Note a piece of work: ``latency`` seconds after its last audio had arrived it was done."""
        audio = samples / SAMPLE_RATE
        with self._lock:
            self.steps += 1
            self.samples += samples
            self.cpu_seconds += cpu_seconds
            keep = max(0.0, 1.0 - audio / LATELY_SECONDS)
            self._lately_audio = self._lately_audio * keep + audio
            self._lately_cpu = self._lately_cpu * keep + cpu_seconds
        if latency is not None and self._observe is not None:
            self._observe(latency)
