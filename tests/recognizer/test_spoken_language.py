"""Which of several languages is spoken."""

from dataclasses import replace

import numpy as np
import pytest

from rtstream.engine.open import load_bundle
from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE, Final, Partial, SegmentAudio
from rtstream.recognizer.final_pass import Decoded, Grown, Opening
from rtstream.recognizer.guard import GuardConfig
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.session import RecognizerSession
from rtstream.recognizer.spoken_language import DECIDED_SECONDS, FORGOTTEN, HEARD_SECONDS, SpokenLanguage
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer
from tests.recognizer.posteriors import say
from tests.recognizer.test_pipeline import Hears
from tests.recognizer.tiny_bundle import save_tiny_bundle

TEXTS = {"en": "the old house", "de": "das alte haus"}
LANGUAGES = list(TEXTS)
OPEN = GuardConfig(0, 1e9, 1e9, min_confidence_shown=0.0, min_known=0.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    loaded = load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")
    return replace(loaded, tokenizer=make_tokenizer((*SPECIAL, "<|de|>")), languages=tuple(LANGUAGES))


class Talks:
    """Writes a language's text, its first word while it is spoken; ``shares``: of both languages, by seconds heard."""

    def __init__(self, tokenizer, text, shares):
        self.first = Grown(tokenizer.encode(text.split()[0]), [], None, [-0.1])
        tokens = tokenizer.encode(text)
        self.decoded = Decoded(tokens, ended=True, opening=Opening(0.0, 1.0), log_probs=[-0.1] * (len(tokens) + 1))
        self.shares = shares

    def extend(self, _state, committed, _stop_frames, _draft):
        return Grown([], [], None) if committed else self.first

    def transcribe(self, _state, _draft=()):
        return self.decoded

    def opening(self, state):
        return Opening(0.0, 1.0, self.shares(state.frames / 50))


def talking(bundle, shares, **config):
    """A session of a model that finds ``shares`` of English and German, by the seconds that it has heard."""
    recognizer = Recognizer(bundle, RecognizerConfig(guard=OPEN, **config))
    for language, search in recognizer.searches.items():
        search.decoder = search.greedy = search.second = Talks(bundle.tokenizer, TEXTS[language], shares)
    heard = say("the old house")
    recognizer.engine = Hears(recognizer.engine, lambda states: np.pad(heard, ((0, len(states)), (0, 0)), mode="edge"))
    return RecognizerSession(recognizer)


def hear(session, seconds, *, start=0.0, segment=0):
    """The partials and the final of a segment."""
    size, end = session.recognizer.chunk_samples, round((start + seconds) * SAMPLE_RATE)
    given, position = [], round(start * SAMPLE_RATE)
    while position < end:
        audio = np.full(min(size, end - position), 0.1, np.float32)
        given += session.accept(SegmentAudio(segment, position, audio, last=position + len(audio) == end))
        position += len(audio)
    *partials, final = given
    assert isinstance(final, Final)
    assert all(isinstance(partial, Partial) for partial in partials)
    return partials, final


def always(*shares):
    return lambda _seconds: shares


@pytest.mark.parametrize(
    ("partials", "full_context"),
    [("decoder", "always"), ("decoder", "unsure"), ("decoder", "never"), ("ctc", "always"), ("none", "always")],
)
def test_text_is_in_the_language_that_is_spoken_and_says_so(bundle, partials, full_context):
    session = talking(bundle, always(0.02, 0.98), partials=partials, full_context=full_context)
    shown, final = hear(session, 4)
    assert (final.text, final.language) == (TEXTS["de"], "de")
    assert bool(shown) is (partials == "decoder")  # CTC writes no German
    assert {partial.language for partial in shown} <= {"de"}


def test_nothing_is_shown_before_a_language_is_clear(bundle):
    doubtful, clear = always(0.4, 0.6), always(0.05, 0.95)
    for shares, waits in ((doubtful, True), (clear, False)):
        shown, final = hear(talking(bundle, shares), 4)
        assert shown[0].end / SAMPLE_RATE >= HEARD_SECONDS
        assert (shown[0].end / SAMPLE_RATE >= DECIDED_SECONDS) is waits
        assert {event.language for event in (*shown, final)} == {"de"}


def test_wrong_first_guess_costs_at_most_partials(bundle):
    session = talking(bundle, lambda seconds: (0.95, 0.05) if seconds < 3 else (0.05, 0.95))
    shown, final = hear(session, 4)
    assert [(partial.text, partial.language) for partial in shown] == [("the", "en")]
    assert (final.text, final.language) == (TEXTS["de"], "de")


def test_what_was_shown_stays_in_its_language_until_the_final(bundle):
    session = talking(bundle, lambda seconds: (0.95, 0.05) if seconds < 2.5 else (0.05, 0.95), partials="ctc")
    shown, _ = hear(session, 4)
    assert {partial.language for partial in shown} == {"en"}


def test_doubtful_word_stays_in_the_language_of_the_conversation(bundle):
    said = {"shares": (0.05, 0.95)}
    session = talking(bundle, lambda _seconds: said["shares"], partials="none")
    assert hear(session, 3)[1].language == "de"
    said["shares"] = (0.6, 0.4)
    assert hear(session, 3, start=4, segment=1)[1].language == "de"
    assert hear(session, 3, start=20 * FORGOTTEN, segment=2)[1].language == "en"
    said["shares"] = (0.98, 0.02)
    assert hear(session, 3, start=20 * FORGOTTEN + 4, segment=3)[1].language == "en"


def test_short_segment_stays_in_the_language_of_the_stream_unless_the_decoder_is_very_sure(bundle):
    said = {"shares": (0.01, 0.99)}
    session = talking(bundle, lambda _seconds: said["shares"], partials="none")
    assert hear(session, 3)[1].language == "de"
    said["shares"] = (0.95, 0.05)
    assert hear(session, 1, start=4, segment=1)[1].language == "de"
    said["shares"] = (0.999, 0.001)
    assert hear(session, 1, start=6, segment=2)[1].language == "en"
    said["shares"] = (0.05, 0.95)
    assert hear(session, 3, start=8, segment=3)[1].language == "de"  # a longer one counts by itself


def test_doubtful_first_word_holds_no_other_back(bundle):
    said = {"shares": (0.6, 0.4)}
    session = talking(bundle, lambda _seconds: said["shares"], partials="none")
    assert hear(session, 1)[1].language == "en"
    said["shares"] = (0.1, 0.9)
    assert hear(session, 1, start=2, segment=1)[1].language == "de"
    said["shares"] = (0.9, 0.1)
    assert hear(session, 1, start=4, segment=2)[1].language == "en"


def test_language_that_was_looked_for_ahead_is_that_of_the_final(bundle):
    finals = []
    for ahead in (False, True):
        session = talking(bundle, always(0.3, 0.7))
        session.accept(SegmentAudio(0, 0, np.full(2 * session.recognizer.chunk_samples, 0.1, np.float32), last=False))
        silence = np.zeros(SAMPLE_RATE // 2, np.float32)
        if ahead:
            session.prepare(silence, len(silence))
        position = 2 * session.recognizer.chunk_samples
        finals += session.accept(SegmentAudio(0, position, silence, last=True, silence=len(silence)))[-1:]
    assert finals[0] == finals[1]
    assert finals[0].language == "de"


def test_single_language_is_taken_without_asking(bundle):
    def never(_seconds):
        raise AssertionError("the decoder was asked which language is spoken")

    session = talking(bundle, never, languages=("de-AT",))
    session.recognizer.searches["de"].decoder.opening = lambda _state: Opening(0.0, 1.0)
    shown, final = hear(session, 4)
    assert (final.text, final.language) == (TEXTS["de"], "de")
    assert {partial.language for partial in shown} == {"de"}
    assert list(session.recognizer.searches) == ["de"]


def test_english_words_are_loaded_where_english_may_be_spoken(bundle):
    assert Recognizer(bundle, RecognizerConfig()).lexicon is not None
    assert Recognizer(bundle, RecognizerConfig(languages=("de",))).lexicon is None


def test_unknown_language_is_one_error_that_lists_what_is_known(bundle):
    with pytest.raises(ConfigError, match="language: 'fr' is not known to this model, only en, de"):
        Recognizer(bundle, RecognizerConfig(languages=("fr",)))


def test_thresholds_are_those_of_the_language(bundle):
    given = replace(bundle, guard={"min_letters": 3, "languages": {"de": {"min_letters": 4}}})
    searches = Recognizer(given, RecognizerConfig()).searches
    assert {language: search.guard.min_letters for language, search in searches.items()} == {"en": 3, "de": 4}


def test_language_of_what_was_said_last_is_likelier_the_sooner_it_goes_on():
    before = SpokenLanguage("de", 10 * SAMPLE_RATE)
    assert SpokenLanguage().likeliest((0.6, 0.4), LANGUAGES, 0)[0] == "en"
    likely = [before.likeliest((0.6, 0.4), LANGUAGES, (10 + pause) * SAMPLE_RATE) for pause in (0, 60, 3600)]
    assert [language for language, _ in likely] == ["de", "de", "en"]
    assert likely[0][1] > likely[1][1]
    assert before.likeliest((0.6, 0.4), ["en", "es"], 0)[0] == "en"
