"""Puts the user's phrases into a text where they were said.

A word spotter finds in CTC's posteriors where each phrase could stand, as in Andrusenko et al. 2024 (arXiv
2406.07096). There the words of the text are exchanged for it, if the decoder and CTC together (hybrid CTC/attention,
Watanabe et al. 2017) like it no worse than the phrase's bonus makes up for. What CTC does not hear is never written,
whatever the bonus. A :class:`Biaser` may serve any number of streams, like the weights; a :class:`BiasedText` is the
text of one segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtstream.recognizer.ctc_search import LogProbs, excess
from rtstream.recognizer.phrases import ELIDED, ELIDING, POSSESSIVE_S, Spelling, parts
from rtstream.recognizer.word_spotter import Spot, Spotter
from rtstream.recognizer.words import join, spell, time_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rtstream.engine.base import DecoderState
    from rtstream.recognizer.final_pass import GreedyDecoder, Reading
    from rtstream.recognizer.phrases import Phrase

NEAR_FRAMES = 3
"""By which the audio of exchanged words may miss the beginning or end of the phrase that was spotted."""


@dataclass(frozen=True, slots=True)
class BiasConfig:
    """What it takes for a phrase to be written; tuned on the dev sets.

    ``max_excess``: nats a letter by which CTC's path through the phrase may be worse than its best path. ``bonus`` and
    ``letter_bonus``: nats that a phrase of weight 1 gets, and for each of its letters. ``ctc_weight``: of the nats by
    which CTC likes it less, beside the decoder's. ``ctc_alone``: nats a letter by which CTC may like a phrase of weight
    1 less where no decoder is asked. ``max_spots``: places in one text that are looked at, the surest first;
    ``max_trials``: exchanges there that the decoder is asked about.
    """

    max_excess: float = 2.0
    bonus: float = 4.0
    letter_bonus: float = 0.6
    ctc_weight: float = 0.1
    ctc_alone: float = 0.6
    max_spots: int = 32
    max_trials: int = 6


@dataclass(frozen=True, slots=True)
class _Exchange:
    """``words`` instead of those from ``first`` to before ``last``.

    ``score``: nats by which this is better, with the bonus; ``gain``: by which CTC's best path through it is.
    """

    first: int
    last: int
    words: tuple[str, ...]
    score: float
    gain: float


class Biaser:
    """A list of phrases, at least one, for CTC's ``letters``. Holds nothing of a stream."""

    def __init__(self, phrases: Sequence[Phrase], letters: str, config: BiasConfig) -> None:
        self.spelling = Spelling(phrases)
        self._letters = letters
        self._config = config
        self._phrases = phrases
        self._symbols = [join(spell(p.text.replace("-", " ").replace(".", " "), letters), letters) for p in phrases]
        self.spotter = Spotter(self._symbols, config.max_excess)

    def rewrite(
        self,
        words: list[str],
        log_probs: LogProbs,
        spots: Sequence[Spot],
        liking: Callable[[list[str]], float] | None,
        *,
        kept: int = 0,
        ended: bool = True,
        language: str = "en",
    ) -> list[str]:
        """The words of a text, with phrases where they were heard and not written.

        ``log_probs`` are all of the segment's so far, ``spots`` those found in them. ``liking`` gives the nats by which
        the decoder likes other words better than ``words``; without it CTC decides alone. The first ``kept`` words
        stay; a text that has not ``ended`` gets nothing behind its last word. ``language``: the text's, ISO 639-1.
        """
        better = []
        heard = _Heard(words, log_probs, self.spans(words, log_probs, language) if spots else [], language, ended)
        exchanges = self._exchanges(heard, spots, kept=kept, alone=liking is None)
        for tried in exchanges[: self._config.max_trials]:
            # As the user writes it, and as a decoder does that knows no capitals.
            ways = sorted({tried.words, tuple(word.lower() for word in tried.words)})
            liked = [0.0 if liking is None else liking(_exchanged(words, tried, way)) for way in ways]
            score = tried.score + max(liked)
            if score > 0:
                way = ways[int(np.argmax(liked))]
                better.append(_Exchange(tried.first, tried.last, way, score, tried.gain))
        for chosen in reversed(_best_apart(better)):
            words = _exchanged(words, chosen, chosen.words)
        return words

    def correct(
        self,
        text: str,
        log_probs: LogProbs,
        decoder: GreedyDecoder | None = None,
        state: DecoderState | None = None,
        *,
        language: str = "en",
    ) -> str:
        """A whole segment's text, of the decoder in ``state``, or else of CTC, with the phrases in it."""
        words = text.split()
        spots = self.spotter.step(log_probs, self.spotter.initial_state()).found
        liking = None if decoder is None or state is None else Liking(decoder, state, words)
        return " ".join(self.spelling.write(self.rewrite(words, log_probs, spots, liking, language=language), language))

    def spans(self, words: Sequence[str], log_probs: LogProbs, language: str) -> list[tuple[int, int]]:
        """First frame of each word, and the one after its last."""
        timed = time_words(" ".join(words), log_probs, self._letters, 0, frame=1, language=language)
        return [(word.start, word.end) for word in timed]

    def _exchanges(self, heard: _Heard, spots: Sequence[Spot], *, kept: int, alone: bool) -> list[_Exchange]:
        """What may be exchanged as far as CTC knows, the surest first; one way for each spot."""
        words, spans, ended = heard.words, heard.spans, heard.ended
        if not spots or len(words) <= kept:
            return []
        begin, end = spans[kept - 1][1] if kept else 0, len(heard.log_probs) if ended else spans[-1][1]
        near = [spot for spot in spots if begin <= spot.last and spot.first < end]
        near.sort(key=lambda spot: spot.excess / len(self._symbols[spot.phrase]))
        said = self.spelling.find(words, heard.language)
        weight = 1.0 if alone else self._config.ctc_weight
        found = []
        for spot in near[: self._config.max_spots]:
            ways = []
            for first, last in _runs(spans, spot):
                there = [phrase for begin, end, phrase in said if begin < last and first < end]
                if first < kept or spot.phrase in there or (first == last == len(words) and not ended):
                    continue
                bonus = self._bonus(spot.phrase, alone=alone)
                # No bonus for one phrase over another: what was heard decides.
                most = np.inf if there else 0.0
                bonus = min(0.0, bonus - sum(self._bonus(p, alone=alone) for p in there)) if there else bonus
                for new, gain in self._compared(heard, spot, first, last):
                    ways.append(_Exchange(first, last, new, bonus + weight * min(gain, most), gain))
            best = max(ways, key=lambda way: way.gain, default=None)
            if best is not None and (best.score > 0 or not alone):
                found.append(best)
        return found

    def _compared(self, heard: _Heard, spot: Spot, first: int, last: int) -> Iterator[tuple[tuple[str, ...], float]]:
        """The phrase, and with what the words have joined to it, with the nats by which CTC hears it better than them.

        Both are aligned to the same frames: from the word before to the word behind.
        """
        words, spans, log_probs = heard.words, heard.spans, heard.log_probs
        begin = spans[first - 1][1] if first else 0
        end = spans[last][0] if last < len(words) else len(log_probs)
        if last == len(words) and not heard.ended:
            end = max(spot.last + 1, spans[-1][1])  # what follows has not been written yet
        if begin > spot.first + NEAR_FRAMES or end < spot.last - NEAR_FRAMES:
            return
        window = log_probs[begin:end]
        space = self._letters.index(" ") + 1
        before, after = [space] if first else [], [space] if last < len(words) else []
        old = join(spell(" ".join(words[first:last]), self._letters), self._letters)
        written = excess(window, [*before, *old, *after] if old else before or after)
        text, symbols = self._phrases[spot.phrase].text, self._symbols[spot.phrase]
        ways = [(text, symbols)]
        mark, tail = "", ""
        if first < last:
            mark, _, _ = parts(words[first])
            _, core, tail = parts(words[last - 1])
            prefix, elided, _ = parts(words[first], ELIDED)
            if prefix and elided and heard.language in ELIDING:
                ways.append((f"{prefix.removeprefix(mark)}{text}", [*spell(prefix, self._letters)[0], *symbols]))
            if core.endswith("s") and heard.language in POSSESSIVE_S:
                ways.append((f"{text}'s", [*symbols, *spell("'s", self._letters)[0]]))
        for name, spelt in ways:
            worse = excess(window, [*before, *spelt, *after])
            if worse <= self._config.max_excess * len(spelt):
                yield tuple(f"{mark}{name}{tail}".split()), written - worse

    def _bonus(self, phrase: int, *, alone: bool) -> float:
        c, letters = self._config, len(self._symbols[phrase])
        return self._phrases[phrase].weight * (c.ctc_alone * letters if alone else c.bonus + c.letter_bonus * letters)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A text's words with the frames of each, in the posteriors that they are of; whether it has ended."""

    words: list[str]
    log_probs: LogProbs
    spans: list[tuple[int, int]]
    language: str
    ended: bool


