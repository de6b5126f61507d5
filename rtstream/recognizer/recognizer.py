"""One set of weights, from which any number of sessions recognise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from rtstream.constants import CHUNKS_MS, DEFAULT_CHUNK_MS
from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE
from rtstream.features.make import Features, make_features
from rtstream.languages import ENGLISH, choose
from rtstream.recognizer.beam_pass import BeamDecoder
from rtstream.recognizer.biasing import BiasConfig, Biaser
from rtstream.recognizer.final_pass import GreedyDecoder
from rtstream.recognizer.guard import GuardConfig, guard_of
from rtstream.recognizer.lexicon import Lexicon

if TYPE_CHECKING:
    from rtstream.engine.open import Bundle
    from rtstream.recognizer.number_forms import NumberForm
    from rtstream.recognizer.phrases import Phrase

BEAMS = (1, 5)
"""The narrowest and the widest beam."""
FRAME_MS = 20
"""What lengths in ms are multiples of; they are rounded to the encoder's own frames."""
LEAD_MS = 200
"""Of room tone before a word with which its stream begins."""
FullContext = Literal["always", "unsure", "never"]
"""Chunk lengths that the models are trained for, in ms. 0 stands for the whole segment."""
Translated = Literal["nothing", "finals", "all"]
"""Of what is said in another language than English."""


@dataclass(frozen=True, slots=True)
class RecognizerConfig:
    """How to recognise.

    ``chunk_ms``: audio encoded at a time; longer is more accurate and later. 0 waits for the segment's end, and needs
    a second pass.
    ``partials``: what writes them, or ``none``; ``ctc`` those of English alone, since it knows no accents.
    ``ahead_ms``: how much of the newest audio is encoded again with the next chunk, when what follows it is known: the
    decoder's partials are better for it, for ``ahead_ms`` / ``chunk_ms`` more encoding. ``stop_ms``: how far behind the
    newest audio the decoder's partials stay. ``full_context``: whether a segment that has ended is encoded once more,
    with full context, for its final: fewer errors, for as much encoding again and a delay that grows with the segment.
    ``unsure``: not where the decoder's partials, and the rest of the text, have no token below the log-probability
    ``sure``, CTC supports it and somebody speaks the model's language for sure: that final then hangs on how loud the
    audio is, and comes of the chunks. ``never`` of a model that knows one pass alone.
    ``tail_ms``: how much of the silence that closes a segment its final is then made of.
    ``beam``: hypotheses among which the decoder looks for a text where greedy search, 1, is unsure. Whatever it is, a
    final that the guard refuses is looked for once more, from its beginning and among as many as can be.
    ``guard``: thresholds, by default those that the model wants.
    ``words``: whether events carry words with times and confidence. ``numbers``: the form in which finals have them.
    ``phrases``: what is to be found where it is said; without any nothing is looked for.
    ``languages``: that may be spoken, BCP 47 tags; none: all that the bundle is for.
    ``translate``: what of speech in other languages is written in English too, ``all``: partials and finals. It takes a
    model whose decoder has learnt that.
    """

    chunk_ms: int = DEFAULT_CHUNK_MS
    partials: Literal["decoder", "ctc", "none"] = "decoder"
    ahead_ms: int = 320
    stop_ms: int = 400
    full_context: FullContext = "always"
    sure: float = -1.0
    tail_ms: int = 300
    beam: int = 4
    words: bool = False
    numbers: NumberForm = "as spoken"
    guard: GuardConfig | None = None
    phrases: tuple[Phrase, ...] = ()
    bias: BiasConfig = field(default_factory=BiasConfig)
    languages: tuple[str, ...] = ()
    translate: Translated = "nothing"


@dataclass(slots=True)
class Search:
    """How texts in one language are looked for.

    ``greedy``: by one hypothesis; ``decoder``: by as many as the settings have; ``second``: by as many as can be, where
    the guard, which has that language's thresholds, refuses a text. ``english``: what writes the same in English, None
    where that is not asked for, and of English; it is greedy: a beam says things twice far more often.
    """

    greedy: GreedyDecoder
    decoder: GreedyDecoder
    second: GreedyDecoder
    guard: GuardConfig
    english: GreedyDecoder | None


def _check_translation(bundle: Bundle, wanted: Translated) -> None:
    """See that a model can write English of other languages, where that is wanted. Raises ConfigError."""
    if wanted != "nothing" and not (bundle.tokenizer.translates and bundle.languages != (ENGLISH,)):
        msg = (
            f"translation into en: {bundle.name} does not translate speech, which takes a model of other languages "
            "whose decoder has the token <|translate|>, such as multi"
        )
        raise ConfigError(msg)


