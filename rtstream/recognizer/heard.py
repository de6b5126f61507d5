"""What is known of the frames of a segment so far: CTC's posteriors, and the decoder's keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rtstream.nn.decoder import DecoderState
    from rtstream.recognizer.ctc_search import LogProbs


@dataclass(frozen=True)
class Heard:
    """Frames of a segment: ``decoder`` has their keys and no tokens, ``posteriors`` (frames, symbols) lie in a row."""

    decoder: DecoderState
    posteriors: tuple[LogProbs, ...] = ()

    @cached_property
    def log_probs(self) -> LogProbs:
        """CTC's log posteriors of all frames, (frames, symbols)."""
        return np.concatenate(self.posteriors) if self.posteriors else np.zeros((0, 1), np.float32)

    def without(self, frames: int) -> Heard:
        """The same before its newest ``frames`` frames, which came in one piece with others or without."""
        if not frames:
            return self
        *before, newest = self.posteriors
        decoder = replace(self.decoder, frames=self.decoder.frames - frames)
        return Heard(decoder, (*before, newest[:-frames]))
