"""English of speech in other languages: how near it is to what the whole Whisper writes, how late, and how stable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sacrebleu

from rtstream.evaluation.evaluate import play
from rtstream.evaluation.simultaneous import Output, delays, laal, normalized_erasure
from rtstream.events import SAMPLE_RATE, Final, Translation
from rtstream.recognizer.final_pass import repeats
from rtstream.recognizer.pipeline import Pipeline
from rtstream.vad.segmenter import Segmenter
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rtstream.evaluation.whisper_reference import WhisperReference
    from rtstream.recognizer.recognizer import Recognizer
    from rtstream.training.corpus.data import Clip
    from rtstream.vad.gate import Gate


@dataclass
class TranslationScore:
    """What is written of clips in English, beside what Whisper writes.

    ``outputs``: of each segment that has a translation what was shown, by the seconds heard since it began, the final
    one last; ``spoken``: its seconds. ``finals``: that were published; ``refused``: those whose translation was.
    """

    texts: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    outputs: list[list[Output]] = field(default_factory=list)
    spoken: list[float] = field(default_factory=list)
    finals: int = 0
    refused: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    translating_seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """BLEU (13a) and chrF2 against Whisper's texts; LAAL of partials in seconds of audio; shares of words; CPU.

        Clips of which Whisper writes the same over and over count for neither score: nothing stops it there.
        """
        runs = zip(self.outputs, self.spoken, strict=True)
        shown = [laal(delays(run[:-1]), seconds, len(run[-1].words)) for run, seconds in runs]
        final_words = sum(len(run[-1].words) for run in self.outputs)
        shown_words = sum(len(run[-2].words) for run in self.outputs if len(run) > 1)
        pairs = [pair for pair in zip(self.texts, self.references, strict=True) if not _loops(pair[1])]
        texts, references = [text for text, _ in pairs], [reference for _, reference in pairs]
        return {
            "clips": len(self.texts),
            "finals": self.finals,
            "refused": self.refused,
            "whisper_loops": len(self.texts) - len(pairs),
            "bleu": round(float(sacrebleu.corpus_bleu(texts, [references]).score), 1),
            "chrf": round(float(sacrebleu.corpus_chrf(texts, [references]).score), 1),
            "laal": _mean(shown),
            "shown": round(shown_words / final_words, 3) if final_words else None,
            "erasure": round(normalized_erasure([[each.words for each in run] for run in self.outputs]), 3),
            "rtf": round(self.cpu_seconds / self.seconds, 3) if self.seconds else None,
            "rtf_translating": round(self.translating_seconds / self.seconds, 3) if self.seconds else None,
        }


def score_speech_translation(
    recognizer: Recognizer,
    clips: Iterable[Clip],
    reference: WhisperReference,
    new_gate: Callable[[], Gate] = WebRtcGate,
) -> TranslationScore:
    """Translate every clip as the service's pipeline does, and by Whisper, which knows the language and the task."""
    score = TranslationScore()
    for clip in clips:
        audio = clip.read()
        pipeline = Pipeline(recognizer, Segmenter(new_gate()))
        finals: dict[int, Final] = {}
        shown: dict[int, list[Output]] = {}
        for came in play(pipeline, audio):
            event = came.event
            if isinstance(event, Final):
                finals[event.segment] = event
            elif isinstance(event, Translation):
                shown.setdefault(event.segment, []).append(Output(came.heard, tuple(event.text.split())))
        score.texts.append(" ".join(" ".join(run[-1].words) for run in shown.values()))
        score.references.append(reference.transcribe(audio, clip.language, "translate").text)
        for segment, run in shown.items():
            final = finals[segment]
            score.refused += bool(final.text) and not run[-1].words
            if run[-1].words:
                began, ended = final.start, min(final.end, len(audio))
                score.outputs.append([Output((each.heard - began) / SAMPLE_RATE, each.words) for each in run])
                score.spoken.append((ended - began) / SAMPLE_RATE)
        score.finals += sum(bool(final.text) for final in finals.values())
        score.seconds += len(audio) / SAMPLE_RATE
        score.cpu_seconds += sum(pipeline.times.seconds.values())
        score.translating_seconds += pipeline.times.seconds["translation"]
    return score


def _loops(text: str) -> bool:
    words = text.split()
    return repeats([words.index(word) for word in words])


def _mean(lags: Sequence[float | None]) -> float | None:
    known = [lag for lag in lags if lag is not None]
    return round(sum(known) / len(known), 2) if known else None
