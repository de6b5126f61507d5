"""From the source to recognition and to whoever wants to know how the device is."""

import threading

import numpy as np
import pytest

from rtstream.daemon.audio_clock import AudioClock
from rtstream.daemon.faults import Faults
from rtstream.daemon.listener import Listener
from rtstream.daemon.load_meter import LoadMeter
from rtstream.daemon.reload import changes
from rtstream.daemon.watchdog import Progress
from rtstream.events import AudioBlock, AudioLost, DeviceState, Fault
from tests.audio.sound_server import until


class Given:
    """A source of given items, which may fail at the end."""

    def __init__(self, *items, live=True, fails=None):
        self.items = items
        self.live = live
        self.fails = fails
        self.signs = 0
        self.idle = False
        self.quiet = False

    def __iter__(self):
        yield from self.items
        if self.fails:
            raise self.fails

    def close(self):
        pass


class Noted:
    """A channel that notes what it is given."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def listen(*items, **options):
    channel, published = Noted(), []
    listener = Listener(Given(*items, **options), channel, published.append, AudioClock(0))
    listener.start()
    listener._thread.join()
    return listener, channel.calls, published


BLOCK = AudioBlock(np.zeros(320, np.float32), 0)
LOST = AudioLost(320, 100, "overflow")
AWAY = DeviceState("desk", "lost", "unplugged")


def test_audio_and_gaps_go_on_in_order_and_are_counted():
    listener, calls, published = listen(BLOCK, LOST, BLOCK)
    assert calls == [("put_live", BLOCK), ("note", LOST), ("put_live", BLOCK), ("flush",)]
    assert published == []
    assert listener.samples == 640
    assert listener.lost == {"overflow": 100, "device": 0}
    assert listener.audio_age is not None


def test_source_that_can_wait_is_waited_for():
    _, calls, _ = listen(BLOCK, live=False)
    assert calls[0] == ("put", BLOCK)


@pytest.mark.parametrize("state", ["lost", "stalled", "ended"])
def test_open_segment_ends_when_the_device_does(state):
    away = DeviceState("desk", state)
    listener, calls, published = listen(BLOCK, away)
    assert calls[:2] == [("put_live", BLOCK), ("flush",)]
    assert published == [away]
    assert listener.device == away


def test_pause_of_who_delivers_ends_the_open_segment_alone():
    paused = DeviceState("pcm", "paused")
    _, calls, published = listen(BLOCK, paused, BLOCK, live=False)
    assert calls == [("put", BLOCK), ("pause",), ("put", BLOCK), ("flush",)]
    assert published == [paused]


def test_source_that_fails_in_an_unforeseen_way_is_a_fault_and_ends_the_segment():
    listener, calls, published = listen(DeviceState("desk", "capturing"), BLOCK, fails=ZeroDivisionError("bad luck"))
    assert calls[-1] == ("flush",)
    assert [type(event) for event in published] == [DeviceState, Fault, DeviceState]
    assert published[1].code == "SOURCE_FAILED"
    assert listener.device.state == "lost"


def test_source_that_cannot_be_ended_does_not_hold_up_the_end():
    class Hanging(Given):
        def __iter__(self):
            threading.Event().wait()
            yield BLOCK

    channel = Noted()
    listener = Listener(Hanging(), channel, lambda _: None, AudioClock(0))
    listener.start()
    listener.close(0.1)
    until(lambda: ("flush",) in channel.calls, "flushed")


class Busy:
    """What of an engine matters here."""

    def __init__(self):
        self.load = LoadMeter()
        self.idle = True


def test_progress_is_audio_that_comes_and_work_that_is_done():
    source, engine = Given(), Busy()
    progress = Progress(source, engine)
    assert not progress.made()  # audio was to come, and did not
    source.signs += 1
    assert progress.made()
    assert not progress.made()
    source.signs += 1
    engine.idle = False  # a chunk that is computed for ever
    assert not progress.made()
    engine.load.add(320, 0.1, None)
    assert progress.made()
    engine.idle = True
    source.idle = True  # a file that has ended
    assert progress.made()
    assert progress.made()


def test_recognition_whose_results_nobody_hands_out_is_no_progress():
    source, alive = Given(), [True]
    progress = Progress(source, Busy(), lambda: alive[0])
    source.idle = True
    assert progress.made()
    alive[0] = False
    assert not progress.made()


def test_progress_that_is_only_seen_later_still_counts():
    source, engine = Given(), Busy()
    progress = Progress(source, engine)
    engine.idle = False
    source.signs += 1
    assert not progress.made()
    engine.load.add(320, 0.1, None)  # no further audio, but this and that since the last success
    assert progress.made()


def test_same_fault_again_is_no_news_and_recovery_ends_it():
    faults = Faults()
    full = Fault("DISK_FULL", "no space")
    assert faults.note(full)
    assert not faults.note(full)
    assert faults.active == (full,)
    assert faults.note(Fault("DISK_FULL", "again", recovered=True))
    assert faults.active == ()
    assert not faults.note(Fault("DISK_FULL", "never was", recovered=True))
    assert faults.note(Fault("RECOGNITION_FAILED", "a segment"))
    assert faults.active == ()  # over when it is told
    assert faults.count == 2


def test_real_time_factor_is_of_the_last_minute():
    load = LoadMeter()
    assert load.real_time_factor is None
    for _ in range(1_000):
        load.add(16_000, 0.9, None)
    for _ in range(1_000):
        load.add(16_000, 0.3, None)
    assert load.real_time_factor == pytest.approx(0.3, abs=0.01)
    assert load.samples == 2_000 * 16_000
    assert load.steps == 2_000


def test_what_can_be_reloaded_is_told_apart():
    from rtstream.config import Config, load

    publish = {"queue_size": 9, "store_max_megabytes": 2}
    recognition = {"phrases": ["Grafana"], "words": True}
    new = load(
        None,
        {"vad": {"aggressiveness": 2}, "audio": {"source": "-"}, "publish": publish, "recognition": recognition},
    )
    assert changes(Config(), new) == (
        ["vad.aggressiveness", "recognition.phrases", "publish.store_max_megabytes"],
        ["audio.source", "recognition.words", "publish.queue_size"],
    )
