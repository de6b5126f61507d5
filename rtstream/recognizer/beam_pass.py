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


SURE = -1.0
"""The log-probability from which on a token of greedy search is not doubted.

A half of the texts of dev-cv and dev-librispeech have no other, and beam search corrects no word in them. In those that
do have one it must begin at the beginning: what is unsure often follows from a word before that seemed sure. Begun at
the first unsure token it corrects hardly anything.
"""


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
    """Whole texts by beam search of ``width`` hypotheses where greedy search is unsure; growing prefixes stay greedy.

    ``sure``: the least log-probability that each of greedy search's tokens must have for its text to do; infinity asks
    for the beam always. Texts compete by the mean log-probability of their tokens and end: Whisper's ``avg_logprob``,
    and CTranslate2's score with its default length penalty of 1.
    """

    def __init__(
        self, decoder: Decoder, tokenizer: Tokenizer, width: int, language: str = "en", *, sure: float = SURE
    ) -> None:
        super().__init__(decoder, tokenizer, language)
        self.sure = sure
        self.beam = Beam(width, tokenizer.end, self.allowed, norm=float)

    def transcribe(self, state: DecoderState, draft: list[int]) -> Decoded:
        """The text of all frames of ``state``: greedy search's where it is sure, and where no hypothesis ends."""
        greedy = super().transcribe(state, draft)
        if not state.frames or (greedy.ended and min(greedy.log_probs) >= self.sure):
            return greedy
        begun = self.decoder.step(torch.tensor(self.prompt[:-1]), state.rewound(0), scored=1)[2]
        last, limits = torch.tensor([self.prompt[-1:]]), _Final(self.limit(state))
        (found,) = self.beam.search(self.decoder, last, begun.batch(), [limits])
        best = next((hypothesis for hypothesis in found if hypothesis.ended), None)
        return greedy if best is None else Decoded(best.tokens, ended=True, opening=greedy.opening)
