"""Greedy decoding with the attention decoder: whole texts for finals, growing prefixes for partials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rtstream.nn.encoder import FRAMES_PER_SECOND

if TYPE_CHECKING:
    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.decoder import Decoder, DecoderState

TOKENS_A_SECOND = 8.0  # the fastest speech has about 6
SPARE_TOKENS = 6
MAX_PERIOD = 24
REPEATS = 3
LITTLE_ATTENTION = 0.003
REWIND_FRAMES = 75  # attention that falls back by 1.5 s begins the text again


def token_limit(frames: int) -> int:
    """The most tokens that a text over this many encoder frames may have."""
    return SPARE_TOKENS + int(frames / FRAMES_PER_SECOND * TOKENS_A_SECOND)


def repeats(tokens: list[int]) -> bool:
    """Whether the end of ``tokens`` says the same thing over and over: a period of n tokens, REPEATS times or more.

    Short periods must repeat more often, since "no no no" is speech.
    """
    for period in range(1, min(MAX_PERIOD, len(tokens) // REPEATS) + 1):
        times = REPEATS + (3 if period < 3 else 0)
        tail = tokens[-period * times :]
        if len(tail) == period * times and tail == tail[:period] * times:
            return True
    return False


def places(attention: Tensor) -> list[int]:
    """The frame that each step attended to, of (steps, frames) cross-attention.

    Much of it rests on a few frames at every step, wherever the speaker is (attention sinks, arXiv 2309.17453): what
    counts is by how many times a frame has more than it had on average in the steps before.
    """
    steps = torch.arange(1, len(attention) + 1, device=attention.device)[:, None]
    before = (attention.cumsum(dim=0) - attention) / (steps - 1).clamp(min=1)
    found: list[int] = (attention / (before + LITTLE_ATTENTION)).argmax(dim=-1).tolist()
    return found


@dataclass(frozen=True, slots=True)
class Decoded:
    """Tokens of a text without special ones.

    ``ended``: the decoder stopped by itself, within all limits. ``no_speech``: probability that nobody speaks, as
    Whisper's decoder says it before the text (arXiv 2212.04356, section 4.5).
    """

    tokens: list[int]
    ended: bool
    no_speech: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A text that the decoder has read: log-probability of each of its ``tokens`` and of the end, (n + 1,)."""

    tokens: list[int]
    log_probs: Tensor
    state: DecoderState


class GreedyDecoder:
    """Greedy search over one decoder's weights."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, language: str = "en") -> None:
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.prompt = tokenizer.prompt(language)
        self.allowed = torch.zeros(len(tokenizer))
        self.allowed[tokenizer.unwritten] = -torch.inf

    def _read(self, tokens: list[int], state: DecoderState) -> tuple[int, Tensor, DecoderState]:
        """The likeliest token after these, what each of them attended to, and the next state."""
        logits, attention, state = self.decoder.step(torch.tensor(tokens), state, scored=1)
        return int((logits[-1] + self.allowed).argmax()), attention, state

    def no_speech(self, state: DecoderState) -> float:
        """Probability that nobody speaks in the frames of ``state``."""
        return self._no_speech(self.decoder.step(torch.tensor(self.prompt[:1]), state.rewound(0))[0])

    def _no_speech(self, logits: Tensor) -> float:
        return float(logits[0].softmax(dim=-1)[self.tokenizer.no_speech])

    def limit(self, state: DecoderState) -> int:
        """The most tokens that a text over all frames of ``state`` may have."""
        return min(token_limit(state.frames), self.decoder.config.max_tokens - len(self.prompt) - 1)

    def transcribe(self, state: DecoderState, draft: list[int]) -> Decoded:
        """The text of all frames of ``state``.

        ``draft`` is a guess at its beginning, checked in one pass: as far as greedy search agrees with it, its steps
        are saved; the result is the same as without it.
        """
        state = state.rewound(0)
        if not state.frames:
            return Decoded([], ended=True, no_speech=1.0)
        limit = self.limit(state)
        draft = draft[:limit]
        logits, _, state = self.decoder.step(torch.tensor([*self.prompt, *draft]), state)
        no_speech = self._no_speech(logits)
        best: list[int] = (logits[len(self.prompt) - 1 :] + self.allowed).argmax(dim=-1).tolist()
        agreed = 0
        while agreed < len(draft) and best[agreed] == draft[agreed]:
            agreed += 1
        tokens, following = draft[:agreed], best[agreed]
        state = state.rewound(len(self.prompt) + agreed)
        while following != self.tokenizer.end:
            tokens.append(following)
            if len(tokens) >= limit or repeats(tokens):
                return Decoded(tokens, ended=False, no_speech=no_speech)
            following, _, state = self._read([following], state)
        return Decoded(tokens, ended=True, no_speech=no_speech)

    def extend(self, state: DecoderState, committed: list[int], stop_frames: int) -> list[int]:
        """Tokens to add to a committed text now that ``state`` has more frames; whole words only.

        Decoding goes on from the committed tokens until a token's cross-attention rests within ``stop_frames`` of the
        newest frame (AlignAtt, arXiv 2305.11408): what lies there may not have been said to its end. It also ends where
        the attention falls back, which is how a text begins to be said twice.
        """
        state = state.rewound(0)
        limit = self.limit(state)
        following, attention, state = self._read([*self.prompt, *committed], state)
        # The attention of the step that chose a token is where that token was heard; the prompt's says nothing.
        *before, place = places(attention)[len(self.prompt) - 1 :]
        heard = max(before, default=0)
        added: list[int] = []
        while following != self.tokenizer.end and len(committed) + len(added) < limit:
            if place >= state.frames - stop_frames or place < heard - REWIND_FRAMES:
                return self._whole_words(added, following)
            heard = max(heard, place)
            added.append(following)
            if repeats([*committed, *added]):
                return []
            following, newest, state = self._read([following], state)
            attention = torch.cat([attention, newest])
            place = places(attention)[-1]
        return added if following == self.tokenizer.end else self._whole_words(added, following)

    def read(self, tokens: list[int], state: DecoderState, like: Reading | None = None) -> Reading:
        """What the decoder thinks of a text over all frames of ``state``; the part it shares with ``like`` is free."""
        given = [*self.prompt, *tokens]
        same = 0
        if like is not None:
            pairs = zip(tokens, like.tokens, strict=False)
            same = next((index for index, (new, old) in enumerate(pairs) if new != old), len(like.tokens))
            same = min(same, len(tokens))
            state = like.state
        # The last token that is the same is read again: it is what the first other one follows.
        begin = len(self.prompt) + same - 1 if same else 0
        logits, _, state = self.decoder.step(torch.tensor(given[begin:]), state.rewound(begin))
        following = torch.tensor([*tokens[same:], self.tokenizer.end])
        scores = (logits + self.allowed)[-len(following) :].log_softmax(dim=-1)
        new = scores.gather(1, following[:, None])[:, 0]
        return Reading(tokens, new if like is None else torch.cat([like.log_probs[:same], new]), state)

    def _whole_words(self, tokens: list[int], following: int) -> list[int]:
        """Tokens without the last word, unless ``following`` begins another one."""
        if self.tokenizer.begins_word(following):
            return tokens
        while tokens and not self.tokenizer.begins_word(tokens[-1]):
            tokens = tokens[:-1]
        return tokens[:-1]
