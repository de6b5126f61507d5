import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import AudioBlock
from rtstream.vad.segmenter import Segmenter, SegmenterConfig

FRAME = 160  # 10 ms
SHORT = SegmenterConfig(
    pre_roll_ms=50,
    onset_window_ms=40,
    min_speech_ms=20,
    hangover_ms=70,
    min_segment_ms=0,
    soft_ms=200,
    max_segment_ms=600,
)
QUIET, SPEECH = 0.001, 0.1


class LevelGate:
    """Speech is what is loud. Counts its resets."""

    frame_samples = FRAME
    resets = 0

    def is_speech(self, frame):
        assert frame.shape == (FRAME,)
        return bool(np.abs(frame).max() > 0.01)

    def reset(self):
        self.resets += 1


def audio(*parts: tuple[float, int]) -> np.ndarray:
    """Distinct samples at given levels: (level, milliseconds)...; no two samples are the same. A tone of 8 kHz."""
    levels = np.concatenate([np.full(16 * ms, level) for level, ms in parts])
    numbers = np.arange(len(levels))
    return (levels * (1 - numbers * 1e-6) * (1 - 2 * (numbers % 2))).astype(np.float32)


def blocks(source: np.ndarray, cuts: list[int], start: int = 0) -> list[AudioBlock]:
    edges = [0, *sorted(c % (len(source) + 1) for c in cuts), len(source)]
    return [AudioBlock(source[a:b], start + a) for a, b in pairwise(edges)]


def run(source, config=SHORT, cuts=(), start=0):
    """Everything the segmenter gives for a source."""
    segmenter = Segmenter(LevelGate(), config)
    given = [piece for block in blocks(source, list(cuts), start) for piece in segmenter.push(block)]
    return given + segmenter.finish()


def joined(pieces) -> dict[int, tuple[int, np.ndarray]]:
    """Number -> (position, samples), after checking what holds for every sequence of pieces."""
    segments: dict[int, tuple[int, np.ndarray]] = {}
    closed = -1
    for piece in pieces:
        assert piece.segment == closed + 1, "numbers count up, and nothing follows the last piece"
        assert len(piece.samples) or piece.last
        position, samples = segments.get(piece.segment, (piece.position, np.zeros(0, np.float32)))
        assert piece.position == position + len(samples), "the pieces of a segment are contiguous"
        segments[piece.segment] = (position, np.concatenate((samples, piece.samples)))
        closed += piece.last
    assert closed == len(segments) - 1, "every segment is closed"
    return segments


