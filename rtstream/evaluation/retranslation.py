"""Translation of growing transcripts, scored: what is shown, how late, how stable and how good it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import sacrebleu

from rtstream.evaluation.simultaneous import Output, delays, laal, normalized_erasure
from rtstream.events import SAMPLE_RATE, Final, Partial
from rtstream.languages import join_words, primary, split_words
from rtstream.training.corpus.pairs import References
from rtstream.translation.stabilizer import Stabilizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.events import Transcription
    from rtstream.translation.stabilizer import Keep, StabilizerConfig
    from rtstream.translation.translator import Translator

WORDS_PER_SECOND = 2.5
"""Of English read aloud: 150 a minute."""
CHUNK_SECONDS = 0.64
TOKENIZERS = {"ja": "char", "ko": "char", "th": "char", "zh": "zh"}
"""sacreBLEU's, where its own default does not part words."""


@dataclass(frozen=True, slots=True)
class StreamingScore:
    """Scores of a way to translate partials, ``keep``, ``mask`` and ``context`` being those of StabilizerConfig.

    ``laal``: seconds that words come after the speaker, counted when they change no more; ``erasure``: words taken back
    for each word of the finals; ``bleu``: of the finals; ``updates``: changes of the screen for each text; ``cost``:
    seconds of computing for each second of speech.
    """

    language: str
    keep: Keep
    mask: int
    context: int
    laal: float
    erasure: float
    bleu: float
    updates: float
    cost: float


def join_sentences(sentences: Sequence[References], count: int) -> list[References]:
    """Texts of ``count`` sentences that follow one another: people say more than one before they pause."""
    groups = [sentences[begin : begin + count] for begin in range(0, len(sentences), count)]
    return [
        References(
            " ".join(sentence.english for sentence in group),
            tuple(map(" ".join, zip(*(sentence.translations for sentence in group), strict=False))),
            "+".join(dict.fromkeys(sentence.source for sentence in group)),
        )
        for group in groups
    ]


def speak(
    text: str, *, words_per_second: float = WORDS_PER_SECOND, chunk_seconds: float = CHUNK_SECONDS
) -> list[Transcription]:
    """What a recogniser without errors gives of a text that is spoken at an even pace: a partial a chunk, the final."""
    words = text.split()
    seconds = len(words) / words_per_second
    events: list[Transcription] = []
    for number in range(1, int(seconds / chunk_seconds) + 1):
        heard = number * chunk_seconds
        said = " ".join(words[: int(heard * words_per_second + 1e-9)])
        if said and heard < seconds and said != (events[-1].text if events else ""):
            events.append(Partial(0, 0, round(heard * SAMPLE_RATE), said))
    return [*events, Final(0, 0, round(seconds * SAMPLE_RATE), text)]


class CachingTranslator:
    """A translator that translates nothing twice, for runs that differ in little; ``seconds`` count as if it did."""

    def __init__(self, translator: Translator) -> None:
        self.seconds = 0.0
        self._translator = translator
        self._known: dict[tuple[str, str, str], tuple[str, float]] = {}

    @property
    def languages(self) -> tuple[str, ...]:
        """Those of the translator."""
        return self._translator.languages

    def translate(self, text: str, language: str, prefix: str = "") -> str:
        """As the translator does."""
        key = (text, language, prefix)
        if key not in self._known:
            began = time.perf_counter()
            translation = self._translator.translate(text, language, prefix)
            self._known[key] = translation, time.perf_counter() - began
        translation, seconds = self._known[key]
        self.seconds += seconds
        return translation


def score_streaming(
    translator: CachingTranslator, language: str, sentences: Sequence[References], config: StabilizerConfig
) -> StreamingScore:
    """Translate sentences while they are spoken, as segments of one stream. Raises TranslationError."""
    runs: list[list[Output]] = []
    before, speech = translator.seconds, 0.0
    stabilizer = Stabilizer(translator, language, config)
    for number, sentence in enumerate(sentences):
        events = [replace(event, segment=number) for event in speak(sentence.english)]
        given = [(event.end / SAMPLE_RATE, stabilizer.translate(event)) for event in events]
        run = [Output(heard, _words(made.text, language)) for heard, made in given if made is not None]
        runs.append(run)
        speech += run[-1].heard
    references = [sentence.translations for sentence in sentences]
    return StreamingScore(
        language=language,
        keep=config.keep,
        mask=config.mask,
        context=config.context,
        laal=_mean_laal(runs, references, language),
        erasure=normalized_erasure([[shown.words for shown in run] for run in runs]),
        bleu=_bleu(runs, references, language),
        updates=sum(map(len, runs)) / len(runs),
        cost=(translator.seconds - before) / speech,
    )


def _mean_laal(runs: Sequence[Sequence[Output]], references: Sequence[Sequence[str]], language: str) -> float:
    lags = [
        laal(delays(run), run[-1].heard, len(_words(texts[0], language)))
        for run, texts in zip(runs, references, strict=True)
    ]
    known = [lag for lag in lags if lag is not None]
    return sum(known) / len(known) if known else 0.0


def _bleu(runs: Sequence[Sequence[Output]], references: Sequence[Sequence[str]], language: str) -> float:
    texts = [join_words(run[-1].words, language) for run in runs]
    tokenizer = TOKENIZERS.get(primary(language))
    columns = list(zip_longest(*references))  # sacreBLEU's order; None where a sentence has fewer
    return float(sacrebleu.corpus_bleu(texts, columns, tokenize=tokenizer).score)


def _words(text: str, language: str) -> tuple[str, ...]:
    return tuple(split_words(text, language))
