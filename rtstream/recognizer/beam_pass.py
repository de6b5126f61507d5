"""Beam search for finals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from rtstream.nn.beam_search import Beam
from rtstream.recognizer.final_pass import Decoded, GreedyDecoder, repeats

if TYPE_CHECKING:
    from torch import Tensor

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.decoder import Decoder, DecoderState


@dataclass(frozen=True, slots=True)
class _Final:
    """A final as the search sees it: the limits of greedy search."""

    most: int

    def forbid(self, logs: Tensor, tokens: list[int]) -> None:
        """Nothing but what is never written."""

    def cut(self, tokens: list[int]) -> bool:
        """Whether it is a loop."""
        return repeats(tokens)


class BeamDecoder(GreedyDecoder):
    """Whole texts by beam search of ``beam`` hypotheses; growing prefixes stay greedy.

    Texts compete by the mean log-probability of their tokens and end: Whisper's ``avg_logprob``, and CTranslate2's
    score with its default length penalty of 1.
    """

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, beam: int, language: str = "en") -> None:
        super().__init__(decoder, tokenizer, language)
        self.beam = Beam(beam, tokenizer.end, self.allowed, norm=float)

    def transcribe(self, state: DecoderState, draft: list[int]) -> Decoded:
        """The text of all frames of ``state``: greedy search's with ``draft`` where no hypothesis ends by itself."""
        if state.frames:
            logits, _, begun = self.decoder.step(torch.tensor(self.prompt[:-1]), state.rewound(0))
            last, limits = torch.tensor([self.prompt[-1:]]), _Final(self.limit(state))
            (found,) = self.beam.search(self.decoder, last, begun.batch(), [limits])
            ended = next((hypothesis for hypothesis in found if hypothesis.ended), None)
            if ended is not None:
                return Decoded(ended.tokens, ended=True, opening=self._opening(logits))
        return super().transcribe(state, draft)
