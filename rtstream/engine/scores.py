"""Probabilities of scores, over the last axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rtstream.engine.base import F32, Ids


def log_softmax(scores: F32) -> F32:
    """Log-probabilities (..., n) of scores of the same shape."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    out: F32 = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return out


def softmax(scores: F32) -> F32:
    """Probabilities (..., n) of scores of the same shape."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    out: F32 = powers / powers.sum(axis=-1, keepdims=True)
    return out


def best(scores: F32, count: int) -> tuple[F32, Ids]:
    """The ``count`` largest of each row (rows, n), the largest first, and their places."""
    count = min(count, scores.shape[-1])
    places = np.argpartition(scores, -count, axis=-1)[:, -count:]
    order = np.argsort(-np.take_along_axis(scores, places, axis=-1), axis=-1, kind="stable")
    places = np.take_along_axis(places, order, axis=-1)
    return np.take_along_axis(scores, places, axis=-1), places
