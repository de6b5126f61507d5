"""Many streams on few threads: same events, fair, bounded, and nothing lost unnoticed."""

import threading
import time

import numpy as np
import pytest

from rtstream.daemon.audio_queue import QUIET_SECONDS, AudioQueue
from rtstream.daemon.engine import Engine
from rtstream.daemon.segments import ChangeableSegmenter, VadSettings
from rtstream.engine.open import load_bundle
from rtstream.events import SAMPLE_RATE, AudioBlock, AudioLost, Fault, Final
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.vad.open_gates import open_gates
from rtstream.vad.segmenter import Segmenter, SegmenterConfig
from tests.audio.sound_server import until
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import needs_silero, read_clip

BLOCK = 320


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    bundle = load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")
    return Recognizer(bundle, RecognizerConfig(partials="ctc"))


@pytest.fixture(scope="module")
def speech():
    clips = []
    for name in ("cv-telephone.wav", "lj-high-wall.flac"):
        clips += [read_clip(DATA / name), np.zeros(SAMPLE_RATE, np.float32)]
    return np.concatenate(clips)


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.close()


def blocks(samples):
    return [AudioBlock(samples[at : at + BLOCK], at) for at in range(0, len(samples), BLOCK)]


def expected(recognizer, samples):
    pipeline = Pipeline(recognizer)
    return [e for block in blocks(samples) for e in pipeline.push(block)] + pipeline.finish()


class Slow:
    """A pipeline that takes a block only when it is let, and gives what it got."""

    quiet = False
    chunk_samples = BLOCK

    def __init__(self, *, fails_at=None):
        self.go = threading.Semaphore(0)
        self.taken = []
        self.fails_at = fails_at

    def push(self, block):
        self.go.acquire()
        if self.fails_at is not None and block.position >= self.fails_at:
            raise ZeroDivisionError("bad luck")
        self.taken.append(block)
        return []

    def prepare(self):
        pass

    def finish(self):
        return []


def test_streams_side_by_side_give_what_each_gives_alone(engine, recognizer, speech):
    streams = [speech, speech[::-1].copy(), speech[20_000:]]
    events = [[] for _ in streams]
    channels = [AudioQueue(engine, lambda: Pipeline(recognizer), given.append, seconds=3.0) for given in events]
    for channel, samples in zip(channels, streams, strict=True):
        threading.Thread(
            target=lambda c=channel, s=samples: [[c.put(block) for block in blocks(s)], c.end()], daemon=True
        ).start()
    for given, samples in zip(events, streams, strict=True):
        until(lambda g=given: g and g[-1] is None, "the end")
        assert given[:-1] == expected(recognizer, samples)
    assert any(isinstance(event, Final) for event in events[0])
    assert engine.load.samples == sum(map(len, streams))
    until(lambda: engine.idle, "idle")


def test_streams_get_their_turn_one_chunk_at_a_time(engine):
    order = []

    class Noting(Slow):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def push(self, block):
            super().push(block)
            order.append(self.name)
            return []

    pipelines = {name: Noting(name) for name in "abc"}
    channels = {
        name: AudioQueue(engine, lambda p=pipeline: p, lambda _: None, seconds=60.0)
        for name, pipeline in pipelines.items()
    }
    for name in "aaabcbccb":  # the first has much more than the others before they come
        channels[name].put(AudioBlock(np.zeros(BLOCK, np.float32), 0))
    for pipeline in pipelines.values():
        pipeline.go.release(100)
    until(lambda: len(order) == 9, "all done")
    assert order == list("abcabcabc")


class Preparing(Slow):
    """One that notes how many blocks it had when it was asked to prepare."""

    def __init__(self):
        super().__init__()
        self.prepared = []

    def prepare(self):
        self.prepared.append(len(self.taken))


