"""What is recognised of test clips, through the recognizer that the daemon uses, and how much of it is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import jiwer
import numpy as np
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from rtstream.evaluation.digit_score import score_digits
from rtstream.evaluation.lag import TimedEvent, WordLag, lag_figures, word_lags
from rtstream.evaluation.language_score import MIN_SECONDS, FoundLanguage, language_figures
from rtstream.evaluation.written_score import score_written
from rtstream.events import SAMPLE_RATE, AudioBlock, Final, Partial
from rtstream.languages import ENGLISH, main_language, primary
from rtstream.recognizer.pipeline import Pipeline
from rtstream.vad.segmenter import Segmenter
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from rtstream.recognizer.recognizer import Recognizer
    from rtstream.training.corpus.data import Clip
    from rtstream.vad.gate import Gate

TAIL_SECONDS = 1.0
"""Silence put after each clip: test sets cut their clips where the speech ends, a microphone goes on."""
BLOCK = SAMPLE_RATE // 50
"""As small as a microphone's: a lag is counted in whole blocks."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one recording, that of its last partials, and what writing them cost.

    ``fallbacks``: segments whose text CTC wrote. ``lags``: of the words, where the recognizer gives their times, which
    ``cpu_seconds`` leaves out. ``language``: that in which most was written, "" of none.
    """

    text: str
    partial: str = ""
    fallbacks: int = 0
    cpu_seconds: float = 0.0
    lags: tuple[WordLag, ...] = ()
    language: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """What was written of a clip in which no language that is asked for is spoken, where nothing should be."""

    clip: Clip
    text: str
    partial: str


@dataclass
class Score:
    """References and what was recognised, clip by clip, normalized; and what writing it cost.

    ``written_references`` and ``written``: the same references and finals as they are written. ``published``: of the
    clips without words of a language that is asked for, which have a place in no other list. ``languages``: of longer
    clips, where several may be spoken.
    """

    references: list[str] = field(default_factory=list)
    finals: list[str] = field(default_factory=list)
    partials: list[str] = field(default_factory=list)
    written_references: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    lags: list[WordLag] = field(default_factory=list)
    languages: list[FoundLanguage] = field(default_factory=list)
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
        pairs = self._beginnings()
        return 100.0 * sum(errors for errors, _ in pairs) / max(1, sum(words for _, words in pairs))

    @property
    def shown_words(self) -> int:
        """Words in those beginnings."""
        return sum(words for _, words in self._beginnings())

    def _beginnings(self) -> list[tuple[int, int]]:
        both = zip(self.references, self.partials, strict=True)
        return [errors_of_beginning(reference.split(), text.split()) for reference, text in both]

    def figures(self) -> dict[str, Any]:
        """All of it as plain numbers, rounded; None for those that need references and have none."""
        known = bool(self.references)
        return {
            "clips": len(self.references) + len(self.published),
            "words": self.words,
            "wer": round(self.wer, 2) if known else None,
            "cer": round(self.cer, 2) if known else None,
            "partial_wer": round(self.partial_wer, 2) if known else None,
            "shown_wer": round(self.shown_wer, 2) if known else None,
            "shown_words": self.shown_words if known else None,
            "lag_ms": lag_figures(self.lags),
            "by_ctc": self.fallbacks,
            "rtf": round(self.cpu_seconds / self.seconds, 4) if self.seconds else None,
            **score_written(self.written_references, self.written).figures(),
            "digits": score_digits(self.written_references, self.written, normalizer()).figures(),
            "published": published_figures(self.published),
            "languages": language_figures(self.languages),
        }


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


def spread(clips: Sequence[Clip], most: int | None) -> Sequence[Clip]:
    """At most so many of the clips, evenly spread over them; all where None."""
    count = len(clips) if most is None else min(most, len(clips))
    return [clips[index * len(clips) // count] for index in range(count)]


def blocks(audio: NDArray[np.float32]) -> Iterator[AudioBlock]:
    """One recording and its tail."""
    padded = np.concatenate([audio, np.zeros(int(TAIL_SECONDS * SAMPLE_RATE), np.float32)])
    for start in range(0, len(padded), BLOCK):
        yield AudioBlock(padded[start : start + BLOCK], start)


def normalizer(language: str = ENGLISH, *, accents: bool = True) -> Callable[[str], str]:
    """What texts are brought to before they are compared: Whisper's own (arXiv 2212.04356, appendix C).

    That for English, or the one for all other languages, which keeps ``accents`` or drops them.
    """
    normalize: Callable[[str], str] = (
        EnglishTextNormalizer() if language == ENGLISH else BasicTextNormalizer(remove_diacritics=not accents)
    )
    return lambda text: " ".join(normalize(text).split())


def play(pipeline: Pipeline, audio: NDArray[np.float32]) -> Iterator[TimedEvent]:
    """The events of one recording and its tail, each with how many samples had been heard."""
    heard = 0

    def played() -> Iterator[AudioBlock]:
        nonlocal heard
        for block in blocks(audio):
            heard = block.position + len(block.samples)
            yield block

    for event in pipeline.run(played()):
        yield TimedEvent(heard, event)


def recognize(
    recognizer: Recognizer, audio: NDArray[np.float32], new_gate: Callable[[], Gate] = WebRtcGate
) -> Transcript:
    """What the daemon's pipeline publishes of one recording and its tail."""
    pipeline = Pipeline(recognizer, Segmenter(new_gate()))
    published = list(play(pipeline, audio))
    events = [came.event for came in published]
    finals = [event for event in events if isinstance(event, Final)]
    newest = {event.segment: event.text for event in events if isinstance(event, Partial)}
    return Transcript(
        text=" ".join(event.text for event in finals if event.text),
        partial=" ".join(newest.values()),
        fallbacks=sum(event.source == "ctc" for event in finals),
        cpu_seconds=sum(seconds for stage, seconds in pipeline.times.seconds.items() if stage != "words"),
        lags=tuple(word_lags(published)),
        language=main_language(finals),
    )


