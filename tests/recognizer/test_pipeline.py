"""The whole way from blocks to events."""

import gc
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.engine.counting import counting
from rtstream.engine.open import load_bundle
from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE, AudioBlock, Final, Partial, SegmentAudio
from rtstream.model.config import KNOWN
from rtstream.model.config import MEL_LOOK_AHEAD as LOOK_AHEAD
from rtstream.recognizer import memory
from rtstream.recognizer import pipeline as pipeline_module
from rtstream.recognizer.biasing import BiasConfig
from rtstream.recognizer.final_pass import Decoded, Grown, Opening
from rtstream.recognizer.guard import GuardConfig
from rtstream.recognizer.memory import return_freed_memory
from rtstream.recognizer.phrases import parse_phrases
from rtstream.recognizer.pipeline import Pipeline, _Pieces
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.vad.segmenter import Segmenter, SegmenterConfig
from rtstream.vad.webrtc import WebRtcGate
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer
from tests.recognizer.posteriors import faint, say
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import read_clip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")


@pytest.fixture(scope="module")
def speech():
    """Two sentences with a pause between them that parts segments."""
    clips = [read("cv-telephone.wav"), np.zeros(SAMPLE_RATE, np.float32), read("lj-high-wall.flac")]
    return np.concatenate(clips)


class LevelGate:
    """Speech is what is loud: a verdict that depends on nothing that came before."""

    frame_samples = 320

    def is_speech(self, frame):
        return bool(np.abs(frame).max() > 0.02)

    def reset(self):
        pass


def read(name):
    return read_clip(DATA / name)


def recognizer(bundle, **config):
    return Recognizer(bundle, RecognizerConfig(**{"partials": "ctc", "words": True, **config}))


def events(pipeline, samples, sizes=(1600,), position=0):
    """What the pipeline gives for ``samples``, cut into blocks of ``sizes``, which are used over and over."""
    given, start, turn = [], 0, 0
    while start < len(samples):
        block = samples[start : start + sizes[turn % len(sizes)]]
        given += pipeline.push(AudioBlock(block, position + start))
        start += len(block)
        turn += 1
    return given + pipeline.finish()


def test_what_blocks_raise_comes_behind_the_last_final(bundle, speech):
    def blocks():
        for start in range(0, len(speech), 1600):
            yield AudioBlock(speech[start : start + 1600], start)
        raise ValueError("the end is missing")

    wanted, given = events(Pipeline(recognizer(bundle)), speech), []
    with pytest.raises(ValueError, match="the end is missing"):
        given.extend(Pipeline(recognizer(bundle)).run(blocks()))  # what was given before stays
    assert isinstance(wanted[-1], Final)
    assert given == wanted


def test_finals_of_a_model_of_one_pass_are_of_its_chunks(bundle, speech):
    once = replace(bundle, config=replace(bundle.config, one_pass=True))
    assert events(Pipeline(recognizer(once)), speech) == events(
        Pipeline(recognizer(bundle, full_context="never")), speech
    )
    with pytest.raises(ConfigError, match="knows chunks alone; choose 320, 640, 1280"):
        recognizer(once, chunk_ms=0)