def test_first_stream_goes_before_all_others_however_far_behind_it_is(engine):
    order = []
    began, gate = threading.Event(), threading.Event()

    class Told:
        quiet = False
        chunk_samples = BLOCK

        def __init__(self, name):
            self.name = name

        def push(self, _):
            began.set()
            gate.wait()
            order.append(self.name)
            return []

        def prepare(self):
            pass

        def finish(self):
            return []

    def channel(name, **more):
        return AudioQueue(engine, lambda: Told(name), lambda _: None, seconds=60, **more)

    greedy = [channel(f"client {number}") for number in range(4)]
    own = channel("own", first=True)
    greedy[0].offer(AudioBlock(np.zeros(BLOCK, np.float32), 0))
    began.wait()
    for number in range(20):
        for each in [*greedy, own]:
            each.offer(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
    gate.set()
    for each in [*greedy, own]:
        assert each.wait(60)
    assert order[0] == "client 0"  # it was being served before there was anything else
    assert order[1:21] == ["own"] * 20
    assert sorted(order[21:25]) == [f"client {number}" for number in range(4)]


@pytest.mark.parametrize("prepares", [True, False])
def test_finals_are_prepared_only_when_nothing_else_waits(prepares):
    engine = Engine(prepares=prepares)
    pipelines = [Preparing(), Preparing()]
    try:
        channels = [AudioQueue(engine, lambda p=pipeline: p, lambda _: None, seconds=60.0) for pipeline in pipelines]
        for count, channel in zip((4, 3), channels, strict=True):
            for number in range(count):
                channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
        for pipeline in pipelines:
            pipeline.go.release(10)
        assert all(channel.wait(300.0) for channel in channels)
        assert [len(pipeline.taken) for pipeline in pipelines] == [4, 3]
        # The last to be done is the longer stream's last block; until then something waited.
        assert pipelines[0].prepared == [4] * prepares
        assert pipelines[1].prepared == []
        channels[1].put(AudioBlock(np.zeros(BLOCK, np.float32), 3 * BLOCK))
        assert channels[1].wait(300.0)
        assert pipelines[1].prepared == [4] * prepares
    finally:
        engine.close()


def test_stream_whose_pipeline_cannot_be_made_anew_at_once_goes_on_when_it_can(engine):
    pipelines = [Slow(fails_at=0), MemoryError(), MemoryError(), Slow()]
    left, given = list(pipelines), []

    def make():
        made = left.pop(0)
        if isinstance(made, Exception):
            raise made
        made.go.release(10)
        return made

    channel = AudioQueue(engine, make, given.append, seconds=60.0)
    for number in range(4):
        channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
        assert channel.wait(300.0)
    assert [event.code for event in given] == ["RECOGNITION_FAILED"] * 2
    assert [block.position for block in pipelines[-1].taken] == [2 * BLOCK, 3 * BLOCK]


def test_thread_outlives_what_fails_where_nothing_may(engine):
    given = []

    def sink(event):
        given.append(event)
        raise MemoryError

    pipeline = Slow(fails_at=0)
    pipeline.go.release(10)
    channel = AudioQueue(engine, lambda: pipeline, sink, seconds=60.0)
    for number in range(2):
        channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
        assert channel.wait(300.0)
    assert [event.code for event in given] == ["RECOGNITION_FAILED"] * 2


def test_threads_that_hang_together_hold_the_end_up_no_longer_than_one(monkeypatch):
    waited = []

    def join(_, seconds):
        waited.append(seconds)
        time.sleep(seconds)

    engine = Engine(4)
    monkeypatch.setattr(threading.Thread, "join", join)
    engine.close(0.2)
    assert len(waited) == 4
    assert sum(waited) <= 0.2


def test_preparing_that_fails_is_a_fault(engine):
    class Failing(Slow):
        def prepare(self):
            raise ZeroDivisionError("bad luck")

    given, pipelines = [], [Failing(), Slow()]
    for pipeline in pipelines:
        pipeline.go.release(10)
    channel = AudioQueue(engine, iter(pipelines).__next__, given.append, seconds=1.0)
    for number in range(2):
        channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
        assert channel.wait(300.0)
    assert [event.code for event in given] == ["RECOGNITION_FAILED"]
    assert [len(pipeline.taken) for pipeline in pipelines] == [1, 1]


def test_recognition_that_is_behind_loses_audio_of_exactly_known_length(engine):
    slow = Slow()
    given = []
    channel = AudioQueue(engine, lambda: slow, given.append, seconds=1.0)
    total = 200
    for number in range(total):
        channel.put_live(AudioBlock(np.full(BLOCK, number, np.float32), number * BLOCK))
        assert channel.waiting_seconds <= 1.0
        if number % 4 == 0:
            slow.go.release()
            until(lambda n=number: len(slow.taken) >= n // 4, "a step")
    channel.flush()
    slow.go.release(total)
    assert channel.wait(300.0)
    lost = [event for event in given if isinstance(event, AudioLost)]
    assert lost
    assert {event.reason for event in lost} == {"behind"}
    assert sum(len(block.samples) for block in slow.taken) + sum(event.samples for event in lost) == total * BLOCK
    assert channel.lost_samples == sum(event.samples for event in lost)
    spans = [(e.position, e.samples) for e in lost] + [(b.position, len(b.samples)) for b in slow.taken]
    at = 0
    for position, length in sorted(spans):  # every sample is recognised or told to be lost, once
        assert position == at
        at += length
    # Not many little holes: between two losses at least half of the room was used.
    assert len(lost) <= total * BLOCK / (SAMPLE_RATE // 2)


def test_loss_is_told_between_the_finals_around_it(engine, recognizer, speech):
    given = []
    channel = AudioQueue(engine, lambda: Pipeline(recognizer), given.append, seconds=60.0)
    half = 2 * SAMPLE_RATE
    for block in blocks(speech[:half]):
        channel.put(block)
    channel.note(AudioLost(half, 48_000, "device"))
    for block in blocks(speech):
        channel.put(AudioBlock(block.samples, half + 48_000 + block.position))
    channel.end()
    until(lambda: given and given[-1] is None, "the end")
    at = next(n for n, event in enumerate(given) if isinstance(event, AudioLost))
    assert [event for event in given[:at] if isinstance(event, Final)]
    assert all(event.end <= half for event in given[:at])
    assert all(event.start >= half + 48_000 for event in given[at + 1 : -1])


def test_who_may_wait_waits_and_loses_nothing(engine, recognizer, speech):
    given = []
    channel = AudioQueue(engine, lambda: Pipeline(recognizer), given.append, seconds=0.1)
    for block in blocks(speech):
        channel.put(block)
    channel.end()
    until(lambda: given and given[-1] is None, "the end")
    assert given[:-1] == expected(recognizer, speech)


def test_stream_whose_events_nobody_takes_stops_and_costs_nobody_else(engine, recognizer, speech):
    held = True
    stopped, going = [], []
    first = AudioQueue(engine, lambda: Pipeline(recognizer), stopped.append, seconds=1.0, held=lambda: held)
    second = AudioQueue(engine, lambda: Pipeline(recognizer), going.append, seconds=60.0)
    for block in blocks(np.zeros(SAMPLE_RATE, np.float32)):
        assert first.offer(block)
    assert not first.offer(AudioBlock(np.zeros(BLOCK, np.float32), SAMPLE_RATE))
    for block in blocks(speech):
        second.put(block)
    second.end()
    until(lambda: going and going[-1] is None, "the other's end")
    assert first.waiting_seconds > 0.9
    held = False
    first.wake()
    until(lambda: not first.waiting_seconds, "going on")


def test_failing_recognition_is_a_fault_and_the_stream_goes_on(engine):
    pipelines = [Slow(fails_at=BLOCK), Slow()]
    for pipeline in pipelines:
        pipeline.go.release(100)
    made = iter(pipelines)
    given = []
    channel = AudioQueue(engine, lambda: next(made), given.append, seconds=60.0)
    for number in range(4):
        channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
    assert channel.wait(300.0)
    assert [block.position // BLOCK for block in pipelines[0].taken] == [0]
    assert [block.position // BLOCK for block in pipelines[1].taken] == [2, 3]
    (fault,) = given
    assert isinstance(fault, Fault)
    assert fault.code == "RECOGNITION_FAILED"
    assert "bad luck" in fault.message


def test_cut_gives_up_what_waits_but_not_the_end(engine):
    slow = Slow()
    given = []
    channel = AudioQueue(engine, lambda: slow, given.append, seconds=60.0)
    for number in range(10):
        channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
    channel.end()
    until(lambda: channel.waiting_seconds == 9 * BLOCK / SAMPLE_RATE, "first block taken")
    channel.cut()
    slow.go.release(100)
    until(lambda: given and given[-1] is None, "the end")
    assert given == [AudioLost(BLOCK, 9 * BLOCK, "behind"), None]


def test_closed_stream_lets_go_of_who_waits(engine):
    slow = Slow()
    channel = AudioQueue(engine, lambda: slow, lambda _: None, seconds=0.02)
    done = threading.Event()

    def fill():
        for number in range(50):
            channel.put(AudioBlock(np.zeros(BLOCK, np.float32), number * BLOCK))
        done.set()

    threading.Thread(target=fill, daemon=True).start()
    until(lambda: channel.waiting_seconds > 0, "full")
    channel.close()
    assert done.wait(300.0)
    slow.go.release(100)


def test_new_settings_begin_with_the_next_segment_and_numbers_go_on(speech):
    def cut(change_at):
        segmenter = ChangeableSegmenter(VadSettings())
        given = []
        for block in blocks(speech):
            if block.position == change_at:
                segmenter.change(VadSettings(segmenter=SegmenterConfig(max_segment_ms=2_500, soft_ms=500)))
            given += segmenter.push(block)
        given += segmenter.finish()
        lengths = {}
        for audio in given:
            lengths[audio.segment] = lengths.get(audio.segment, 0) + len(audio.samples)
        assert sorted(lengths) == list(range(len(lengths)))
        return lengths

    before = cut(None)
    opened = BLOCK * 60  # in the middle of the first segment
    after = cut(opened)
    assert after[0] == before[0] > 2.5 * SAMPLE_RATE
    assert len(after) > len(before)
    assert max(length for number, length in after.items() if number) <= 2.5 * SAMPLE_RATE


@needs_silero
def test_another_gate_begins_with_the_next_segment(speech):
    silero = VadSettings(open_gates("silero"))
    segmenter = ChangeableSegmenter(VadSettings())
    given, rest = [], []
    for block in blocks(speech):
        if rest or (given and given[-1].last):  # behind the segment that was open
            rest.append(block)
        given += segmenter.push(block)
        if given and not rest:
            segmenter.change(silero)
    given += segmenter.finish()
    alone = Segmenter(silero.new_gate(), silero.segmenter)
    expected = [audio for block in rest for audio in alone.push(block)] + alone.finish()
    assert expected
    assert [(a.segment, a.position, a.last) for a in given if a.segment] == [
        (1 + a.segment, a.position, a.last) for a in expected
    ]


def test_while_nobody_speaks_audio_gathers_and_is_not_lost(engine):
    class Quiet(Slow):
        quiet = True
        chunk_samples = 10_240

    pipeline = Quiet()
    channel = AudioQueue(engine, lambda: pipeline, lambda _: None, seconds=1.0)
    for _ in range(100):
        pipeline.go.release()
    audio = blocks(np.zeros(SAMPLE_RATE, np.float32))
    for block in audio:
        channel.put(block)  # more than there is room for, if the last few were to wait for others
    channel.flush()
    assert channel.wait(60)
    taken = pipeline.taken
    assert sum(len(block.samples) for block in taken) == SAMPLE_RATE
    assert [block.position for block in taken[1:]] == [block.position + len(block.samples) for block in taken[:-1]]
    # The first is taken as it comes; from then on it is known that nobody speaks.
    assert all(len(block.samples) >= QUIET_SECONDS * SAMPLE_RATE for block in taken[2:-1])
    assert channel.quiet