def evaluate(
    recognizer: Recognizer,
    clips: Iterable[Clip],
    new_gate: Callable[[], Gate] = WebRtcGate,
    *,
    accents: bool = True,
) -> Score:
    """Recognise every clip and collect the texts."""
    return score_transcripts(
        lambda audio, _: recognize(recognizer, audio, new_gate), clips, recognizer.languages, accents=accents
    )


def score_transcripts(
    transcribe: Callable[[NDArray[np.float32], str], Transcript],
    clips: Iterable[Clip],
    languages: Collection[str] = (ENGLISH,),
    *,
    accents: bool = True,
) -> Score:
    """Transcribe every clip, of a language, and collect the texts, after ``normalizer``, references too.

    Clips of other ``languages`` count as clips without words. ``accents``: whether they count.
    """
    normalizers = {language: normalizer(language, accents=accents) for language in languages}
    score = Score()
    for clip in clips:
        audio = clip.read()
        language = primary(clip.language)
        normalize = normalizers.get(language)
        found = transcribe(audio, language if normalize is not None else ENGLISH)
        score.fallbacks += found.fallbacks
        score.seconds += len(audio) / SAMPLE_RATE
        score.cpu_seconds += found.cpu_seconds
        # What training cannot spell, such as digits and accents, Whisper's normalizers can.
        text = clip.text if language == ENGLISH and clip.text is not None else clip.reference
        reference = normalize(text) if normalize is not None else ""
        if normalize is None or not reference:
            score.published.append(Published(clip, found.text, found.partial))
            continue
        if len(languages) > 1 and clip.seconds >= MIN_SECONDS:
            score.languages.append(FoundLanguage(language, found.language))
        score.lags += found.lags
        score.references.append(reference)
        score.finals.append(normalize(found.text))
        score.partials.append(normalize(found.partial))
        score.written_references.append(clip.reference)
        score.written.append(found.text)
    return score


def published_figures(clips: Sequence[Published]) -> dict[str, Any] | None:
    """Words an hour of such clips, of all and by their kind, and what they were; None where there is no such clip."""
    if not clips:
        return None
    kinds = sorted({each.clip.kind for each in clips})
    return {
        "clips": len(clips),
        "hours": round(sum(each.clip.seconds for each in clips) / 3600, 4),
        "words_per_hour": _words_an_hour(clips, "text"),
        "partial_words_per_hour": _words_an_hour(clips, "partial"),
        "by_kind": {kind: _words_an_hour([each for each in clips if each.clip.kind == kind], "text") for kind in kinds},
        "texts": [
            {"kind": each.clip.kind, "text": each.text, "partial": each.partial}
            for each in clips
            if each.text or each.partial
        ],
    }


def _words_an_hour(clips: Sequence[Published], which: Literal["text", "partial"]) -> float:
    words = sum(len(getattr(each, which).split()) for each in clips)
    return round(3600 * words / sum(each.clip.seconds for each in clips), 1)
