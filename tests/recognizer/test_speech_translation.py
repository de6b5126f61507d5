"""The way from speech in another language to its English, beside the partials and finals that it belongs to."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rtstream.engine.open import load_bundle
from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE, Final, Partial, SegmentAudio, Translation
from rtstream.recognizer.final_pass import Decoded, Grown, Opening
from rtstream.recognizer.guard import GuardConfig
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.session import RecognizerSession
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer
from tests.recognizer.posteriors import say
from tests.recognizer.test_pipeline import Hears
from tests.recognizer.tiny_bundle import save_tiny_bundle

SAID, ENGLISH = "das alte haus am see", "The old house at the lake."
HEARD = Opening(0.0, 1.0)
OPEN = GuardConfig(0, 1e9, 1e9, min_confidence_shown=0.0, min_known=0.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    loaded = load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")
    tokenizer = make_tokenizer((*SPECIAL, "<|de|>", "<|translate|>"))
    return replace(loaded, tokenizer=tokenizer, languages=("en", "de"))


class Writes:
    """Writes a text, a word more each time while it is spoken; ``ended``: whether it comes to its end."""

    def __init__(self, tokenizer, text, *, ended=True, opening=HEARD):
        self.tokenizer, self.opened = tokenizer, opening
        self.words = [tokenizer.encode(word) for word in tokenizer.words(text)]
        tokens = tokenizer.encode(text)
        self.decoded = Decoded(tokens, ended=ended, opening=opening, log_probs=[-0.1] * (len(tokens) + 1))
        self.asked = 0

    def extend(self, _state, committed, _stop_frames, _draft):
        written = sum(map(len, self.words[: self._known(committed)]))
        assert written == len(committed)
        return Grown(next(iter(self.words[self._known(committed) : -1]), []), [], None, [-0.1])

    def _known(self, committed):
        return next(n for n in range(len(self.words) + 1) if sum(map(len, self.words[:n])) == len(committed))

    def transcribe(self, _state, _draft=()):
        self.asked += 1
        return self.decoded

    def opening(self, _state):
        return self.opened


def session(bundle, *, translate="all", text=SAID, english=ENGLISH, ended=True, heard=SAID, **config):
    """Of a model that hears a text, writes it, or another, and its English."""
    language = config.pop("language", "de")
    r = Recognizer(bundle, RecognizerConfig(guard=OPEN, languages=(language,), translate=translate, **config))
    search = r.searches[language]
    search.decoder = search.greedy = search.second = Writes(bundle.tokenizer, text)
    if search.english is not None:
        search.english = Writes(bundle.tokenizer, english, ended=ended)
    table = say(heard)
    r.engine = Hears(r.engine, lambda states: np.pad(table, ((0, len(states)), (0, 0)), mode="edge"))
    return RecognizerSession(r)


def hear(session, seconds=3.0, *, segment=0, start=0.0, cut=False):
    """All events of a segment."""
    size, position, end = (
        session.recognizer.chunk_samples,
        round(start * SAMPLE_RATE),
        round((start + seconds) * SAMPLE_RATE),
    )
    given = []
    while position < end:
        audio = np.full(min(size, end - position), 0.1, np.float32)
        last = position + len(audio) == end
        given += session.accept(SegmentAudio(segment, position, audio, last=last, cut=cut and last))
        position += len(audio)
    return given


def test_translations_come_behind_what_they_are_of_and_grow(bundle):
    given = hear(session(bundle))
    *shown, final, translated = given
    assert isinstance(final, Final)
    assert translated == Translation(0, final.start, final.end, ENGLISH, "en", final=True)
    made = [event for event in shown if isinstance(event, Translation)]
    assert len(made) > 1
    assert all(later.text.startswith(f"{sooner.text} ") for sooner, later in pairwise(made))
    assert all(event.language == "en" and not event.final for event in made)
    for before, event in pairwise(shown):
        if isinstance(event, Translation):
            assert isinstance(before, Partial)
            assert (event.start, event.end) == (before.start, before.end)


@pytest.mark.parametrize("translate", ["nothing", "finals", "all"])
def test_translations_change_nothing_of_what_is_recognised(bundle, translate):
    plain = hear(session(bundle, translate="nothing"))
    given = hear(session(bundle, translate=translate))
    assert [event for event in given if not isinstance(event, Translation)] == plain
    assert [event.final for event in given if isinstance(event, Translation)] == {
        "nothing": [],
        "finals": [True],
        "all": [False] * (len(given) - len(plain) - 1) + [True],
    }[translate]


def test_english_is_not_translated(bundle):
    assert not any(isinstance(event, Translation) for event in hear(session(bundle, language="en")))


@pytest.mark.parametrize(
    "broken", [{"ended": False}, {"english": "(Music)"}, {"english": " ..."}], ids=["a loop", "a noise", "marks"]
)
def test_a_translation_that_is_not_to_be_trusted_is_empty_and_takes_back_what_was_shown(bundle, broken):
    *_, final, translated = hear(session(bundle, **broken))
    assert final.text == SAID
    assert translated == Translation(0, final.start, final.end, "", "en", final=True)


def test_what_the_guard_refuses_has_no_translation(bundle):
    refusing = session(bundle, partials="none")
    refusing.recognizer.searches["de"].decoder = Writes(bundle.tokenizer, SAID, opening=Opening(0.9, 0.0))
    refusing.recognizer.searches["de"].guard = GuardConfig(min_confidence_kept=1.1, min_confidence=1.1)
    assert hear(refusing) == []


def test_what_was_shown_and_is_refused_then_has_an_empty_translation(bundle):
    refusing = session(bundle)
    search = refusing.recognizer.searches["de"]
    given = []
    given += refusing.accept(
        SegmentAudio(0, 0, np.full(3 * refusing.recognizer.chunk_samples, 0.1, np.float32), last=False)
    )
    assert isinstance(given[-1], Translation)
    search.decoder = Writes(bundle.tokenizer, SAID, opening=Opening(0.9, 0.0))
    search.guard = GuardConfig(min_confidence_kept=1.1, min_confidence=1.1)
    last = SegmentAudio(0, 3 * refusing.recognizer.chunk_samples, np.full(1000, 0.1, np.float32), last=True)
    final, translated = refusing.accept(last)
    assert (final.text, translated.text, translated.final) == ("", "", True)
    assert search.english.asked == 0


def test_a_translation_that_was_prepared_is_not_made_again(bundle):
    prepared = session(bundle, partials="none")
    audio = np.full(2 * SAMPLE_RATE, 0.1, np.float32)
    silence = prepared.recognizer.tail_samples
    prepared.accept(SegmentAudio(0, 0, audio, last=False))
    prepared.prepare(np.zeros(silence, np.float32), silence)
    made = prepared.recognizer.searches["de"].english
    assert made.asked == 1
    final, translated = prepared.accept(
        SegmentAudio(0, len(audio), np.zeros(silence, np.float32), last=True, silence=silence)
    )
    assert (final.text, translated.text, made.asked) == (SAID, ENGLISH, 1)


def test_a_sentence_that_is_cut_goes_on_in_english_too(bundle):
    cut = session(bundle, partials="none")
    first = hear(cut, cut=True)[-1]
    second = hear(cut, segment=1, start=3.0)[-1]
    assert (first.text, second.text) == ("The old house at the lake", "the old house at the lake.")


@pytest.mark.parametrize("lacking", [{"languages": ("en",)}, {"tokenizer": make_tokenizer((*SPECIAL, "<|de|>"))}])
def test_a_model_that_cannot_translate_is_one_line(bundle, lacking):
    with pytest.raises(ConfigError, match=r"translation into en: tiny does not translate speech.*such as multi$"):
        Recognizer(replace(bundle, **lacking), RecognizerConfig(translate="finals"))
