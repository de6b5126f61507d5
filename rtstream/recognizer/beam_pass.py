"""Beam search for finals, and for what partials grow by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rtstream.engine.beam_search import Beam
from rtstream.model.config import MEL_FRAME
from rtstream.recognizer.final_pass import Decoded, GreedyDecoder, Grown, Written, repeats, token_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.engine.base import F32, DecoderState, SpeechDecoder
    from rtstream.engine.beam_search import Hypothesis


SURE = -1.0
"""The log-probability from which on a token of greedy search is not doubted.

A half of the texts of dev-cv and dev-librispeech have no other, and beam search corrects no word in them. In those that
do have one it must begin at the beginning: what is unsure often follows from a word before that seemed sure. Begun at
the first unsure token it corrects hardly anything.
"""
MORE_TOKENS = 12
"""That a beam's text may have where greedy search has come to an end."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text, or what follows a part of it, as the search sees it: the limits of greedy search.

    ``end``: the token that must not be the first; None where a text may be empty.
    """

    most: int
    end: int | None = None

    def forbid(self, logs: F32, tokens: list[int]) -> None:
        """Nothing but what is never written, and perhaps nothing at all."""
        if self.end is not None and not tokens:
            logs[self.end] = -np.inf

    def cut(self, tokens: list[int]) -> bool:
        """Whether it is a loop."""
        return repeats(tokens)


class BeamDecoder(GreedyDecoder):
    """Texts by beam search of ``width`` hypotheses where greedy search is unsure.

    ``sure``: the least log-probability that each of greedy search's tokens must have for its text to do; infinity asks
    for the beam always. ``empty``: whether a whole text may have no word; where not, what greedy
    search has found is not believed. Texts compete by the mean log-probability of
    their tokens and end: Whisper's ``avg_logprob``, and CTranslate2's score with its default length penalty of 1.
    """

    def __init__(
        self,
        decoder: SpeechDecoder,
        tokenizer: Tokenizer,
        width: int,
        language: str = "en",
        *,
        spoken: Sequence[str] = (),
        frame: int = MEL_FRAME,
        sure: float = SURE,
        empty: bool = True,
    ) -> None:
        super().__init__(decoder, tokenizer, language, spoken=spoken, frame=frame)
        self.sure, self.empty = sure, empty
        self.beam = Beam(width, tokenizer.end, self.allowed, norm=float)

    def transcribe(self, state: DecoderState, draft: Sequence[int] = ()) -> Decoded:
        """The text of all frames of ``state``: greedy search's where it is sure, and where no hypothesis ends."""
        greedy = super().transcribe(state, draft)
        if not state.frames or (greedy.ended and min(greedy.log_probs) >= self.sure):
            return greedy
        most = self.limit(state)
        # The tighter the limit, the sooner the best is known to be that. Where greedy search has found nothing, or what
        # is not true, the best may be longer.
        if greedy.ended and greedy.tokens and self.empty:
            most = min(most, len(greedy.tokens) + MORE_TOKENS)
        best = self._likeliest(state.rewound(0), [], most)
        if best is None:
            return greedy
        return Decoded(best.tokens, ended=True, opening=greedy.opening, certainty=best.score)

    def extend(self, state: DecoderState, committed: list[int], stop_frames: int, draft: list[int]) -> Grown:
        """What a committed text grows by: greedy search's where it is sure, and where no hypothesis ends.

        What a beam of its own says of all frames so far is cut where greedy search would stop.
        """
        greedy = super().extend(state, committed, stop_frames, draft)
        if min(greedy.log_probs, default=0.0) >= self.sure:
            return greedy
        read = greedy.state
        assert read is not None
        most = len(greedy.tokens) + len(greedy.draft) + token_limit(stop_frames, self.frame)
        best = self._likeliest(read, committed, min(most, self.limit(state) - len(committed)))
        if best is None:
            return greedy
        kept = self._kept(read, committed)
        grown = self.grow(self._written(kept, committed, best.tokens), kept, committed, stop_frames)
        return replace(grown, opening=greedy.opening, log_probs=[], state=read)

    def _likeliest(self, state: DecoderState, committed: list[int], most: int) -> Hypothesis | None:
        """What the beam has after a committed text to its end, in at most so many tokens; None where none ends.

        ``state`` may have read the prompt and that text, or a part of it.
        """
        given = [*self.prompt, *committed]
        begun = state.rewound(min(state.tokens, len(given) - 1))
        if begun.tokens < len(given) - 1:
            begun = self.decoder.decode(given[begun.tokens : -1], begun, scored=1).state
        text = _Text(most, None if self.empty or committed else self.tokenizer.end)
        (found,) = self.beam.search(self.decoder, np.array([given[-1:]]), begun.batch(), [text])
        return next((hypothesis for hypothesis in found if hypothesis.ended), None)

    def _written(self, state: DecoderState, committed: list[int], tokens: list[int]) -> Iterator[Written]:
        """Tokens after a committed text, of which ``state`` has read a part, as if a search had just written them."""
        given = [*self.prompt, *committed][state.tokens :]
        attention = self.decoder.decode([*given, *tokens], state, scored=1).attention
        return (Written(token, 0.0, len(given) + index, attention) for index, token in enumerate(tokens))
