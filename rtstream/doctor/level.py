"""How loud a microphone is."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np

from rtstream.doctor.checkup import Finding
from rtstream.events import SAMPLE_RATE, AudioBlock, AudioLost, DeviceState

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rtstream.audio.source import Source

FLOOR_DB = -90.0
QUIET_DB, CLIPPED = -55.0, 0.999
BAR_CELLS = 40


def decibels(samples: NDArray[np.float32]) -> float:
    """The mean level in dB below full scale, no less than ``FLOOR_DB``."""
    power = float(np.dot(samples, samples)) / max(len(samples), 1)
    return max(10 * math.log10(power), FLOOR_DB) if power > 10 ** (FLOOR_DB / 10) else FLOOR_DB


def bar(level: float) -> str:
    """A meter from -60 dB to full scale."""
    full = round(min(max((level + 60) / 60, 0.0), 1.0) * BAR_CELLS)
    return f"{'█' * full}{'·' * (BAR_CELLS - full)} {level:6.1f} dB"


def measure(source: Source, seconds: float, show: Callable[[str], None]) -> Finding:
    """Listen for some seconds, showing the level, and judge it. Closes the source.

    They are seconds of the clock since it captures: a device may give less audio than that, or stop.
    """
    heard = lost = 0
    loudest, peak = FLOOR_DB, 0.0
    timer = threading.Timer(seconds, source.close)
    try:
        for item in source:
            match item:
                case DeviceState(state="capturing") if timer.ident is None:  # once
                    timer.start()
                case DeviceState(state="lost" | "stalled") as state:
                    if not heard:
                        return _silent(f"{state.device}: {state.detail}")
                    break
                case AudioLost():
                    lost += item.samples
                case AudioBlock():
                    heard += len(item.samples)
                    level = decibels(item.samples)
                    loudest, peak = max(loudest, level), max(peak, float(np.abs(item.samples).max()))
                    show(bar(level))
            if heard >= seconds * SAMPLE_RATE:
                break
    finally:
        timer.cancel()
        source.close()
    if not heard:
        return _silent(f"it gave no audio within {seconds:g} s")
    found = f"loudest {loudest:.0f} dB, peak {100 * peak:.0f} % of full scale, over {heard / SAMPLE_RATE:.1f} s"
    return _judge(found, loudest, peak, lost)


def _silent(found: str) -> Finding:
    return Finding("level", "failed", found, "choose another device, or free this one")


def _judge(found: str, loudest: float, peak: float, lost: int) -> Finding:
    if peak == 0.0:
        return Finding(
            "level", "failed", f"{found}: digital silence", "it is muted: look at alsamixer, F4, and any switch"
        )
    if lost:
        return Finding("level", "warning", f"{found}, {lost / SAMPLE_RATE:.2f} s lost", "the machine is too busy")
    if peak >= CLIPPED:
        return Finding("level", "warning", f"{found}: clipped", "lower the gain: alsamixer, F4")
    if loudest < QUIET_DB:
        return Finding(
            "level", "warning", f"{found}: very quiet", "speak while it listens, or raise the gain: alsamixer, F4"
        )
    return Finding("level", "ok", found)
