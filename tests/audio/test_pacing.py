import numpy as np
import pytest

from rtstream.audio.pacing import realtime
from rtstream.events import AudioBlock


class Time:
    """A clock that only sleeping, or the test, moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def blocks(*lengths: int, start: int = 0) -> list[AudioBlock]:
    positions = np.cumsum([start, *lengths])
    return [AudioBlock(np.zeros(n, np.float32), int(p)) for n, p in zip(lengths, positions, strict=False)]


def release_times(source, speed=1.0, work=0.0):
    time, times = Time(), []
    for block in realtime(source, speed, clock=time.clock, sleep=time.sleep):
        times.append(time.now - 1_000)
        time.now += work
        assert isinstance(block, AudioBlock)
    return times


def test_a_block_comes_when_its_last_sample_would_have_been_captured():
    assert release_times(blocks(1_600, 1_600, 800)) == pytest.approx([0.1, 0.2, 0.25])


def test_speed_divides_the_times():
    assert release_times(blocks(1_600, 1_600), speed=4) == pytest.approx([0.025, 0.05])


def test_a_source_that_begins_late_is_not_waited_for():
    assert release_times(blocks(1_600, 1_600, start=160_000)) == pytest.approx([0.1, 0.2])


def test_lost_audio_takes_its_time():
    source = [*blocks(1_600), *blocks(1_600, start=16_000)]
    assert release_times(source) == pytest.approx([0.1, 1.1])


def test_a_slow_consumer_gets_late_blocks_at_once_and_catches_up():
    times = release_times(blocks(1_600, 1_600, 160, 160, 16_000), work=0.15)
    assert times == pytest.approx([0.1, 0.25, 0.4, 0.55, 1.22])


def test_the_blocks_are_the_same():
    source = blocks(5, 7, 9)
    time = Time()
    assert list(realtime(source, clock=time.clock, sleep=time.sleep)) == source


def test_a_sleep_that_returns_early_is_repeated():
    time = Time()
    paced = realtime(blocks(1_600), clock=time.clock, sleep=lambda s: time.sleep(s / 2 if s > 0.001 else s))
    next(paced)
    assert time.now == pytest.approx(1_000.1)


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_speed_that_is_not_positive_is_refused_at_once(speed):
    with pytest.raises(ValueError, match="speed"):
        realtime([], speed)