def _runs(spans: list[tuple[int, int]], spot: Spot) -> Iterator[tuple[int, int]]:
    """The runs of words that a spot could replace: those with their middle in it, a word more or less at each end.

    ``spans``: each word's first frame and the one after its last. A run may be empty: a word was left out there.
    """
    inside = [index for index, (begin, end) in enumerate(spans) if spot.first <= (begin + end) / 2 <= spot.last]
    behind = sum((begin + end) / 2 < spot.first for begin, end in spans)
    first, last = (inside[0], inside[-1] + 1) if inside else (behind, behind)
    firsts = [n for n in (first - 1, first, first + 1) if n == first or _overlaps(spans, min(n, first), spot)]
    lasts = [n for n in (last - 1, last, last + 1) if n == last or _overlaps(spans, min(n, last), spot)]
    for begin in firsts:
        for end in lasts:
            if 0 <= begin <= end <= len(spans):
                yield begin, end


def _overlaps(spans: list[tuple[int, int]], index: int, spot: Spot) -> bool:
    return 0 <= index < len(spans) and spans[index][0] <= spot.last and spot.first < spans[index][1]


def _exchanged(words: Sequence[str], exchange: _Exchange, new: tuple[str, ...]) -> list[str]:
    return [*words[: exchange.first], *new, *words[exchange.last :]]