class Recognizer:
    """Weights and settings; safe to use from several threads, since all that changes lives in the sessions."""

    def __init__(self, bundle: Bundle, config: RecognizerConfig) -> None:
        if config.chunk_ms not in (0, *CHUNKS_MS):
            msg = f"chunk_ms: {config.chunk_ms} is not allowed; choose one of {', '.join(map(str, CHUNKS_MS))} or 0"
            raise ConfigError(msg)
        if bundle.config.one_pass and not config.chunk_ms:
            chunks = ", ".join(map(str, CHUNKS_MS))
            msg = f"chunk_ms: 0, the whole segment, is not for {bundle.name}, which knows chunks alone; choose {chunks}"
            raise ConfigError(msg)
        if bundle.config.one_pass:
            config = replace(config, full_context="never")
        if not config.chunk_ms and config.full_context == "never":
            msg = "full_context: never is not allowed where chunk_ms is 0: nothing else encodes a segment then"
            raise ConfigError(msg)
        for name in ("ahead_ms", "stop_ms", "tail_ms"):
            value = getattr(config, name)
            if value < 0 or value % FRAME_MS:
                msg = f"{name}: {value} is not allowed; give a multiple of {FRAME_MS} from 0 on"
                raise ConfigError(msg)
        if not BEAMS[0] <= config.beam <= BEAMS[1]:
            msg = f"beam: {config.beam} is not allowed; give a number from {BEAMS[0]} to {BEAMS[1]}"
            raise ConfigError(msg)
        try:
            self.languages = choose(config.languages, bundle.languages)
        except ValueError as error:
            raise ConfigError(f"language: {error}") from None
        if config.partials == "ctc" and ENGLISH not in self.languages:
            raise ConfigError("partials: ctc writes English alone; choose decoder or none")
        _check_translation(bundle, config.translate)
        self.bundle = bundle
        self.config = config
        self.engine = bundle.engine
        self.encoder = bundle.engine.encoder
        self.letters = bundle.config.letters
        self.lexicon = Lexicon() if ENGLISH in self.languages else None  # what CTC writes alone is English
        sizes = bundle.config.encoder
        self.features: Features = make_features(sizes)
        self.frame_samples = sizes.frame_samples
        self.searches = {language: self._search(language) for language in self.languages}
        self.biaser = Biaser(config.phrases, self.letters, config.bias) if config.phrases else None
        self.chunk_frames = self._frames(config.chunk_ms) or sizes.max_frames
        # Else nothing is made of the chunks: a final's segment is encoded whole.
        self.by_chunks = config.chunk_ms > 0 and (config.partials != "none" or config.full_context == "never")
        self.reencodes = config.full_context != "never"
        self.spares = config.full_context == "unsure" and self.by_chunks and config.partials == "decoder"
        self.ahead_frames = self._frames(config.ahead_ms) if config.partials == "decoder" else 0
        self.lead_samples = self._frames(LEAD_MS) * self.frame_samples
        self.stop_frames = self._frames(config.stop_ms)
        self.tail_samples = config.tail_ms * SAMPLE_RATE // 1000

    def _search(self, language: str) -> Search:
        decoder, tokenizer = self.bundle.engine.decoder, self.bundle.tokenizer
        spoken, frame, width = self.languages, self.frame_samples, self.config.beam
        greedy = GreedyDecoder(decoder, tokenizer, language, spoken=spoken, frame=frame)
        best = BeamDecoder(decoder, tokenizer, width, language, spoken=spoken, frame=frame) if width > 1 else greedy
        second = BeamDecoder(
            decoder, tokenizer, BEAMS[1], language, spoken=spoken, frame=frame, sure=math.inf, empty=False
        )
        english = None
        if self.config.translate != "nothing" and language != ENGLISH:
            english = GreedyDecoder(decoder, tokenizer, language, task="translate", frame=frame)
        guard = self.config.guard or guard_of(self.bundle.guard, self.bundle.path, language)
        return Search(greedy, best, second, guard, english)

    @property
    def chunk_samples(self) -> int:
        """How much audio is encoded at a time."""
        return self.chunk_frames * self.frame_samples

    def _frames(self, ms: int) -> int:
        return round(ms * SAMPLE_RATE / 1000 / self.frame_samples)
