"""How well speech is translated: what people said in the recordings, by way of a transcript and without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.evaluation.evaluate import blocks
from rtstream.events import Final
from rtstream.recognizer.pipeline import Pipeline
from rtstream.training.corpus.pairs import References
from rtstream.translation.stabilizer import Stabilizer
from rtstream.vad.segmenter import Segmenter
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rtstream.engine.base import F32
    from rtstream.recognizer.recognizer import Recognizer
    from rtstream.training.corpus.data import Clip
    from rtstream.translation.translator import SpeechTranslator, Translator


@dataclass(frozen=True, slots=True)
class Spoken:
    """A clip as the daemon's pipeline hears it: its finals, and the recogniser's states of each."""

    clip: Clip
    finals: tuple[tuple[Final, F32 | None], ...]

    def references(self, language: str) -> References:
        """What people made of it."""
        return References(self.clip.reference, tuple(self.clip.translations[language]), "")

    def translated(self, translator: Translator, language: str, speech: SpeechTranslator | None = None) -> str:
        """What a subscriber reads of it; ``speech`` translates without the transcript, where it is given."""
        stabilizer = Stabilizer(translator, language, speech=speech)
        found = (stabilizer.translate(final, states) for final, states in self.finals)
        return " ".join(translation.text for translation in found if translation is not None)


def hear(recognizer: Recognizer, clips: Iterable[Clip]) -> Iterator[Spoken]:
    """Recognise clips, each with a second of silence behind it."""
    for clip in clips:
        states: dict[int, F32] = {}
        pipeline = Pipeline(recognizer, Segmenter(WebRtcGate()), states.__setitem__)
        events = [event for block in blocks(clip.read()) for event in pipeline.push(block)] + pipeline.finish()
        finals = [event for event in events if isinstance(event, Final)]
        yield Spoken(clip, tuple((final, states.get(final.segment)) for final in finals))


def in_language(spoken: Sequence[Spoken], language: str) -> list[Spoken]:
    """Those that people have translated into a language."""
    return [each for each in spoken if each.clip.translations.get(language)]


def ways(translator: Translator, speech: SpeechTranslator | None, language: str) -> dict[str, Callable[[Spoken], str]]:
    """The ways from a recording to its translation, by name, ``direct`` where there is something that translates it."""
    found: dict[str, Callable[[Spoken], str]] = {
        "reference": lambda each: translator.translate(each.clip.reference, language),
        "cascade": lambda each: each.translated(translator, language),
    }
    if speech is not None:
        found["direct"] = lambda each: each.translated(translator, language, speech)
    return found
