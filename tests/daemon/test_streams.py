"""Clients' own audio: same events, held back, bounded, and let go of."""

import asyncio

import numpy as np
import pytest

from rtstream.daemon.engine import Engine
from rtstream.daemon.segments import VadSettings
from rtstream.daemon.speech import SpeechTeller
from rtstream.daemon.streams import PIECE, WAITING_EVENTS, WAITING_SECONDS, ClientStream
from rtstream.engine.open import load_bundle
from rtstream.errors import ConfigError
from rtstream.events import SAMPLE_RATE, AudioBlock, Final, Flushed, Partial, SegmentAudio, Speech
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from tests.audio.sound_server import until
from tests.recognizer.tiny_bundle import DATA
from tests.vad.recordings import read_clip


@pytest.fixture(scope="module")
def recognizer(bundle):
    return Recognizer(load_bundle(bundle, "float"), RecognizerConfig(partials="ctc"))


@pytest.fixture(scope="module")
def speech():
    return read_clip(DATA / "cv-telephone.wav")


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.close()


class Talkative:
    """A pipeline that has something to say about every block, at once."""

    quiet = False
    chunk_samples = 320

    def __init__(self):
        self.blocks = 0

    def push(self, block):
        self.blocks += 1
        return [Partial(0, 0, block.position, f"{self.blocks}")]

    def prepare(self):
        pass

    def pause(self):
        return []

    def finish(self):
        return [Final(0, 0, 1, "end")]


def run(test):
    asyncio.run(asyncio.wait_for(test, 120))


def test_events_are_those_of_the_audio_alone_however_it_comes(engine, recognizer, speech):
    pipeline = Pipeline(recognizer)
    expected = pipeline.push(AudioBlock(speech, 0)) + pipeline.finish()
    assert any(isinstance(event, Final) for event in expected)

    async def client(sizes):
        stream = ClientStream(engine, lambda: Pipeline(recognizer), lambda: None)

        async def send():
            at = turn = 0
            while at < len(speech):
                await stream.push(speech[at : at + sizes[turn % len(sizes)]])
                at += sizes[turn % len(sizes)]
                turn += 1
            await stream.finish()

        sending = asyncio.create_task(send())
        events = [event async for event in stream]
        await sending
        await stream.close()
        return events

    async def test():
        for events in await asyncio.gather(client([10**6]), client([160, 7_000, 1]), client([3 * PIECE + 1])):
            assert events == expected

    run(test())


def test_flush_closes_the_segment_and_the_audio_goes_on(engine, recognizer, speech):
    async def test():
        stream = ClientStream(engine, lambda: Pipeline(recognizer), lambda: None)
        half = 2 * SAMPLE_RATE
        await stream.push(speech[:half])
        await stream.flush()
        await stream.push(speech[half:])
        await stream.flush()
        await stream.finish()
        events = [event async for event in stream]
        await stream.close()
        first, second = (event for event in events if isinstance(event, Final))
        assert first.end == half <= second.start
        kept = [event for event in events if not isinstance(event, Partial)]
        assert kept == [first, Flushed(), second, Flushed()]

    run(test())


def test_pause_gives_the_final_and_what_follows_follows_without_a_gap(engine, recognizer, speech):
    pipeline = Pipeline(recognizer)
    expected = pipeline.push(AudioBlock(speech, 0)) + pipeline.pause()
    expected += pipeline.push(AudioBlock(speech, len(speech))) + pipeline.finish()

    async def test():
        stream = ClientStream(engine, lambda: Pipeline(recognizer), lambda: None)
        events = aiter(stream)
        await stream.push(speech)
        await stream.pause()
        given = [await anext(events)]
        while not isinstance(given[-1], Final):
            given.append(await anext(events))
        await stream.push(speech)
        await stream.finish()
        given += [event async for event in events]
        assert given == expected

    run(test())


