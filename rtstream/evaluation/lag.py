"""How late recognised words appear, in audio: from where a word was said to its end to where it stood for good."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jiwer
import numpy as np

from rtstream.evaluation.simultaneous import Output, delays
from rtstream.events import SAMPLE_RATE, Event, Final, Partial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event, and how much of the source had been given, in samples, when it came."""

    heard: int
    event: Event


@dataclass(frozen=True, slots=True)
class WordLag:
    """How long after its end a word of a final stood there for good; ``early``: in a partial, not only in the final.

    ``ms``: of audio, computing takes its time besides; below 0 where a word was written before it was said to its end.
    """

    ms: float
    early: bool


@dataclass(frozen=True, slots=True)
class LagPoint:
    """A point of ``curve``: mean lag of words in ms, WER of partials as shown in per cent, and what it is called."""

    curve: str
    label: str
    lag: float
    wer: float


def word_lags(published: Iterable[TimedEvent]) -> list[WordLag]:
    """The lag of every word of the finals that has a time, which takes ``RecognizerConfig.words``.

    Words end where CTC's alignment of the final says. Final and last partial are paired word by word as word error rate
    pairs them, but for case and punctuation: a word that both have stood there for good from the first partial on that
    had it and all before it; one that the partials lacked, or had otherwise, from the final on, which comes with the
    end of its segment. Words without a letter that CTC knows, such as digits, have no time and do not count.
    """
    lags: list[WordLag] = []
    partials: defaultdict[int, list[Output]] = defaultdict(list)
    for came in published:
        match came.event:
            case Partial(segment=segment, text=text):
                # A mark that comes after its word changes nothing: compared is what the word is paired by.
                partials[segment].append(Output(came.heard, tuple(filter(None, map(_key, text.split())))))
            case Final(segment=segment) as final:
                lags += _of_final(final, came.heard, partials.pop(segment, []))
    return lags


def lag_figures(lags: Sequence[WordLag]) -> dict[str, Any] | None:
    """Words, their mean lag and its 90th percentile in ms, and the same of the early ones; None where there is none."""
    if not lags:
        return None
    early = [lag for lag in lags if lag.early]
    return _figures(lags) | {"early": _figures(early) if early else None}


def _of_final(final: Final, heard: int, partials: Sequence[Output]) -> list[WordLag]:
    words = [word for word in final.words if word.confidence > 0.0]
    since = delays(partials)
    early = _paired([_key(word.text) for word in words], partials[-1].words if partials else ())
    return [
        WordLag(
            1000 * ((since[early[place]] if place in early else heard) - word.end) / SAMPLE_RATE, early=place in early
        )
        for place, word in enumerate(words)
    ]


def _paired(final: Sequence[str], partial: Sequence[str]) -> Mapping[int, int]:
    """Places in ``final`` of the words that ``partial`` has too, and their places there."""
    if not (final and partial):
        return {}
    (chunks,) = jiwer.process_words(" ".join(final), " ".join(partial)).alignments
    return {
        chunk.ref_start_idx + offset: chunk.hyp_start_idx + offset
        for chunk in chunks
        if chunk.type == "equal"
        for offset in range(chunk.ref_end_idx - chunk.ref_start_idx)
    }


def _key(word: str) -> str:
    """A word as words are compared: case and punctuation do not count."""
    return re.sub(r"[^\w']", "", word).lower()


def _figures(lags: Sequence[WordLag]) -> dict[str, Any]:
    times = np.array([lag.ms for lag in lags])
    return {"words": len(lags), "mean": round(float(times.mean())), "p90": round(float(np.percentile(times, 90)))}
