"""Whole segments are padded: enough for a decoder that knows nothing else, never less than the segment."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from rtstream.engine.open import load_bundle
from rtstream.errors import ConfigError
from rtstream.events import Final, Partial, SegmentAudio
from rtstream.model.config import EncoderConfig
from rtstream.nn.features import LogMel
from rtstream.recognizer.context import SEEN_FRAMES, context_frames, context_samples, seen_frames
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.guard import GuardConfig
from rtstream.recognizer.level import levelled
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.session import SHAPE_STEP, RecognizerSession
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import read_clip

UNGUARDED = GuardConfig(0, 1e9, 1e9, min_known=0.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")


@pytest.fixture(scope="module")
def speech():
    return read_clip(DATA / "lj-high-wall.flac")


@given(frames=st.integers(0, 2000), most=st.integers(1, 1500))
def test_padding_is_ten_seconds_in_all_and_two_behind_as_far_as_there_is_room(frames, most):
    whole = context_frames(frames, EncoderConfig(max_frames=most))
    assert whole >= frames
    assert whole <= max(frames, most)
    assert whole >= 500 or whole in (frames, most)
    assert whole - frames >= 100 or whole in (frames, most)
    if most >= max(500, frames + 100):
        assert whole == max(500, frames + 100)


@given(frames=st.integers(0, 1999), most=st.integers(1, 1500))
def test_longer_segments_are_never_padded_to_less(frames, most):
    config = EncoderConfig(max_frames=most)
    assert context_frames(frames, config) <= context_frames(frames + 1, config)


@given(samples=st.integers(0, 600_000), most=st.integers(1, 1500))
def test_samples_are_those_of_whole_frames(samples, most):
    config = EncoderConfig(max_frames=most)
    assert context_samples(samples, config) == 320 * context_frames(math.ceil(samples / 320), config)
    assert context_samples(samples, config) >= samples


@given(count=st.integers(0, 2000))
def test_what_reads_the_wave_needs_no_padding(count):
    config = EncoderConfig(front_end="wave", max_frames=100)
    assert context_frames(count, config) == context_samples(count, config) == count
    assert seen_frames(config) == 0


def recognised(bundle, samples, cuts=(), **config):
    """The events of one segment cut at ``cuts``, and what the session knew of it."""
    session = RecognizerSession(Recognizer(bundle, RecognizerConfig(**{"guard": UNGUARDED, "words": True} | config)))
    events, start, segment = [], 0, None
    for end in [*cuts, len(samples)]:
        events += session.accept(SegmentAudio(0, start, samples[start:end], end == len(samples)))
        segment = session._open or segment
        start = end
    return events, segment


@pytest.mark.parametrize("count", [8_000, 16_123, 90_000])
def test_final_is_that_of_the_padded_segment(bundle, speech, count):
    ((final,), _) = recognised(bundle, speech[:count], chunk_ms=0)
    mel = LogMel()(torch.from_numpy(levelled(speech[:count])))
    frames = math.ceil(len(mel) / 2)
    whole = math.ceil(context_frames(frames, EncoderConfig()) / SHAPE_STEP) * SHAPE_STEP
    padded = F.pad(mel, (0, 0, 0, 2 * whole - len(mel)), value=LogMel().silence)
    with torch.inference_mode():
        states = bundle.engine.model.encoder(padded[None])[0, :frames]
        log_probs = bundle.engine.model.ctc(states).numpy()
    assert final.text == greedy_text(log_probs, bundle.config.letters)
    assert final.words
    assert all(word.end <= 320 * frames for word in final.words)


@pytest.mark.parametrize("count", [700, 8_000, 16_123, 90_000])
def test_decoder_sees_a_second_of_the_padding_and_ctc_none(bundle, speech, count):
    _, segment = recognised(bundle, speech[:count], [count - 300])
    assert segment.heard.decoder.frames == math.ceil(count / 320) + SEEN_FRAMES
    assert len(segment.heard.log_probs) == math.ceil(count / 320)


def test_longest_segment_leaves_no_room_for_padding(bundle, speech):
    samples = np.resize(speech, 30 * 16_000)
    _, segment = recognised(bundle, samples, [100_000], chunk_ms=1280, partials="none")
    assert segment.heard.decoder.frames == len(segment.heard.log_probs) == 1500


@pytest.mark.parametrize("chunk_ms", [320, 640, 1280])
@pytest.mark.parametrize("partials", ["ctc", "none"])
def test_final_is_the_same_whatever_came_before_it(bundle, speech, chunk_ms, partials):
    """Without chunks there is nothing else than the whole segment."""
    cuts = [20_000, 40_000, 41_000]
    (alone,), _ = recognised(bundle, speech[:60_000], cuts, chunk_ms=0)
    *before, final = recognised(bundle, speech[:60_000], cuts, chunk_ms=chunk_ms, partials=partials)[0]
    assert final == alone
    assert bool(before) is (partials == "ctc")


@pytest.mark.parametrize("chunk_ms", [0, 640])
def test_final_is_the_same_however_the_segment_is_cut(bundle, speech, chunk_ms):
    wanted = recognised(bundle, speech[:60_000], [], chunk_ms=chunk_ms)[0][-1]
    assert isinstance(wanted, Final)
    for cuts in ([1], [59_999], [160 * n for n in range(1, 375)], [0, 30_000, 30_000]):
        final = recognised(bundle, speech[:60_000], cuts, chunk_ms=chunk_ms)[0][-1]
        assert (final.text, final.start, final.end, final.source) == (wanted.text, 0, 60_000, wanted.source)
        assert [(w.text, w.start, w.end) for w in final.words] == [(w.text, w.start, w.end) for w in wanted.words]
        for word, other in zip(final.words, wanted.words, strict=True):  # features of other blocks: to float noise
            assert word.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_without_chunks_there_are_no_partials(bundle, speech):
    events, _ = recognised(bundle, speech[:60_000], range(1000, 60_000, 1000), chunk_ms=0, partials="ctc")
    assert [type(event) for event in events] == [Final]


def test_without_whole_segments_finals_are_those_of_the_chunks(bundle, speech):
    events, segment = recognised(bundle, speech[:60_000], [30_000], full_context="never", partials="ctc")
    assert any(isinstance(event, Partial) for event in events)
    assert segment.heard.decoder.frames == len(segment.heard.log_probs) == 188


@pytest.mark.parametrize("count", [0, 1, 100])
def test_next_to_nothing_is_no_error(bundle, count):
    for chunk_ms in (0, 640):
        events, _ = recognised(bundle, np.zeros(count, np.float32), chunk_ms=chunk_ms)
        assert len(events) <= 1


def test_neither_chunks_nor_whole_segments_is_one_clear_error(bundle):
    with pytest.raises(ConfigError, match=r"^full_context: never is not allowed where chunk_ms is 0") as caught:
        Recognizer(bundle, RecognizerConfig(chunk_ms=0, full_context="never"))
    assert "\n" not in str(caught.value)