def test_client_that_asks_for_flushes_without_end_is_held_back(engine):
    async def test():
        stream = ClientStream(engine, Talkative, lambda: None)

        async def ask():
            for _ in range(10 * WAITING_EVENTS):
                await stream.flush()
            await stream.finish()

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0.1)
        assert len(stream._channel._waiting) + len(stream._events) <= 2 * WAITING_EVENTS
        assert not asking.done()
        assert sum([isinstance(event, Flushed) async for event in stream]) == 10 * WAITING_EVENTS
        await stream.close()

    run(test())


def test_speech_starts_before_its_first_partial_and_ends_before_its_final(engine, recognizer, speech):
    async def test():
        def make_pipeline():
            return Pipeline(recognizer, tell_audio=lambda audio: teller.hear(audio))  # noqa: PLW0108 - it is made later

        stream = ClientStream(engine, make_pipeline, lambda: None)
        teller = SpeechTeller(stream.tell)
        await stream.push(np.concatenate([speech, np.zeros(SAMPLE_RATE, np.float32)]))
        await stream.finish()
        events = [event async for event in stream]
        await stream.close()
        final = next(event for event in events if isinstance(event, Final))
        started, ended = (event for event in events if isinstance(event, Speech))
        assert (started.state, started.segment, started.position) == ("started", final.segment, final.start)
        assert (ended.state, ended.segment) == ("ended", final.segment)
        assert final.start < ended.position < final.end
        assert events.index(started) == 0
        assert events.index(ended) < events.index(final)
        assert all(event.time is not None for event in events)

    run(test())


def test_speech_that_cannot_be_recognised_ends():
    told = []
    teller = SpeechTeller(told.append)
    teller.abandon()
    teller.hear(SegmentAudio(4, 1000, np.zeros(320, np.float32), last=False))
    teller.hear(SegmentAudio(4, 1320, np.zeros(320, np.float32), last=False))
    teller.abandon()
    teller.hear(SegmentAudio(5, 2000, np.zeros(320, np.float32), last=True, silence=100))
    teller.abandon()
    assert told == [
        Speech(4, 1000, "started"),
        Speech(4, 1640, "ended"),
        Speech(5, 2000, "started"),
        Speech(5, 2220, "ended"),
    ]


def test_shorter_silence_ends_segments_sooner_and_an_impossible_one_is_refused():
    settings = VadSettings()
    assert settings.with_silence(None) == settings
    assert settings.with_silence(300).segmenter.hangover_ms == 300
    with pytest.raises(ConfigError, match="silence_ms: 20000 is not possible here"):
        settings.with_silence(20_000)


def test_client_that_is_faster_than_recognition_is_held_back(engine):
    async def test():
        pipeline = Talkative()
        stream = ClientStream(engine, lambda: pipeline, lambda: None)
        # Nobody reads: after so many events recognition leaves the stream alone, then pushing waits.
        sending = asyncio.create_task(stream.push(np.zeros(SAMPLE_RATE * 200, np.float32)))
        await asyncio.to_thread(until, lambda: stream._channel.waiting_seconds >= WAITING_SECONDS, "full")
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert stream._channel.waiting_seconds <= WAITING_SECONDS
            assert len(stream._events) <= WAITING_EVENTS
        assert not sending.done()
        seen = 0
        async for _ in stream:
            seen += 1
            if seen == 3 * WAITING_EVENTS:
                break
        await stream.close()
        await sending

    run(test())


def test_closing_lets_go_of_who_waits_and_is_told_once(engine):
    async def test():
        closed = []
        stream = ClientStream(engine, Talkative, lambda: closed.append(True))
        reading = asyncio.create_task(anext(aiter(stream), None))
        await asyncio.sleep(0.05)
        await stream.close()
        await stream.close()
        assert await reading is None
        assert closed == [True]
        await stream.push(np.zeros(10 * SAMPLE_RATE, np.float32))  # goes nowhere, and does not wait

    run(test())


def test_streams_that_come_and_go_leave_nothing_behind(engine):
    async def test():
        for _ in range(300):
            stream = ClientStream(engine, Talkative, lambda: None)
            await stream.push(np.zeros(320, np.float32))
            await stream.close()
        await asyncio.to_thread(until, lambda: engine.idle, "idle")
        assert not engine._turn
        assert not engine._running

    run(test())
