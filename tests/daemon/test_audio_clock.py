"""The time of day of what was heard: near the truth, the same whenever it is asked for, and never moved afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.daemon.audio_clock import REMEMBERED_SECONDS, STEP_SECONDS, AudioClock
from rtstream.events import SAMPLE_RATE, AudioLost, DeviceState, Fault, Final, Partial

NOW = 1_800_000_000.0
BLOCK = 320
BLOCK_SECONDS = BLOCK / SAMPLE_RATE


class Room:
    """A source of blocks of 20 ms, and clocks that the test turns."""

    def __init__(self, wall=NOW, waiting=0.0):
        self.wall, self.steady, self.position = wall, 1000.0, 0
        self.clock = AudioClock(waiting, wall=lambda: self.wall, steady=lambda: self.steady)

    def passes(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def hears(self, seconds, *, late=0.0, speed=1.0):
        """Audio of so many seconds comes, block by block, each ``late`` on its way."""
        for _ in range(round(seconds / BLOCK_SECONDS)):
            self.passes(BLOCK_SECONDS / speed)
            self.wall, self.steady = self.wall + late, self.steady + late
            self.clock.note(self.position, BLOCK)
            self.wall, self.steady = self.wall - late, self.steady - late
            self.position += BLOCK


def test_time_of_a_sample_is_when_it_was_heard():
    room = Room()
    room.hears(10)
    for second in (0, 3, 9.5):
        assert room.clock.at(round(second * SAMPLE_RATE)) == pytest.approx(NOW + second, abs=0.001)


@given(st.lists(st.floats(0, 0.5), min_size=50, max_size=100))
def test_blocks_that_are_late_do_not_move_what_is_said_in_them(delays):
    room = Room()
    room.hears(1)
    for delay in delays:
        room.hears(BLOCK_SECONDS, late=delay)
    for second in range(1 + len(delays) // 50):
        assert room.clock.at(second * SAMPLE_RATE) == pytest.approx(NOW + second, abs=0.02)


@pytest.mark.parametrize("jump", [-3 * 365 * 86_400.0, -3600.0, -0.5, 0.5, 3600.0, 56 * 365 * 86_400.0])
def test_clock_that_is_set_moves_only_what_comes_after(jump):
    room = Room()
    room.hears(10)
    before = [room.clock.at(second * SAMPLE_RATE) for second in range(10)]
    room.wall += jump
    room.hears(10)
    assert [room.clock.at(second * SAMPLE_RATE) for second in range(10)] == before
    assert before == pytest.approx([NOW + second for second in range(10)], abs=0.001)
    for second in range(10, 20):
        assert room.clock.at(second * SAMPLE_RATE) == pytest.approx(NOW + jump + second, abs=0.02)


def test_source_that_pauses_goes_on_at_the_time_of_day():
    room = Room()
    room.hears(5)
    room.passes(600)
    room.hears(5)
    assert room.clock.at(4 * SAMPLE_RATE) == pytest.approx(NOW + 4, abs=0.001)
    assert room.clock.at(6 * SAMPLE_RATE) == pytest.approx(NOW + 606, abs=0.001)


@pytest.mark.parametrize("speed", [0.9995, 1.0005, 50.0])
def test_source_that_is_slower_or_faster_than_the_clock_is_followed(speed):
    room = Room(waiting=1e6)
    room.hears(600, speed=speed)
    for second in (100, 300, 599):
        assert room.clock.at(second * SAMPLE_RATE) == pytest.approx(NOW + second / speed, abs=0.03)


def test_memory_is_bounded_however_fast_the_audio_comes():
    room = Room()
    room.hears(3 * REMEMBERED_SECONDS, speed=20.0)
    assert len(room.clock._marks) <= REMEMBERED_SECONDS / BLOCK_SECONDS + 2
    assert room.clock.at(0) < room.clock.at(room.position)  # an answer, if not the true one


def test_events_have_the_time_at_which_they_were_heard_or_happened():
    room = Room()
    room.hears(10)
    clock = room.clock
    for event in (Partial(0, 2 * SAMPLE_RATE, 3 * SAMPLE_RATE, "a"), Final(0, 2 * SAMPLE_RATE, 3 * SAMPLE_RATE, "a b")):
        assert clock.timed(event).time == clock.at(2 * SAMPLE_RATE)
    assert clock.timed(AudioLost(4 * SAMPLE_RATE, 100, "behind")).time == clock.at(4 * SAMPLE_RATE)
    lost = clock.timed(DeviceState("desk", "lost"))
    assert lost.time == clock.now() == pytest.approx(NOW + 10, abs=STEP_SECONDS)
    room.passes(5)
    assert clock.timed(lost).time == lost.time
    assert clock.timed(Fault("X", "y")).time == clock.now()