def spans(pieces) -> list[tuple[int, int]]:
    """Begin and end of each segment in milliseconds."""
    return [(p // 16, (p + len(s)) // 16) for p, s in joined(pieces).values()]


sources = st.lists(
    st.tuples(st.sampled_from([0.0, QUIET, SPEECH, SPEECH, SPEECH / 3]), st.integers(1, 400)), min_size=1, max_size=12
).map(lambda parts: audio(*parts))
configs = st.builds(
    SegmenterConfig,
    pre_roll_ms=st.integers(0, 100),
    onset_window_ms=st.integers(30, 60),
    min_speech_ms=st.integers(1, 30),
    hangover_ms=st.integers(1, 150),
    min_segment_ms=st.integers(0, 200),
    soft_ms=st.integers(0, 300),
    max_segment_ms=st.integers(500, 900),
)
cuts_of = st.lists(st.integers(0, 100_000), max_size=20)


# Properties of every source, configuration and cut


@given(sources, configs, cuts_of)
def test_segments_do_not_depend_on_how_the_source_is_cut(source, config, cuts):
    whole, cut = joined(run(source, config)), joined(run(source, config, cuts))
    assert whole.keys() == cut.keys()
    for number, (position, samples) in whole.items():
        assert cut[number][0] == position
        assert np.array_equal(cut[number][1], samples)


@given(sources, configs, cuts_of, st.integers(0, 1 << 40))
def test_segments_are_the_sources_samples_in_order_and_not_too_long(source, config, cuts, start):
    end = start
    for position, samples in joined(run(source, config, cuts, start)).values():
        assert position >= end
        end = position + len(samples)
        assert np.array_equal(samples, source[position - start : end - start])
        assert 0 < len(samples) <= config.max_segment_ms * 16
    assert end <= start + len(source)


@given(sources, configs)
def test_no_onset_window_holds_enough_speech_outside_of_segments(source, config):
    inside = np.zeros(len(source), bool)
    for position, samples in joined(run(source, config)).values():
        inside[position : position + len(samples)] = True
    gate = LevelGate()
    missed = [
        gate.is_speech(source[start : start + FRAME]) and not inside[start]
        for start in range(0, len(source) - FRAME + 1, FRAME)
    ]
    window, need = -(-config.onset_window_ms // 10), -(-config.min_speech_ms // 10)
    assert all(sum(missed[frame : frame + window]) < need for frame in range(len(missed)))


@given(sources, configs)
def test_a_segment_begins_one_pre_roll_before_speech_or_where_the_one_before_ended(source, config):
    gate, pre_roll, end = LevelGate(), -(-config.pre_roll_ms // 10) * FRAME, 0
    for position, samples in joined(run(source, config)).values():
        if position > end:
            speech = position + pre_roll
            assert gate.is_speech(source[speech : speech + FRAME])
        end = position + len(samples)


@given(sources, configs, cuts_of)
def test_what_is_held_back_is_bounded_and_open_audio_is_given_at_once(source, config, cuts):
    segmenter = Segmenter(LevelGate(), config)
    bound = (max(config.pre_roll_ms, config.hangover_ms) + config.onset_window_ms + 30) * 16
    is_open = False
    for block in blocks(source, cuts):
        given = segmenter.push(block)
        assert segmenter.buffered < bound
        if given:
            is_open = not given[-1].last
        if is_open:
            assert segmenter.buffered < FRAME, "only the rest of a frame waits while a segment is open"
    segmenter.finish()
    assert segmenter.buffered == 0


@given(sources, sources, st.integers(1, 100_000), cuts_of)
def test_lost_audio_closes_the_segment_and_what_follows_is_as_new(first, second, gap, cuts):
    segmenter = Segmenter(LevelGate(), SHORT)
    after = len(first) + gap
    given = [piece for block in blocks(first, cuts) for piece in segmenter.push(block)]
    given += [piece for block in blocks(second, cuts, after) for piece in segmenter.push(block)]
    given += segmenter.finish()
    expected = [*joined(run(first)).values(), *joined(run(second, start=after)).values()]
    actual = list(joined(given).values())
    assert [p for p, _ in actual] == [p for p, _ in expected]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(actual, expected, strict=True))


# Single behaviours


def test_silence_yields_no_segment():
    assert run(audio((0.0, 5_000))) == []
    assert run(audio((QUIET, 5_000))) == []


def test_a_segment_has_pre_roll_and_hang_over():
    assert spans(run(audio((QUIET, 300), (SPEECH, 200), (QUIET, 300)))) == [(250, 570)]


def test_pre_roll_ends_at_the_begin_of_the_source():
    assert spans(run(audio((QUIET, 20), (SPEECH, 200), (QUIET, 300)))) == [(0, 290)]


def test_pre_roll_does_not_reach_into_the_segment_before():
    source = audio((QUIET, 100), (SPEECH, 100), (QUIET, 90), (SPEECH, 100), (QUIET, 100))
    assert spans(run(source)) == [(50, 270), (270, 460)]


def test_a_click_shorter_than_min_speech_opens_nothing():
    assert run(audio((QUIET, 100), (SPEECH, 10), (QUIET, 100))) == []
    assert spans(run(audio((QUIET, 100), (SPEECH, 20), (QUIET, 100)))) == [(50, 190)]


def test_speech_scattered_within_the_onset_window_opens():
    assert len(spans(run(audio((QUIET, 100), (SPEECH, 10), (QUIET, 20), (SPEECH, 10), (QUIET, 100))))) == 1
    assert run(audio((QUIET, 100), (SPEECH, 10), (QUIET, 30), (SPEECH, 10), (QUIET, 100))) == []


def test_a_pause_shorter_than_the_hang_over_stays_inside():
    assert len(spans(run(audio((SPEECH, 100), (QUIET, 60), (SPEECH, 100), (QUIET, 100))))) == 1
    assert len(spans(run(audio((SPEECH, 100), (QUIET, 70), (SPEECH, 100), (QUIET, 100))))) == 2


def test_min_segment_keeps_a_short_segment_open():
    config = SegmenterConfig(50, 40, 20, 70, min_segment_ms=300, soft_ms=200, max_segment_ms=600)
    assert spans(run(audio((SPEECH, 30), (QUIET, 800)), config)) == [(0, 300)]


def test_finish_closes_the_open_segment_with_the_last_incomplete_frame():
    source = audio((QUIET, 100), (SPEECH, 105))[:-3]
    (position, samples), *others = joined(run(source)).values()
    assert not others
    assert position + len(samples) == len(source)


def test_after_finish_a_new_stream_begins_and_numbers_go_on():
    segmenter = Segmenter(LevelGate(), SHORT)
    source = audio((SPEECH, 100))
    first = segmenter.push(AudioBlock(source, 0)) + segmenter.finish()
    assert segmenter.finish() == []
    second = segmenter.push(AudioBlock(source, 0)) + segmenter.finish()
    assert {piece.segment for piece in first} == {0}
    assert {(piece.segment, piece.position) for piece in second} == {(1, 0), (1, len(source))}


@given(st.integers(1, 800))
def test_delivery_that_pauses_ends_the_open_segment_and_loses_no_speech(at):
    source = audio((QUIET, 200), (SPEECH, 300), (QUIET, 300))
    segmenter = Segmenter(LevelGate(), SHORT)
    first, second = blocks(source, [16 * at])
    given = segmenter.push(first)
    opened = bool(given) and not given[-1].last
    given += segmenter.pause()
    given += segmenter.push(second) + segmenter.finish()
    assert len(joined(given)) == (2 if opened and at <= 480 else 1)
    covered = {n for p, s in joined(given).values() for n in range(p, p + len(s))}
    spoken = range(200 * 16, (500 if at <= 480 or at > 500 else at) * 16)  # what is left behind 480 ms opens nothing
    assert covered.issuperset(spoken)
    if not opened:
        assert spans(given) == spans(run(source))


def test_speech_without_a_pause_is_cut_at_the_maximum_and_goes_on_exactly_there():
    assert spans(run(audio((SPEECH, 1_500)))) == [(0, 600), (600, 1_200), (1_200, 1_500)]


@pytest.mark.parametrize(
    ("parts", "cut"),
    [
        ([(SPEECH, 3_000)], True),
        ([(SPEECH, 1_500), (QUIET, 250), (SPEECH, 1_000)], False),  # a pause that ends a sentence
        ([(SPEECH, 1_000), (QUIET, 1_000)], False),
        ([(SPEECH, 1_900)], False),  # the source ends
    ],
)
def test_a_cut_within_what_is_being_said_says_so(parts, cut):
    config = SegmenterConfig(50, 40, 20, 700, min_segment_ms=0, soft_ms=1_000, max_segment_ms=2_000)
    first = next(piece for piece in run(audio(*parts), config) if piece.last)
    assert first.cut is cut


def test_the_pause_that_cuts_shrinks_towards_the_maximum():
    def first_end(pause: int, at: int) -> int:
        return spans(run(audio((SPEECH, at), (QUIET, pause), (SPEECH, 900 - at))))[0][1]

    assert first_end(60, at=300) == 600, "before the soft limit less than the hang-over does not cut"
    assert first_end(60, at=420) == 470
    assert first_end(30, at=420) == 600
    assert first_end(30, at=520) == 540
    assert first_end(10, at=580) == 590


def test_a_pause_that_the_gate_does_not_see_cuts_too_where_a_cut_must_come():
    source = audio((SPEECH, 540), (0.011, 40), (SPEECH, 400))  # speech to the gate, -19 dB below the rest
    assert spans(run(source))[0][1] < 580
    assert spans(run(audio((SPEECH, 300), (0.011, 40), (SPEECH, 600))))[0][1] == 600, "but not before"


def test_after_an_early_cut_speech_within_the_hang_over_follows_without_a_hole():
    config = SegmenterConfig(10, 40, 20, 150, min_segment_ms=0, soft_ms=300, max_segment_ms=600)
    source = audio((SPEECH, 520), (QUIET, 140), (SPEECH, 200), (QUIET, 300))
    (_, cut), (begin, _) = spans(run(source, config))
    assert 520 < cut < 620
    assert begin == cut


def test_after_an_early_cut_silence_opens_nothing():
    config = SegmenterConfig(10, 40, 20, 150, min_segment_ms=0, soft_ms=300, max_segment_ms=600)
    assert len(spans(run(audio((SPEECH, 520), (QUIET, 2_000)), config))) == 1


def test_the_gate_forgets_between_streams_but_not_between_segments():
    gate = LevelGate()
    segmenter = Segmenter(gate, SHORT)
    segmenter.push(AudioBlock(audio((SPEECH, 100), (QUIET, 200), (SPEECH, 100)), 0))
    assert gate.resets == 0
    segmenter.push(AudioBlock(audio((SPEECH, 100)), 1_000_000))
    assert gate.resets == 1
    segmenter.finish()
    assert gate.resets == 2


def test_a_block_that_goes_back_is_refused():
    segmenter = Segmenter(LevelGate(), SHORT)
    segmenter.push(AudioBlock(audio((SPEECH, 100)), 0))
    with pytest.raises(ValueError, match="overlaps"):
        segmenter.push(AudioBlock(audio((SPEECH, 100)), 1_599))


def test_an_empty_block_changes_nothing():
    segmenter = Segmenter(LevelGate(), SHORT)
    assert segmenter.push(AudioBlock(np.zeros(0, np.float32), 7)) == []
    assert segmenter.push(AudioBlock(audio((SPEECH, 100)), 7))[0].position == 7


def test_given_audio_is_a_copy():
    source = audio((SPEECH, 100))
    segmenter = Segmenter(LevelGate(), SHORT)
    (piece,) = segmenter.push(AudioBlock(source, 0))
    before = piece.samples.copy()
    source[:] = 0  # a ring buffer is written again
    assert np.array_equal(piece.samples, before)


def test_memory_does_not_grow_with_the_stream():
    segmenter = Segmenter(LevelGate())
    source = audio((SPEECH, 3_000), (QUIET, 1_000))

    def push(turns: int, start: int) -> int:
        for turn in range(turns):
            segmenter.push(AudioBlock(source, start + turn * len(source)))
        return start + turns * len(source)

    end = push(20, 0)
    tracemalloc.start()
    push(100, end)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 200_000


@pytest.mark.parametrize(
    "lengths",
    [
        {"hangover_ms": 0},
        {"pre_roll_ms": -1},
        {"min_speech_ms": 300},
        {"soft_ms": 29_500},
        {"max_segment_ms": 1_000, "soft_ms": 0, "min_segment_ms": 0},
    ],
)
def test_lengths_that_do_not_go_together_are_refused(lengths):
    with pytest.raises(ValueError, match=next(iter(lengths))):
        SegmenterConfig(**lengths)


@given(configs, st.sampled_from([160, 320, 480, 512]))
def test_every_frame_length_keeps_the_maximum_or_is_refused(config, frame_samples):
    class Gate(LevelGate):
        def is_speech(self, frame):
            return bool(np.abs(frame).max() > 0.01)

    gate = Gate()
    gate.frame_samples = frame_samples
    try:
        segmenter = Segmenter(gate, config)
    except ValueError:
        return
    source = audio((QUIET, 100), (SPEECH, 1_000), (QUIET, 300))
    given = joined(segmenter.push(AudioBlock(source, 0)) + segmenter.finish())
    assert max(len(samples) for _, samples in given.values()) <= config.max_segment_ms * 16


@pytest.mark.parametrize("frame_samples", [160, 320, 480, 512])
def test_lengths_are_those_of_the_settings_rounded_up_to_frames(frame_samples):
    class Gate(LevelGate):
        def is_speech(self, frame):
            return bool(np.abs(frame).max() > 0.01)

    gate = Gate()
    gate.frame_samples = frame_samples
    config = SegmenterConfig()
    segmenter = Segmenter(gate, config)
    source = audio((QUIET, 2_013), (SPEECH, 1_517), (QUIET, 2_000))
    ((begin, samples),) = joined(segmenter.push(AudioBlock(source, 0)) + segmenter.finish()).values()
    pre_roll, hangover = 16 * 2_013 - begin, begin + len(samples) - 16 * (2_013 + 1_517)
    assert 0 <= pre_roll - 16 * config.pre_roll_ms < 2 * frame_samples
    assert 0 <= hangover - 16 * config.hangover_ms < 2 * frame_samples


def test_it_is_quiet_until_speech_may_have_begun_and_again_when_its_segment_is_over():
    segmenter = Segmenter(LevelGate(), SHORT)
    assert segmenter.quiet
    told = []
    source = audio((QUIET, 300), (SPEECH, 300), (QUIET, 300))
    for block in blocks(source, list(range(0, len(source), FRAME))[1:]):
        segmenter.push(block)
        told.append(segmenter.quiet)
    assert all(told[:30])
    assert not any(told[30:60])
    assert told[-1]
