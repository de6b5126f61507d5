"""Greedy decoding with the attention decoder: whole texts for finals, growing prefixes for partials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rtstream.engine.scores import log_softmax, softmax
from rtstream.events import SAMPLE_RATE
from rtstream.model.config import MEL_FRAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rtstream.bundle.tokenizer import Task, Tokenizer
    from rtstream.engine.base import F32, DecoderState, SpeechDecoder, Step

TOKENS_A_SECOND = 8.0  # the fastest speech has about 6
SPARE_TOKENS = 6
MAX_PERIOD = 24
REPEATS = 4
SHORT_REPEATS = 20
LITTLE_ATTENTION = 0.003
REWIND_SECONDS: dict[Task, float] = {"transcribe": 1.5, "translate": 4.0}
"""Attention that falls back by so much begins the text again: English may have other words first than what is said."""
GUESSED_TOKENS = 8
"""Of a draft, that are read at a time: twice as many after some that were right, half as many after a wrong one.

Each of them is computed for nothing behind a wrong one, which a processor feels that has few units for it.
"""
LEAPT_TOKENS = 3  # of a draft, that may be left out
READ_AGAIN = 4
"""Tokens of a committed text that are read again with further frames; what was made of those before them is kept.

What a token's keys have of frames that came later is little: it was committed because it did not attend to the newest.
Those that are read again are also what says which frames are attended to at every step (see ``places``).
"""


def token_limit(frames: int, frame: int = MEL_FRAME) -> int:
    """The most tokens that a text over this many encoder frames, of ``frame`` samples each, may have."""
    return SPARE_TOKENS + int(frames * frame / SAMPLE_RATE * TOKENS_A_SECOND)


def repeats(tokens: list[int]) -> bool:
    """Whether the end of ``tokens`` says the same thing over and over: a period of n tokens, REPEATS times or more.

    Short periods, of words and digits, must repeat more often than anybody says them in a row: how often somebody did
    is for CTC to say.
    """
    for period in range(1, min(MAX_PERIOD, len(tokens) // REPEATS) + 1):
        times = max(REPEATS, SHORT_REPEATS // period)
        tail = tokens[-period * times :]
        if len(tail) == period * times and tail == tail[:period] * times:
            return True
    return False


def left_of(draft: list[int], token: int, written: int) -> list[int]:
    """What is left of a draft in the place of whose beginning ``written`` tokens came, ``token`` the last of them."""
    near = draft[: written + LEAPT_TOKENS]
    return draft[near.index(token) + 1 :] if token in near else draft[written:]


def places(attention: F32) -> list[int]:
    """The frame that each step attended to, of (steps, frames) cross-attention.

    Much of it rests on a few frames at every step, wherever the speaker is (attention sinks, arXiv 2309.17453): what
    counts is by how many times a frame has more than it had on average in the steps before.
    """
    steps = np.arange(len(attention))[:, None]
    before = (np.cumsum(attention, axis=0, dtype=np.float64) - attention) / np.maximum(steps, 1)
    found: list[int] = (attention / (before + LITTLE_ATTENTION)).argmax(axis=-1).tolist()
    return found


@dataclass(frozen=True, slots=True)
class Opening:
    """What Whisper's decoder says before a text (arXiv 2212.04356, section 2.3), or a head of its own (``nn.voice``).

    ``no_speech``: probability that nobody speaks. ``language``: that one of the languages is spoken that may be, of all
    languages; 1 from a decoder that knows no other. A decoder that says neither finds that somebody speaks such a one.
    ``shares``: of each of several languages that may be spoken, the probability among these.
    """

    no_speech: float
    language: float
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """Tokens of a text without special ones. ``ended``: the decoder stopped by itself, within all limits.

    ``log_probs``: of each token, and of the end if it ``ended``, by greedy search; of no token by another.
    ``certainty``: their mean, by any.
    """

    tokens: list[int]
    ended: bool
    opening: Opening
    log_probs: list[float] = field(default_factory=list)
    certainty: float = 0.0


@dataclass(frozen=True, slots=True)
class Grown:
    """What a text grows by.

    ``tokens``: whole words that it has for good. ``draft``: what greedy search wrote after them. ``opening``: of a text
    that had no tokens before, None for others. ``log_probs``: of each of ``tokens``, by greedy search; of none by
    another. ``state``: of the decoder that has read the text that was there before.
    """

    tokens: list[int]
    draft: list[int]
    opening: Opening | None
    log_probs: list[float] = field(default_factory=list)
    state: DecoderState | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text that the decoder has read: log-probability of each of its ``tokens`` and of the end, (n + 1,)."""

    tokens: list[int]
    log_probs: F32
    state: DecoderState