def _best_apart(exchanges: list[_Exchange]) -> list[_Exchange]:
    """Those exchanges that do not meet a better one, in order of their place."""
    chosen: list[_Exchange] = []
    for exchange in sorted(exchanges, key=lambda exchange: -exchange.score):
        if all(exchange.last < other.first or other.last < exchange.first for other in chosen):
            chosen.append(exchange)
    return sorted(chosen, key=lambda exchange: exchange.first)


class BiasedText:
    """The text of one segment of one stream as it grows; ``words`` have every phrase in the user's spelling."""

    def __init__(self, biaser: Biaser) -> None:
        self.words: list[str] = []
        self._biaser = biaser
        self._settled = biaser.spotter.initial_state()
        self._taken = 0  # of CTC's own words
        self._before = 0  # words there were before tokens were added

    def add_tokens(
        self,
        added: list[int],
        committed: list[int],
        log_probs: LogProbs,
        decoder: GreedyDecoder,
        state: DecoderState,
        *,
        settled: int,
        language: str = "en",
    ) -> list[int]:
        """What to commit of the decoder's ``added`` tokens, with phrases in them.

        ``log_probs``: all until now, of which the first ``settled`` do not change again.
        """
        kept, words = len(_words(committed, decoder)), _words([*committed, *added], decoder)
        said, spots = self._said(words, kept, log_probs, settled, language)
        liking = Liking(decoder, state, said, committed, kept, ended=False)
        new = self._biaser.rewrite(said, log_probs, spots, liking, kept=kept, ended=False, language=language)[kept:]
        self._before = len(self.words)
        self.words += self._biaser.spelling.write(new, language)
        return added if new == words[kept:] else decoder.tokenizer.encode("".join(f" {word}" for word in new))

    def take_back(self) -> None:
        """Drop what ``add_tokens`` added last: nobody has seen it, and more audio may bring something better."""
        del self.words[self._before :]

    def add_text(self, text: str, log_probs: LogProbs) -> None:
        """Take what CTC's own text has grown to; ``log_probs``: all until now, none of which changes again."""
        said, spots = self._said(text.split(), self._taken, log_probs, len(log_probs), "en")
        new = self._biaser.rewrite(said, log_probs, spots, None, kept=self._taken, ended=False)
        self.words += self._biaser.spelling.write(new[self._taken :])
        self._taken = len(said)

    def _said(
        self, words: list[str], kept: int, log_probs: LogProbs, settled: int, language: str
    ) -> tuple[list[str], Sequence[Spot]]:
        """The words without those at the end in whose place a phrase seems still to be said, and all spots so far."""
        self._settled = self._biaser.spotter.step(log_probs[self._settled.frames : settled], self._settled)
        heard = self._biaser.spotter.step(log_probs[settled:], self._settled)
        begun = self._biaser.spotter.half_heard(heard)
        if begun is None or len(words) <= kept:
            return words, heard.found
        ends = [end for _, end in self._biaser.spans(words, log_probs, language)]
        until = next((index for index, end in enumerate(ends) if end > begun), len(words))
        return words[: max(kept, until)], heard.found


class Liking:
    """By how many nats a decoder likes other texts better than ``words``; reads nothing before it is asked.

    The first ``kept`` words are those of the tokens ``committed``. Of a text that has not ``ended`` its end does not
    count.
    """

    def __init__(
        self,
        decoder: GreedyDecoder,
        state: DecoderState,
        words: list[str],
        committed: Sequence[int] = (),
        kept: int = 0,
        *,
        ended: bool = True,
    ) -> None:
        self._decoder = decoder
        self._state = state
        self._words = words
        self._committed = list(committed)
        self._kept = kept
        self._ended = ended
        self._read: Reading | None = None

    def __call__(self, words: list[str]) -> float:
        """The nats; a text longer than anyone can speak is not liked at all."""
        before, tokens = self._tokens(self._words), self._tokens(words)
        if max(len(before), len(tokens)) > self._decoder.limit(self._state):
            return -np.inf
        if self._read is None:
            self._read = self._decoder.read(before, self._state)
        return self._score(self._decoder.read(tokens, self._state, self._read)) - self._score(self._read)

    def _tokens(self, words: list[str]) -> list[int]:
        spoken = "".join(f" {word}" for word in words[self._kept :])
        return [*self._committed, *self._decoder.tokenizer.encode(spoken)]

    def _score(self, reading: Reading) -> float:
        scores = reading.log_probs if self._ended else reading.log_probs[:-1]
        return float(scores.sum())


def _words(tokens: list[int], decoder: GreedyDecoder) -> list[str]:
    return decoder.tokenizer.decode(tokens).split()
