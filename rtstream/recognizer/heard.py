"""What is known of the frames of a segment so far: CTC's posteriors, the decoder's keys, and who speaks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from rtstream.model.config import FOREIGN, KNOWN, NOBODY
from rtstream.nn.voice import pooled
from rtstream.recognizer.final_pass import Opening

if TYPE_CHECKING:
    from torch import Tensor

    from rtstream.nn.decoder import DecoderState
    from rtstream.recognizer.ctc_search import LogProbs


@dataclass(frozen=True)
class Heard:
    """Frames of a segment: ``decoder`` has their keys and no tokens, ``posteriors`` (frames, symbols) lie in a row.

    ``voices`` (frames, 4) as ``nn.voice`` has them, of a model with that head.
    """

    decoder: DecoderState
    posteriors: tuple[LogProbs, ...] = ()
    voices: tuple[Tensor, ...] = ()

    @cached_property
    def log_probs(self) -> LogProbs:
        """CTC's log posteriors of all frames, (frames, symbols)."""
        return np.concatenate(self.posteriors) if self.posteriors else np.zeros((0, 1), np.float32)

    @cached_property
    def opening(self) -> Opening | None:
        """Who speaks in all frames; None of a model whose decoder says it."""
        if not self.voices:
            return None
        shares = pooled(torch.cat(self.voices)).softmax(dim=-1).tolist()
        return Opening(shares[NOBODY], shares[KNOWN] / max(shares[KNOWN] + shares[FOREIGN], 1e-9))

    def without(self, frames: int) -> Heard:
        """The same before its newest ``frames`` frames, which came in one piece with others or without."""
        if not frames:
            return self
        decoder = replace(self.decoder, frames=self.decoder.frames - frames)
        *before, newest = self.posteriors
        voices = (*self.voices[:-1], self.voices[-1][:-frames]) if self.voices else ()
        return Heard(decoder, (*before, newest[:-frames]), voices)
