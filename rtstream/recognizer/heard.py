"""What is known of the frames of a segment so far: CTC's posteriors, the decoder's keys, and who speaks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rtstream.engine.scores import softmax
from rtstream.model.config import FOREIGN, KNOWN, LETTERS, NOBODY
from rtstream.recognizer.evidence import Evidence
from rtstream.recognizer.final_pass import Opening

if TYPE_CHECKING:
    from rtstream.engine.base import F32, DecoderState
    from rtstream.recognizer.ctc_search import LogProbs


@dataclass(frozen=True)
class Heard:
    """Frames of a segment: ``decoder`` has their keys, and may have read a text; ``posteriors`` (frames, symbols).

    ``voices`` (frames, 4) as the engine has them, of a model with that head. ``letters``: CTC's. ``language``: the one
    that is taken to be spoken, an ISO 639-1 code. ``lead``: samples before the segment's own that the frames have.
    """

    decoder: DecoderState
    posteriors: tuple[LogProbs, ...] = ()
    voices: tuple[F32, ...] = ()
    letters: str = LETTERS
    language: str = "en"
    lead: int = 0

    @cached_property
    def log_probs(self) -> LogProbs:
        """CTC's log posteriors of all frames, (frames, symbols)."""
        return np.concatenate(self.posteriors) if self.posteriors else np.zeros((0, 1), np.float32)

    @cached_property
    def evidence(self) -> Evidence:
        """What CTC hears of texts in all frames."""
        return Evidence(self.log_probs, self.letters, self.language)

    @cached_property
    def opening(self) -> Opening | None:
        """Who speaks in all frames; None of a model whose decoder says it."""
        if not self.voices:
            return None
        said = np.concatenate(self.voices)
        shares = softmax(softmax(said[:, 0]) @ said[:, 1:]).tolist()  # as ``nn.voice.pooled`` has it
        return Opening(shares[NOBODY], shares[KNOWN] / max(shares[KNOWN] + shares[FOREIGN], 1e-9))

    def without(self, frames: int) -> Heard:
        """The same before its newest ``frames`` frames, which came in one piece with others or without."""
        if not frames:
            return self
        decoder = self.decoder.without(frames)
        *before, newest = self.posteriors
        voices = (*self.voices[:-1], self.voices[-1][:-frames]) if self.voices else ()
        return replace(self, decoder=decoder, posteriors=(*before, newest[:-frames]), voices=voices)

    def said_in(self, language: str) -> Heard:
        """The same, now that another language is taken to be spoken."""
        return self if language == self.language else replace(self, language=language)