@pytest.mark.parametrize("chunk_ms", [0, 320, 640, 1280])
@pytest.mark.parametrize("partials", ["ctc", "decoder"])
def test_events_are_the_same_for_any_blocks(bundle, speech, chunk_ms, partials):
    guard = GuardConfig(0, 1e9, 1e9, min_known=0.0)  # random weights would not get past it
    model = recognizer(bundle, chunk_ms=chunk_ms, partials=partials, guard=guard)
    wanted = events(Pipeline(model), speech)
    assert [type(event) for event in wanted].count(Final) == 2
    if chunk_ms and partials == "ctc":
        assert sum(isinstance(event, Partial) for event in wanted) > 4

    @settings(max_examples=5)
    @given(st.lists(st.integers(1, 60_000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 1000))
    def same(sizes):
        assert events(Pipeline(model), speech, sizes) == wanted

    same()
    assert events(Pipeline(model), speech, [len(speech)]) == wanted
    assert events(Pipeline(model), speech, [160]) == wanted


def test_partials_grow_and_one_final_ends_each_segment(bundle, speech):
    given = events(Pipeline(recognizer(bundle)), speech)
    said, ended, newest = {}, set(), 0
    for event in given:
        assert event.segment not in ended
        assert event.start < event.end
        if isinstance(event, Partial):
            before = said.get(event.segment, "")
            assert event.text.startswith(before)
            assert len(event.text) > len(before)
            said[event.segment] = event.text
        else:
            ended.add(event.segment)
            assert event.start >= newest
            newest = event.end
            assert " ".join(word.text for word in event.words) == event.text
    assert len(ended) == 2


def test_a_partial_comes_with_the_block_that_completes_its_chunk(bundle, speech):
    pipeline = Pipeline(recognizer(bundle, chunk_ms=320))
    frame = WebRtcGate().frame_samples
    seen = 0
    for start in range(0, len(speech), 160):
        for event in pipeline.push(AudioBlock(speech[start : start + 160], start)):
            if isinstance(event, Partial):
                seen += 1
                assert event.end + LOOK_AHEAD <= start + 160 < event.end + LOOK_AHEAD + frame + 160
    assert seen > 4


def test_finals_say_how_sure_they_are_with_and_without_words(bundle, speech):
    def heard(*, words):
        given = events(Pipeline(recognizer(bundle, partials="none", words=words)), speech)
        return [event for event in given if event.text]

    timed, plain = heard(words=True), heard(words=False)
    assert [final.confidence for final in plain] == [final.confidence for final in timed]
    assert not any(final.words for final in plain)
    for final in timed:
        confidences = [word.confidence for word in final.words]
        assert 0 < min(confidences) <= final.confidence <= max(confidences) <= 1


def test_positions_are_those_of_the_source(bundle, speech):
    early = events(Pipeline(recognizer(bundle)), speech)
    late = events(Pipeline(recognizer(bundle)), speech, position=1_000_000)
    assert [(e.start + 1_000_000, e.end + 1_000_000, e.text) for e in early] == [(e.start, e.end, e.text) for e in late]


def test_lost_audio_ends_the_segment(bundle, speech):
    pipeline = Pipeline(recognizer(bundle))
    middle = 30_000
    given = pipeline.push(AudioBlock(speech[:middle], 0))
    given += pipeline.push(AudioBlock(speech[middle + 8_000 :], middle + 8_000))
    finals = [event for event in given + pipeline.finish() if isinstance(event, Final)]
    assert [final.segment for final in finals] == [0, 1, 2]
    assert finals[0].end == middle
    assert finals[1].start >= middle + 8_000


def test_another_stream_may_follow_and_segments_count_on(bundle, speech):
    pipeline = Pipeline(recognizer(bundle))
    first, second = events(pipeline, speech), events(pipeline, speech)
    assert [(e.segment + 2, e.start, e.text) for e in first] == [(e.segment, e.start, e.text) for e in second]


def with_phrases(bundle, speech, **config):
    """A recognizer without phrases, and one with all words that it writes as phrases, in capitals, and some more."""
    plain = recognizer(bundle, **config)
    words = {word for event in events(Pipeline(plain), speech) for word in event.text.split() if 3 <= len(word) <= 30}
    phrases = parse_phrases([*sorted(word.upper() for word in words), "Grafana", "Zigbee=5"])
    return plain, recognizer(bundle, phrases=phrases, bias=BiasConfig(max_excess=60.0, ctc_alone=30.0), **config)


@pytest.mark.parametrize("partials", ["ctc", "decoder"])
def test_events_with_phrases_are_the_same_for_any_blocks(bundle, speech, partials):
    _, model = with_phrases(bundle, speech, partials=partials, guard=GuardConfig(0, 1e9, 1e9, min_known=0.0))
    wanted = events(Pipeline(model), speech)
    finals = [event for event in wanted if isinstance(event, Final)]
    assert len(finals) == 2
    assert any(word.isupper() for final in finals for word in final.text.split())
    for sizes in [(len(speech),), (160,), (1, 30_000, 7_777)]:
        assert events(Pipeline(model), speech, sizes) == wanted
    for segment in (0, 1):
        texts = [event.text for event in wanted if isinstance(event, Partial) and event.segment == segment]
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


def test_streams_with_and_without_phrases_do_not_touch_each_other(bundle, speech):
    models = with_phrases(bundle, speech)
    alone = [events(Pipeline(model), speech) for model in models]
    pipelines = [Pipeline(model) for model in models]
    given = [[], []]
    for start in range(0, len(speech), 1600):
        for pipeline, seen in zip(pipelines, given, strict=True):
            seen.extend(pipeline.push(AudioBlock(speech[start : start + 1600], start)))
    assert [seen + pipeline.finish() for pipeline, seen in zip(pipelines, given, strict=True)] == alone


def test_other_phrases_are_taken_from_the_next_segment_on(bundle, speech):
    plain, biased = with_phrases(bundle, speech)
    without, within = (events(Pipeline(model), speech) for model in (plain, biased))
    pipeline = Pipeline(plain)
    given = pipeline.push(AudioBlock(speech[:50_000], 0))
    assert given
    pipeline.change(biased)
    given += pipeline.push(AudioBlock(speech[50_000:], 50_000)) + pipeline.finish()
    assert given == [e for e in without if e.segment == 0] + [e for e in within if e.segment == 1]


def test_silence_says_nothing(bundle):
    assert events(Pipeline(recognizer(bundle)), np.zeros(10 * SAMPLE_RATE, np.float32)) == []


@pytest.mark.parametrize("partials", ["ctc", "decoder", "none"])
@pytest.mark.parametrize("no_speech", [0.9, 0.1])
def test_of_noise_in_which_ctc_hears_no_letter_no_text_is_looked_for(tmp_path, speech, partials, no_speech):
    deaf = load_bundle(save_tiny_bundle(tmp_path), "float")
    deaf.engine.model.ctc.output.bias[0] = 1e4
    model = recognizer(deaf, partials=partials, guard=GuardConfig(0, 1e9, 1e9, min_known=0.0))
    search = model.searches["en"]
    search.decoder = search.second = Says(deaf.tokenizer, OTHER)
    search.decoder.heard = Opening(no_speech, language=1.0)
    pipeline = Pipeline(model)
    assert [e.text for e in events(pipeline, speech) if isinstance(e, Final)] == []
    assert bool(search.decoder.asked) is (no_speech == 0.1)


class Hears:
    """An engine whose CTC gives something of its own."""

    def __init__(self, engine, ctc):
        self._engine, self.ctc = engine, ctc

    def __getattr__(self, name):
        return getattr(self._engine, name)


class Says:
    """Writes a text of its own, whatever is heard, and counts how often."""

    def __init__(self, tokenizer, text, *, ended=True):
        self.decoded = Decoded(tokenizer.encode(text), ended=ended, opening=Opening(no_speech=0.0, language=1.0))
        self.asked = 0
        self.heard = Opening(no_speech=0.0, language=1.0)

    def transcribe(self, _state, _draft=()):
        self.asked += 1
        return self.decoded

    def opening(self, _state):
        return self.heard


class Sure(Says):
    """Writes a text that CTC hears in the chunks, its first word while it is spoken, with a log-probability a token."""

    def __init__(self, tokenizer, text, log_prob):
        super().__init__(tokenizer, text)
        tokens = self.decoded.tokens
        self.decoded = replace(self.decoded, log_probs=[log_prob] * (len(tokens) + 1), certainty=-0.1)
        self.first = Grown(tokenizer.encode(text.split()[0]), [], Opening(0.0, 1.0), [-0.1])

    def extend(self, _state, committed, _stop_frames, _draft):
        return Grown([], [], None) if committed else self.first


@pytest.mark.parametrize(
    ("full_context", "log_prob", "opening", "spared"),
    [
        ("unsure", -0.1, Opening(0.0, 1.0), True),
        ("unsure", -1.5, Opening(0.0, 1.0), False),
        ("unsure", -0.1, Opening(0.0, 0.6), False),
        ("always", -0.1, Opening(0.0, 1.0), False),
    ],
    ids=["sure", "unsure of a token", "unsure of the language", "always"],
)
def test_a_segment_whose_chunks_are_sure_is_not_encoded_once_more(
    *, bundle, speech, full_context, log_prob, opening, spared
):
    guard = GuardConfig(0, 1e9, 1e9, min_confidence_kept=0.0, min_confidence_shown=0.0, min_known=0.0)
    spoken = speech[:ONE_SEGMENT]
    of_chunks = Pipeline(recognizer(bundle, full_context="never", guard=guard))
    heard = next(event.text for event in events(of_chunks, spoken) if isinstance(event, Final))
    counted, counts = counting(bundle)
    model = recognizer(counted, partials="decoder", full_context=full_context, guard=guard)
    search = model.searches["en"]
    search.decoder = search.greedy = Sure(bundle.tokenizer, heard, log_prob)
    search.decoder.decoded = replace(search.decoder.decoded, opening=opening)
    given = events(Pipeline(model), spoken)
    assert any(isinstance(event, Partial) for event in given)
    assert [event.text for event in given if isinstance(event, Final)] == [heard]
    assert (counts.by["", "full context"].calls == 0) is spared


ONE_SEGMENT = 3 * SAMPLE_RATE
OTHER = "please subscribe to my channel and to all the others that there are"


@pytest.mark.parametrize(
    ("first", "second", "source"),
    [
        ("heard", OTHER, "decoder"),
        ("often", OTHER, "decoder"),
        (OTHER, "heard", "decoder"),
        (OTHER, OTHER, "ctc"),
        (OTHER, "", "ctc"),  # that there is nothing is no answer where CTC hears something
        ("", "heard", "decoder"),
    ],
    ids=["right at once", "right but many times", "right at last", "never right", "silent at last", "silent first"],
)
def test_a_text_that_ctc_contradicts_is_looked_for_once_more_and_then_left_to_ctc(
    bundle, speech, first, second, source
):
    (plain,) = [
        e for e in events(Pipeline(recognizer(bundle, partials="none")), speech[:ONE_SEGMENT]) if isinstance(e, Final)
    ]
    texts = {"heard": plain.text, "often": 4 * f" {plain.text}"}
    asked = recognizer(bundle, partials="none")
    search = asked.searches["en"]
    search.decoder = Says(bundle.tokenizer, texts.get(first, first))
    search.second = Says(bundle.tokenizer, texts.get(second, second))
    (final,) = events(Pipeline(asked), speech[:ONE_SEGMENT])
    assert (final.text, final.source) == (plain.text, source)
    assert (search.decoder.asked, search.second.asked) == (1, int(first in {OTHER, ""}))


@pytest.mark.parametrize(
    ("heard", "written", "published"),
    [
        ("six", "6 6 6 6 6", "6"),
        ("six six six", "6 6 6", "6 6 6"),
        ("twenty one", "21 21", "21"),
        ("twenty one", "21", "21"),
        ("no", "no no no no", "no"),
        ("no no no no", "no no no no", "no no no no"),
        ("ha ha ha", "Ha, ha, ha, ha, ha.", "Ha, ha, ha."),
        ("five five five", "5 5 5 5", "5 5 5"),
        ("four one one one one one", "4-1-1-1", "4-1-1-1-1-1"),
    ],
)
def test_what_the_decoder_repeats_is_published_as_often_as_ctc_hears_it(bundle, speech, heard, written, published):
    asked = recognizer(bundle, partials="none")
    search = asked.searches["en"]
    search.decoder = search.second = Says(bundle.tokenizer, f" {written}")
    asked.engine = Hears(asked.engine, lambda states: np.pad(say(heard), ((0, len(states)), (0, 0)), mode="edge"))
    (final,) = events(Pipeline(asked), speech[:ONE_SEGMENT])
    assert (final.text, final.source) == (published, "decoder")


@pytest.mark.parametrize(("certainty", "published"), [(-0.2, ["5 5 5"]), (-0.9, [])])
def test_digits_of_which_ctc_hears_little_count_where_english_is_heard_and_the_decoder_is_certain(
    bundle, speech, certainty, published
):
    asked = recognizer(bundle, partials="none", guard=GuardConfig())
    search = asked.searches["en"]
    search.decoder = search.second = Says(bundle.tokenizer, "5 5 5")
    search.decoder.decoded = replace(search.decoder.decoded, certainty=certainty)
    said = faint("five five five")
    asked.engine = Hears(asked.engine, lambda states: np.pad(said, ((0, len(states)), (0, 0)), mode="edge"))
    asked.engine.voice = lambda states: 9 * np.eye(4, dtype=np.float32)[np.full(len(states), 1 + KNOWN)]
    assert [e.text for e in events(Pipeline(asked), speech[:ONE_SEGMENT])] == published


@pytest.mark.parametrize(("certainty", "published"), [(-0.2, ["no no no"]), (-0.9, [])])
def test_of_noise_in_which_ctc_hears_other_letters_no_text_is_made_up(bundle, speech, certainty, published):
    asked = recognizer(bundle, partials="none", guard=GuardConfig())
    search = asked.searches["en"]
    search.decoder, search.second = (Says(bundle.tokenizer, text) for text in ("", "no no no"))
    search.second.decoded = replace(search.second.decoded, certainty=certainty)
    barks = np.log(0.55 * np.exp(say("bcdf")) + 0.45 * np.exp(say("", stretch=16)))
    said = np.concatenate([barks, faint("no no no")])
    asked.engine = Hears(asked.engine, lambda states: np.pad(said, ((0, len(states)), (0, 0)), mode="edge"))
    asked.engine.voice = lambda states: 9 * np.eye(4, dtype=np.float32)[np.full(len(states), 1 + KNOWN)]
    assert [e.text for e in events(Pipeline(asked), speech[:ONE_SEGMENT])] == published


@pytest.mark.parametrize(
    ("written", "said", "published"),
    [
        ("8 0 0 5 5 0 1 9 9", "eight zero zero five five five zero one nine nine", ["8 0 0 5 5 5 0 1 9 9"]),
        ("3 men", "three men", []),
    ],
)
def test_that_nobody_speaks_does_not_count_where_ctc_hears_the_digits(bundle, speech, written, said, published):
    asked = recognizer(bundle, partials="none", guard=GuardConfig(min_confidence_kept=1.1))
    search = asked.searches["en"]
    search.decoder = search.second = Says(bundle.tokenizer, written)
    search.decoder.decoded = replace(search.decoder.decoded, opening=Opening(no_speech=0.9, language=0.7))
    asked.engine = Hears(asked.engine, lambda states: np.pad(say(said), ((0, len(states)), (0, 0)), mode="edge"))
    assert [e.text for e in events(Pipeline(asked), speech[:ONE_SEGMENT])] == published


@pytest.mark.parametrize("partials", ["ctc", "decoder", "none"])
def test_what_ctc_alone_hears_is_not_published_where_it_makes_no_words(bundle, speech, partials):
    asked = recognizer(bundle, partials=partials, guard=GuardConfig())
    search = asked.searches["en"]
    search.decoder = search.second = Says(bundle.tokenizer, OTHER, ended=False)
    search.decoder.extend = lambda *_: Grown([], [], Opening(0.0, 1.0))
    asked.engine = Hears(asked.engine, lambda states: np.pad(say("one miian two hundrh"), ((0, len(states)), (0, 0))))
    assert [e.text for e in events(Pipeline(asked), speech[:ONE_SEGMENT]) if isinstance(e, Final) and e.text] == []


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("partials", ["ctc", "decoder", "none"])
def test_what_ctc_alone_hears_is_published_in_english_alone(bundle, speech, partials, language):
    tokenizer = make_tokenizer((*SPECIAL, "<|de|>"))
    both = replace(bundle, tokenizer=tokenizer, languages=("en", "de"))
    asked = recognizer(both, partials=partials, guard=GuardConfig())
    for name, search in asked.searches.items():
        search.decoder = search.greedy = search.second = Says(tokenizer, OTHER, ended=False)
        search.decoder.extend = lambda *_: Grown([], [], Opening(0.0, 1.0))
        shares = (0.99, 0.01) if language == "en" else (0.01, 0.99)
        opening = Opening(0.0, 1.0, shares)
        search.decoder.opening = lambda _, opening=opening: opening
        assert name in {"en", "de"}
    asked.engine = Hears(asked.engine, lambda states: np.pad(say("one two three"), ((0, len(states)), (0, 0))))
    said = [e.text for e in events(Pipeline(asked), speech[:ONE_SEGMENT]) if e.text]
    assert bool(said) == (language == "en")


def test_ctcs_partials_are_refused_where_no_english_may_be_spoken(bundle):
    both = replace(bundle, tokenizer=make_tokenizer((*SPECIAL, "<|de|>")), languages=("en", "de"))
    with pytest.raises(ConfigError, match="partials: ctc writes English alone; choose decoder or none"):
        recognizer(both, languages=("de",))
    assert recognizer(both, languages=("de", "en")).languages == ("de", "en")


@pytest.mark.parametrize(
    ("numbers", "text"), [("as spoken", "at seven thirty"), ("digits", "at 7:30"), ("words", "at seven thirty")]
)
def test_finals_have_numbers_in_the_form_that_is_set_and_words_with_the_times_of_what_was_said(
    bundle, speech, numbers, text
):
    asked = recognizer(bundle, partials="none", numbers=numbers)
    search = asked.searches["en"]
    search.decoder = search.second = Says(bundle.tokenizer, "at seven thirty")
    asked.engine = Hears(
        asked.engine, lambda states: np.pad(say("at seven thirty"), ((0, len(states)), (0, 0)), mode="edge")
    )
    (final,) = events(Pipeline(asked), speech[:ONE_SEGMENT])
    assert final.text == text == " ".join(word.text for word in final.words)
    assert final.words[-1].end == final.start + 320 * (4 * len("at seven thirty") - 3)


@pytest.mark.parametrize("no_speech", [0.1, 0.9])
def test_a_final_does_not_depend_on_partials(bundle, speech, no_speech):
    """Neither its text nor whether it is published; what was shown and is refused is taken back."""
    found = {}
    for partials in ("none", "ctc"):
        asked = recognizer(bundle, partials=partials)
        search = asked.searches["en"]
        search.decoder = search.second = Says(bundle.tokenizer, "we went home early")
        search.decoder.decoded = replace(search.decoder.decoded, opening=Opening(no_speech, language=1.0))
        found[partials] = [e for e in events(Pipeline(asked), speech) if isinstance(e, Final) and e.text]
    assert found["none"] == found["ctc"]


def test_a_text_is_not_looked_for_again_where_another_language_is_spoken(bundle, speech):
    asked = recognizer(bundle, partials="none")
    search = asked.searches["en"]
    search.decoder = Says(bundle.tokenizer, OTHER)
    search.decoder.decoded = replace(search.decoder.decoded, opening=Opening(no_speech=0.0, language=0.01))
    search.second = Says(bundle.tokenizer, "the end")
    assert events(Pipeline(asked), speech[:ONE_SEGMENT]) == []
    assert (search.decoder.asked, search.second.asked) == (1, 0)


@pytest.mark.parametrize("opening", [Opening(no_speech=0.0, language=0.01), Opening(no_speech=0.9, language=1.0)])
@pytest.mark.parametrize(("sure", "published"), [(0.9, True), (0.2, False)])
def test_silence_and_other_languages_do_not_count_where_ctc_hears_every_letter(
    bundle, speech, opening, sure, published
):
    asked = recognizer(bundle, partials="none")
    search = asked.searches["en"]
    search.decoder = search.second = Says(bundle.tokenizer, "knit seven")
    search.decoder.decoded = replace(search.decoder.decoded, opening=opening)
    table = say("knit seven", sure)
    asked.engine = Hears(asked.engine, lambda states: np.pad(table, ((0, len(states)), (0, 0)), mode="edge"))
    assert [e.text for e in events(Pipeline(asked), speech[:ONE_SEGMENT])] == ["knit seven"] * published


@pytest.mark.parametrize(
    ("language", "confidence", "kept"),
    [(0.05, 1.1, False), (0.2, 1.1, True), (0.05, 0.0, True)],
    ids=["foreign", "likely not foreign", "foreign, but CTC is sure enough"],
)
def test_what_was_shown_is_taken_back_where_the_whole_segment_is_in_another_language(
    bundle, speech, language, confidence, kept
):
    asked = recognizer(
        bundle, guard=GuardConfig(min_confidence_shown=0.0, min_confidence_kept=confidence, min_known=0.0)
    )
    *shown, plain = events(Pipeline(asked), speech[:ONE_SEGMENT])
    search = asked.searches["en"]
    search.decoder = Says(bundle.tokenizer, plain.text)
    search.decoder.decoded = replace(search.decoder.decoded, opening=Opening(no_speech=0.0, language=language))
    *partials, final = events(Pipeline(asked), speech[:ONE_SEGMENT])
    assert partials == shown != []
    assert (final.segment, final.start, final.end) == (plain.segment, plain.start, plain.end)
    assert (final.text, final.words) == ((plain.text, plain.words) if kept else ("", ()))


def test_a_word_shorter_than_a_chunk_has_a_final(bundle, speech):
    word = np.concatenate([speech[SAMPLE_RATE : SAMPLE_RATE * 8 // 5], np.zeros(SAMPLE_RATE, np.float32)])
    segmenter = Segmenter(WebRtcGate(), SegmenterConfig(hangover_ms=200))
    given = events(Pipeline(recognizer(bundle, chunk_ms=1280), segmenter), word)
    assert [type(event) for event in given] == [Final]


def test_long_pause_costs_nothing_and_what_follows_is_recognised_as_before_it(bundle, speech):
    pipeline = Pipeline(recognizer(bundle), Segmenter(LevelGate()))
    said = np.pad(speech, (SAMPLE_RATE, SAMPLE_RATE + -len(speech) % LevelGate.frame_samples))
    minutes = 10 * 60 * SAMPLE_RATE

    def push(samples, begin):
        return [
            e
            for at in range(0, len(samples), 8_000)
            for e in pipeline.push(AudioBlock(samples[at : at + 8_000], begin + at))
        ]

    before = push(said, 0)
    work = {stage: seconds for stage, seconds in pipeline.times.seconds.items() if stage != "vad"}
    assert push(np.zeros(minutes, np.float32), len(said)) == []
    assert {stage: seconds for stage, seconds in pipeline.times.seconds.items() if stage != "vad"} == work
    after = push(said, len(said) + minutes)
    assert [(type(e), e.text) for e in after] == [(type(e), e.text) for e in before]
    assert {e.start - len(said) - minutes for e in after} == {e.start for e in before}


def test_segmenter_can_be_chosen(bundle, speech):
    short = Segmenter(WebRtcGate(), SegmenterConfig(min_segment_ms=500, soft_ms=1000, max_segment_ms=2500))
    finals = [e for e in events(Pipeline(recognizer(bundle), short), speech) if isinstance(e, Final)]
    assert len(finals) > 3
    assert all(final.end - final.start <= 2.5 * SAMPLE_RATE for final in finals)


def test_time_of_every_stage_is_counted(bundle, speech):
    pipeline = Pipeline(recognizer(bundle))
    events(pipeline, speech)
    assert {"vad", "features", "encoder", "ctc", "finals", "words"} <= pipeline.times.seconds.keys()
    assert all(seconds >= 0 for seconds in pipeline.times.seconds.values())


def test_freed_memory_is_returned_once_a_segment(bundle, speech, monkeypatch):
    calls = []
    monkeypatch.setattr(pipeline_module, "return_freed_memory", lambda: calls.append(True))
    events(Pipeline(recognizer(bundle)), speech)
    assert len(calls) == 2


def test_freed_memory_is_returned_or_the_system_has_its_own_way(monkeypatch):
    return_freed_memory()
    monkeypatch.setattr(memory, "_trim", lambda: None)
    return_freed_memory()


def test_memory_does_not_grow_with_the_stream(bundle, speech):
    pipeline = Pipeline(recognizer(bundle))
    samples = np.concatenate([speech, np.zeros(SAMPLE_RATE, np.float32)])
    position, sizes = 0, []
    tracemalloc.start()
    try:
        for _ in range(4):
            for start in range(0, len(samples), 16_000):
                pipeline.push(AudioBlock(samples[start : start + 16_000], position + start))
            position += len(samples)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[0] < 100_000


@pytest.mark.parametrize(("chunk_ms", "partials"), [(0, "none"), (320, "ctc"), (640, "decoder")])
def test_events_are_the_same_where_finals_are_prepared(bundle, speech, chunk_ms, partials):
    """Whenever that is done."""
    model = recognizer(bundle, chunk_ms=chunk_ms, partials=partials, guard=GuardConfig(0, 1e9, 1e9, min_known=0.0))
    wanted = events(Pipeline(model), speech)

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(1, 9_000), min_size=1, max_size=5), st.lists(st.booleans(), min_size=1, max_size=7))
    def same(sizes, turns):
        pipeline = Pipeline(model)
        given, start, turn = [], 0, 0
        while start < len(speech):
            block = speech[start : start + sizes[turn % len(sizes)]]
            given += pipeline.push(AudioBlock(block, start))
            start += len(block)
            if turns[turn % len(turns)]:
                pipeline.prepare()
            turn += 1
        assert given + pipeline.finish() == wanted

    same()


def test_final_that_was_prepared_is_not_computed_again(bundle, speech):
    pipeline = Pipeline(recognizer(bundle))
    pipeline.prepare()  # of nothing
    prepared, finals = [], []
    for start in range(0, len(speech), 320):
        before = pipeline.times.seconds["second encoding"]
        finals += [
            event for event in pipeline.push(AudioBlock(speech[start : start + 320], start)) if isinstance(event, Final)
        ]
        assert pipeline.times.seconds["second encoding"] == before
        pipeline.prepare()
        if pipeline.times.seconds["second encoding"] > before:
            prepared.append(start + 320)
    (final,) = finals  # the second one's silence has not come yet
    # Webrtcvad closes after 700 ms of silence; 300 were enough, and the samples that the last frame needs.
    before_end = [at for at in prepared if at <= final.end]
    assert final.end - 6_400 <= before_end[-1] <= final.end - 6_400 + 960


def test_final_is_made_of_the_segment_and_a_little_silence(bundle):
    """What comes later in the silence is not listened to."""
    rng = np.random.default_rng(0)
    loud = read("lj-high-wall.flac")[:32_000]

    def final(tail, **config):
        silence = np.concatenate([np.zeros(4_800, np.float32), tail, np.zeros(8_000, np.float32)])
        pipeline = Pipeline(
            recognizer(bundle, chunk_ms=0, partials="none", guard=GuardConfig(0, 1e9, 1e9, min_known=0.0), **config),
            Segmenter(LevelGate(), SegmenterConfig()),
        )
        (given,) = events(pipeline, np.concatenate([loud, silence]))
        return given

    murmur = 0.003 * rng.standard_normal(6_000).astype(np.float32)
    still = np.zeros(6_000, np.float32)
    assert final(murmur) == final(still)
    assert final(murmur, tail_ms=700) != final(still, tail_ms=700)


def held_bytes():
    """Of all tensors that there are, and of what Python and numpy have allocated since that is traced."""
    gc.collect()
    storages = [thing.untyped_storage() for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values()), tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("partials", ["ctc", "decoder"])
def test_nothing_of_a_segment_outlives_it(bundle, speech, partials):
    pipeline = Pipeline(recognizer(bundle, partials=partials))
    events(pipeline, speech[:30_000])  # what is made once
    position = 30_000
    tracemalloc.start()
    try:
        before = held_bytes()
        pipeline.push(AudioBlock(speech[:30_000], position))
        amid = held_bytes()
        pipeline.finish()
        after = held_bytes()
    finally:
        tracemalloc.stop()
    assert amid[0] > before[0]
    assert amid[1] > before[1] + 4 * 20_000  # its audio
    assert after[0] == before[0]
    assert after[1] < before[1] + 4 * 5_000


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=12),
    st.sampled_from([320, 960, 5120]),
    st.integers(0, 10_000),
)
def test_pieces_are_the_segment_cut_where_its_chunks_are_complete(sizes, chunk, position):
    pieces = _Pieces(chunk, LOOK_AHEAD)
    for segment in range(2):  # the second one finds nothing of the first
        total = sum(sizes)
        samples = np.arange(total, dtype=np.float32)
        given, start = [], 0
        for index, size in enumerate(sizes):
            audio = SegmentAudio(segment, position + start, samples[start : start + size], index == len(sizes) - 1)
            given += pieces.cut(audio)
            start += size
            if index < len(sizes) - 1:  # nothing complete is held back
                assert sum(len(piece.samples) for piece in given) > start - chunk - LOOK_AHEAD
        assert np.array_equal(np.concatenate([piece.samples for piece in given]), samples)
        ends = [piece.position + len(piece.samples) - position for piece in given]
        assert ends[:-1] == [chunk * (n + 1) + LOOK_AHEAD for n in range(len(given) - 1)]
        assert [piece.position - position for piece in given] == [0, *ends[:-1]]
        assert [piece.last for piece in given] == [False] * (len(given) - 1) + [True]
        assert {piece.segment for piece in given} == {segment}
