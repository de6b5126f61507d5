"""Several channels to one, as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES_PER_SECOND = 100
MEMORY_SECONDS = 0.5
"""Over which the channels are compared."""
LOST, KEPT = 0.1, 0.5
"""Shares of the energy that the mean of channels would have that know nothing of one another: below the first they
cancel each other, above the second no more."""
LOUDER = 4.0
"""How many times the energy of the channel in use another one must have to take its place: 6 dB."""


class Downmix:
    """The mean of the channels; where they cancel each other, as with a plug that inverts one, the loudest channel.

    It changes from one to the other within a frame of 10 ms, which is held back until it is complete. What is given
    does not depend on how the input is cut. ``rate`` is in Hz.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._size = max(1, rate // FRAMES_PER_SECOND)
        self._decay = 1 - 1 / (MEMORY_SECONDS * FRAMES_PER_SECOND)
        self._ramp = np.linspace(0, 1, self._size, dtype=np.float32)
        self._rest = np.zeros((0, channels), np.float32)
        self._channels = np.zeros(channels)  # energy of each, lately
        self._mean = 0.0  # and of their mean
        self._chosen: int | None = None

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take ``frames`` of shape (n, channels), give the samples that are ready, of shape (m,)."""
        frames = np.concatenate((self._rest, frames))
        whole = len(frames) - len(frames) % self._size
        self._rest = frames[whole:].copy()
        return self._mixed(frames[:whole])

    def finish(self) -> NDArray[np.float32]:
        """Give the last samples, of a frame that is not complete."""
        rest, self._rest = self._rest, self._rest[:0]
        return _chosen(rest, self._chosen)

    def _mixed(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        mixed = average(frames)
        for begin in range(0, len(frames), self._size):
            part = slice(begin, begin + self._size)
            before, silent = self._chosen, not self._channels.any()
            self._compare(frames[part], mixed[part])
            if self._chosen != before and not silent:
                old, new = _chosen(frames[part], before), _chosen(frames[part], self._chosen)
                mixed[part] = old + (new - old) * self._ramp
            elif self._chosen is not None:
                mixed[part] = frames[part, self._chosen]
        return mixed

    def _compare(self, frames: NDArray[np.float32], mean: NDArray[np.float32]) -> None:
        """Choose what this frame of 10 ms, and those after it, are made of."""
        self._channels = self._decay * self._channels + np.square(frames, dtype=np.float64).sum(axis=0)
        self._mean = self._decay * self._mean + float(np.square(mean, dtype=np.float64).sum())
        unrelated = float(self._channels.sum()) / len(self._channels) ** 2
        loudest = int(np.argmax(self._channels))
        if self._chosen is None:
            self._chosen = loudest if self._mean < LOST * unrelated else None
        elif self._mean > KEPT * unrelated:
            self._chosen = None
        elif self._channels[loudest] > LOUDER * self._channels[self._chosen]:
            self._chosen = loudest


def average(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels. Added one after the other: numpy's own order of summation could depend on the shape."""
    total = frames[:, 0].copy()
    for channel in range(1, frames.shape[1]):
        total += frames[:, channel]
    total /= np.float32(frames.shape[1])
    return total


def _chosen(frames: NDArray[np.float32], channel: int | None) -> NDArray[np.float32]:
    return average(frames) if channel is None else frames[:, channel]