class Written(NamedTuple):
    """A token that a search writes, its log-probability, the number of steps before, and what they attended to.

    Steps are those of tokens that were read just now. ``attention`` (n, frames): of as many as count; others are of
    guesses.
    """

    token: int
    log_prob: float
    before: int
    attention: F32


class GreedyDecoder:
    """Greedy search over one decoder's weights."""

    def __init__(
        self,
        decoder: SpeechDecoder,
        tokenizer: Tokenizer,
        language: str = "en",
        *,
        spoken: Sequence[str] = (),
        task: Task = "transcribe",
        frame: int = MEL_FRAME,
    ) -> None:
        """``language``: the spoken one, of those that may be ``spoken``. ``frame``: samples from one to the next."""
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.frame = frame
        self.rewind = round(REWIND_SECONDS[task] * SAMPLE_RATE / frame)
        self.prompt = tokenizer.prompt(language, task)
        self.allowed = np.zeros(len(tokenizer), np.float32)
        self.allowed[tokenizer.unwritten] = -np.inf
        self.languages = list(tokenizer.languages.values())
        codes = list(tokenizer.languages)
        self.spoken = [codes.index(each) for each in spoken or (language,)] if codes else []

    def _write(self, read: Step, draft: list[int]) -> Iterator[Written]:
        """What greedy search writes, token by token.

        ``read``: what the decoder gave for the text so far with the first ``GUESSED_TOKENS`` of a ``draft`` of what
        follows. A step takes its time to fetch the weights: it checks several guesses at once in hardly more than it
        takes to write a token (LLMA, arXiv 2304.04487). Where the draft is wrong, what is left of it is the next guess.
        """
        logits, attention, state = read
        kept = state.tokens - len(attention)  # what the state had read before
        # The draft since the last right guess, how many tokens came in the place of its beginning, and what is left.
        left, written, rest, size = draft, 0, draft, GUESSED_TOKENS
        guess = draft[:size]
        while True:
            likely = log_softmax(logits[-len(guess) - 1 :] + self.allowed)
            best: list[int] = likely.argmax(axis=-1).tolist()
            log_probs: list[float] = likely.max(axis=-1).tolist()
            right = 0
            while right < len(guess) and best[right] == guess[right]:
                right += 1
            before = state.tokens - len(guess)
            for index, token in enumerate(best[: right + 1]):
                yield Written(token, log_probs[index], before - kept + index, attention)
            state = state.rewound(before + right)
            left, written = (rest[right:], 1) if right else (left, written + 1)
            rest = left_of(left, best[right], written)
            size = min(2 * size, 2 * GUESSED_TOKENS) if right == len(guess) else GUESSED_TOKENS // 2
            guess = rest[: min(size, self.decoder.config.max_tokens - state.tokens - 1)]
            tokens = [best[right], *guess]
            logits, newest, state = self.decoder.decode(tokens, state, scored=len(tokens))
            attention = np.concatenate([attention[: before - kept + right], newest])

    def opening(self, state: DecoderState) -> Opening:
        """Who speaks in the frames of ``state``."""
        return self._opening(self.decoder.decode(self.prompt[:1], state.rewound(0)).logits)

    def _opening(self, logits: F32) -> Opening:
        if self.tokenizer.no_speech is None:
            return Opening(no_speech=0.0, language=1.0)
        no_speech = softmax(logits[0])[self.tokenizer.no_speech]
        if not self.spoken:
            return Opening(float(no_speech), language=1.0)
        spoken = softmax(logits[0, self.languages])[self.spoken]
        shares = tuple((spoken / spoken.sum()).tolist()) if len(spoken) > 1 else ()
        return Opening(float(no_speech), float(spoken.sum()), shares)

    def limit(self, state: DecoderState) -> int:
        """The most tokens that a text over all frames of ``state`` may have."""
        return min(token_limit(state.frames, self.frame), self.decoder.config.max_tokens - len(self.prompt) - 1)

    def transcribe(self, state: DecoderState, draft: Sequence[int] = ()) -> Decoded:
        """The text of all frames of ``state``; ``draft`` is a guess at it, which is read at once where it is right."""
        state = state.rewound(0)
        if not state.frames:
            return Decoded([], ended=True, opening=Opening(no_speech=1.0, language=1.0))
        limit = self.limit(state)
        guess = list(draft[:limit])
        read = self.decoder.decode([*self.prompt, *guess[:GUESSED_TOKENS]], state)
        opening = self._opening(read.logits)
        tokens: list[int] = []
        log_probs: list[float] = []
        ended = False
        for written in self._write(read, guess):
            log_probs.append(written.log_prob)
            if written.token == self.tokenizer.end:
                ended = True
                break
            tokens.append(written.token)
            if len(tokens) >= limit or repeats(tokens):
                break
        return Decoded(tokens, ended, opening, log_probs, sum(log_probs) / max(1, len(log_probs)))

    def extend(self, state: DecoderState, committed: list[int], stop_frames: int, draft: list[int]) -> Grown:
        """What a committed text grows by now that ``state`` has more frames; ``draft`` is a guess at it.

        Decoding goes on from the committed tokens until a token's cross-attention rests within ``stop_frames`` of the
        newest frame (AlignAtt, arXiv 2305.11408): what lies there may not have been said to its end. It also ends where
        the attention falls back, which is how a text begins to be said twice. ``state`` may have read the prompt and
        a part of the committed text already, in fewer frames: of that only the end is read again.
        """
        state = self._kept(state, committed)
        draft = draft[: max(self.limit(state) - len(committed), 0)]
        given = [*self.prompt, *committed]
        guess = draft[:GUESSED_TOKENS]
        scored = len(guess) + 1 if committed else None
        read = self.decoder.decode([*given[state.tokens :], *guess], state, scored=scored)
        grown = self.grow(self._write(read, draft), state, committed, stop_frames)
        opening = None if committed else self._opening(read.logits)
        return replace(grown, opening=opening, state=read.state.rewound(len(given)))

    def _kept(self, state: DecoderState, committed: list[int]) -> DecoderState:
        """The part of what a state has read that is not read again."""
        most = len(self.prompt) + len(committed) - READ_AGAIN if committed else 0
        return state.rewound(max(min(state.tokens, most), 0))

    def grow(self, writing: Iterable[Written], state: DecoderState, committed: list[int], stop_frames: int) -> Grown:
        """The part of what is being written after a committed text that it grows by, as ``extend`` says.

        ``state``: before the first step of which the writing has the attention. No more is written than that takes.
        """
        # Of the steps that count the first says nothing where those before it are not known, nor does the prompt's.
        begin = 1 if state.tokens else len(self.prompt) - 1
        left = self.limit(state) - len(committed)
        added: list[int] = []
        log_probs: list[float] = []
        seen: F32 | None = None
        heard_at: list[int] = []
        for token, log_prob, steps, attention in writing:
            if token == self.tokenizer.end:
                break
            if attention is not seen:
                seen, heard_at = attention, places(attention)
            # The attention of the step that chose a token is where that token was heard.
            *before, place = heard_at[begin:steps]
            newest = place >= state.frames - stop_frames
            if newest or place < max(before, default=0) - self.rewind or len(added) >= left:
                whole = self._whole_words(added, token)
                return Grown(whole, [*added, token][len(whole) :], None, log_probs[: len(whole)])
            added.append(token)
            log_probs.append(log_prob)
            if repeats([*committed, *added]):
                return Grown([], [], None)
        return Grown(added, [], None, log_probs)

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
        logits, _, state = self.decoder.decode(given[begin:], state.rewound(begin))
        following = np.array([*tokens[same:], self.tokenizer.end])
        scores = log_softmax((logits + self.allowed)[-len(following) :])
        new: F32 = scores[np.arange(len(following)), following]
        return Reading(tokens, new if like is None else np.concatenate([like.log_probs[:same], new]), state)

    def _whole_words(self, tokens: list[int], following: int) -> list[int]:
        """Tokens without the last word, unless ``following`` begins another one."""
        if self.tokenizer.begins_word(following):
            return tokens
        while tokens and not self.tokenizer.begins_word(tokens[-1]):
            tokens = tokens[:-1]
        return tokens[:-1]
