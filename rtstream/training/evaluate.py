"""Word and character error rates by source, through the recognizer that the daemon uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from rtstream.events import SAMPLE_RATE, AudioBlock, Event, Final, Partial
from rtstream.recognizer.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from rtstream.recognizer.recognizer import Recognizer
    from rtstream.training.data import Clip

TAIL_SECONDS = 1.0
"""Silence put after each clip: test sets cut their clips where the speech ends, a microphone goes on."""
BLOCK = SAMPLE_RATE // 10


@dataclass
class Score:
    """References and what was recognised, clip by clip, normalized; and what writing it cost."""

    references: list[str] = field(default_factory=list)
    finals: list[str] = field(default_factory=list)
    partials: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    fallbacks: int = 0

    @staticmethod
    def _rate(measure: object, references: Sequence[str], texts: Sequence[str]) -> float:
        return 100.0 * float(measure(list(references), list(texts)))  # type: ignore[operator]

    @property
    def words(self) -> int:
        """Words in the references."""
        return sum(len(text.split()) for text in self.references)

    @property
    def wer(self) -> float:
        """Word error rate of the finals in per cent."""
        return self._rate(jiwer.wer, self.references, self.finals)

    @property
    def cer(self) -> float:
        """Character error rate of the finals in per cent."""
        return self._rate(jiwer.cer, self.references, self.finals)

    @property
    def partial_wer(self) -> float:
        """Word error rate in per cent of the last partials; what they had not come to counts as left out."""
        return self._rate(jiwer.wer, self.references, self.partials)

    @property
    def shown_wer(self) -> float:
        """Word error rate in per cent of the last partials against the beginning of each reference that fits them best.

        The last words of a segment are in its final and in no partial: this leaves them out.
        """
        both = zip(self.references, self.partials, strict=True)
        pairs = [errors_of_beginning(reference.split(), text.split()) for reference, text in both]
        return 100.0 * sum(errors for errors, _ in pairs) / max(1, sum(words for _, words in pairs))


def errors_of_beginning(reference: Sequence[str], text: Sequence[str]) -> tuple[int, int]:
    """Least edit distance of ``text`` to any beginning of ``reference``, and the longest such beginning's length."""
    distances = np.arange(len(reference) + 1)
    for count, word in enumerate(text, start=1):
        changed = distances[:-1] + np.array([other != word for other in reference], dtype=int)
        row = np.minimum(distances + 1, np.concatenate([[count], changed]))
        # A left-out word of the reference: the least of what stands before, plus the way to it.
        distances = np.minimum.accumulate(row - np.arange(len(row))) + np.arange(len(row))
    least = int(distances.min())
    return least, int(np.flatnonzero(distances == least)[-1])


def blocks(audio: NDArray[np.float32]) -> Iterator[AudioBlock]:
    """One recording and its tail."""
    padded = np.concatenate([audio, np.zeros(int(TAIL_SECONDS * SAMPLE_RATE), np.float32)])
    for start in range(0, len(padded), BLOCK):
        yield AudioBlock(padded[start : start + BLOCK], start)


def normalizer() -> Callable[[str], str]:
    """What texts are brought to before they are compared: Whisper's for English (arXiv 2212.04356, appendix C)."""
    normalize: Callable[[str], str] = EnglishTextNormalizer()
    return normalize


def evaluate(recognizer: Recognizer, clips: Iterable[Clip]) -> Score:
    """Recognise every clip and collect the texts. Clips without a reference are left out.

    Texts are compared after ``normalizer``, references too.
    """
    normalize = normalizer()
    score = Score()
    for clip in clips:
        if clip.text is None:
            continue
        audio = clip.read()
        pipeline = Pipeline(recognizer)
        events: list[Event] = [event for block in blocks(audio) for event in pipeline.push(block)]
        events += pipeline.finish()
        finals = [event for event in events if isinstance(event, Final)]
        newest = {event.segment: event.text for event in events if isinstance(event, Partial)}
        score.references.append(normalize(clip.text))
        score.finals.append(normalize(" ".join(event.text for event in finals)))
        score.partials.append(normalize(" ".join(newest.values())))
        score.fallbacks += sum(event.source == "ctc" for event in finals)
        score.seconds += len(audio) / SAMPLE_RATE
        score.cpu_seconds += sum(pipeline.times.seconds.values())
    return score
