"""Which of several languages is spoken: in a segment, by the decoder, and from one to the next of a stream.

The decoder's probabilities of the languages decide, multiplied with what was likely before it heard anything: the
language of what was said last has ``RETURNS`` times the odds that it would have of its own, and these fall to the half
with every ``FORGOTTEN`` seconds of pause. Who changes the language is understood at once where the decoder is surer of
that; a doubtful word stays in the language of the conversation. Of a segment that has ended before ``DECIDED_SECONDS``
the decoder knows less than it says: a language that is known for sure then has ``RETURNS_SHORT`` times the odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.engine.scores import softmax
from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

RETURNS = 4.0
"""By how much likelier a language is right behind what was said in it."""
RETURNS_SHORT = 64.0
"""The same for a whole segment that is short."""
FORGOTTEN = 60.0
"""Seconds of pause in which such an advantage, the logarithm of it, falls to a half."""
HEARD_SECONDS = 1.9
"""Of a segment, with the silence before it: of less the decoder says English, whatever it is, and is sure of it."""
SURE = 0.9
"""The probability that makes a language clear from there on."""
DECIDED_SECONDS = 2.5
"""Of a segment, from where on the likeliest language does."""


def may_be_clear(seconds: float) -> bool:
    """Whether so much of a segment has been heard that its language may be clear."""
    return seconds >= HEARD_SECONDS


def is_clear(likely: float, seconds: float) -> bool:
    """Whether a language that is so likely is taken to be spoken in a segment of which so much has been heard."""
    return may_be_clear(seconds) and (likely >= SURE or seconds >= DECIDED_SECONDS)


@dataclass(frozen=True, slots=True)
class SpokenLanguage:
    """What was spoken last in a stream: ``last``, "" before anything was, up to the sample ``end``.

    ``certain``: whether that language was found in a segment that was long enough, or clear.
    """

    last: str = ""
    end: int = 0
    certain: bool = False

    def after(self, language: str, likely: float, start: int, end: int) -> SpokenLanguage:
        """The same after a segment of the samples from ``start`` to ``end`` in a ``language`` that is so ``likely``."""
        found = likely >= SURE or (end - start) / SAMPLE_RATE >= DECIDED_SECONDS
        return SpokenLanguage(language, end, found or (self.certain and language == self.last))

    def likeliest(
        self, shares: Sequence[float], languages: Sequence[str], start: int, end: int | None = None
    ) -> tuple[str, float]:
        """The language of a segment that begins at the sample ``start``, and how likely it is.

        ``shares``: the decoder's probability of each of ``languages``; ``end``: where all of the segment that is heard
        ends, None while it goes on.
        """
        scores = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
        if self.last in languages:
            pause = max(start - self.end, 0) / SAMPLE_RATE
            short = end is not None and (end - start) / SAMPLE_RATE < DECIDED_SECONDS
            returns = RETURNS_SHORT if short and self.certain else RETURNS
            scores[languages.index(self.last)] += np.log(returns) * 0.5 ** (pause / FORGOTTEN)
        likely = softmax(scores)
        best = int(likely.argmax())
        return languages[best], float(likely[best])
