"""Floating-point samples: their scale, and where they are no audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rtstream.audio.reader import hms

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOUDEST = 64.0
"""Full scale is 1. Floats may exceed it, by 36 dB at most; beyond this it is no audio, or of another scale."""
DECIDING_SECONDS = 0.1
"""Of the first audio that is not digital silence: it tells the scale. Even the noise of a room does."""
INTEGER_SCALES = (1 << 15, 1 << 23, 1 << 31)


class FullScale:
    """Brings samples to full scale 1, and finds the first that is no audio.

    Samples in the scale of integers, such as ``int16`` that was cast to float, show in the first ``DECIDING_SECONDS``
    that are not zero: they are whole numbers, or far too large. Those are held back until then. What is given does not
    depend on how the input is cut. ``decide`` is False for samples whose scale is known. ``begin``: where they begin in
    the source, in seconds.

    ``fault`` is set once a sample is no audio: what is wrong, without the source's name. Nothing from there on is
    given.
    """

    def __init__(self, rate: int, channels: int, *, decide: bool = True, begin: float = 0.0) -> None:
        self.fault: str | None = None
        self._rate = rate
        self._begin = begin
        self._wanted = max(1, round(DECIDING_SECONDS * rate))
        self._held: NDArray[np.float32] | None = np.zeros((0, channels), np.float32) if decide else None
        self._scale = np.float32(1)
        self._given = 0  # frames

    @np.errstate(invalid="ignore")  # what is no number is found, and told
    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take ``frames`` of shape (n, channels), give those that are ready, of shape (m, channels)."""
        if self._held is None:
            return self._good(frames)
        silent = _zeros(frames) if not len(self._held) else 0
        self._held = np.concatenate((self._held, frames[silent:]))
        if len(self._held) < self._wanted:
            return self._good(frames[:silent])
        return np.concatenate((self._good(frames[:silent]), self.finish()))

    @np.errstate(invalid="ignore")
    def finish(self) -> NDArray[np.float32]:
        """Give what is still held back, of shape (m, channels)."""
        if self._held is None:
            return np.zeros((0, 1), np.float32)
        held, self._held = self._held, None
        self._scale = np.float32(1 / _full_scale(held[: self._wanted]))
        return self._good(held)

    def _good(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale frames and give those before the first that is no audio."""
        if self.fault is not None:
            return frames[:0]
        if self._scale != 1:
            frames = frames * self._scale
        # NaN compares false: this also finds what is not a number
        good = (np.abs(frames) <= LOUDEST).all(axis=1)
        if not good.all():
            bad = int(np.argmin(good))
            value = frames[bad][~(np.abs(frames[bad]) <= LOUDEST)][0]
            self.fault = _describe(float(value / self._scale), self._begin + (self._given + bad) / self._rate)
            frames = frames[:bad]
        self._given += len(frames)
        return frames


def _zeros(frames: NDArray[np.float32]) -> int:
    """Count the frames before the first that is not digital silence."""
    sounding = frames.any(axis=1)
    return int(np.argmax(sounding)) if sounding.any() else len(frames)


def _full_scale(frames: NDArray[np.float32]) -> int:
    """Tell what full scale is, from the first samples that are not zero."""
    values = frames[np.isfinite(frames)]
    peak = float(np.abs(values).max(initial=0))
    if peak > LOUDEST or (peak >= 2 and bool((values == np.rint(values)).all())):
        return next((scale for scale in INTEGER_SCALES if peak <= scale), 1)
    return 1


def _describe(value: float, seconds: float) -> str:
    where = f"the sample at {hms(seconds)} is {value:g}, not audio"
    if not np.isfinite(value) or abs(value) > INTEGER_SCALES[-1]:
        return f"{where}: the recording is damaged, all before it was read"
    return (
        f"{where}: floats have full scale 1, these seem to have that of integers, all before it was read; "
        "divide them by 32768, or give integers"
    )
