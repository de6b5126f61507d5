"""The ring between the callback and the reader: nothing is lost unnoticed."""

import select
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtstream.audio.ring import Ring


def numbered(start, count):
    return np.arange(start, start + count, dtype="<i4").tobytes()


def test_frames_come_out_as_they_went_in():
    ring = Ring(10, 4)
    got = []
    for start in range(0, 70, 7):
        ring.write(numbered(start, 7))
        while run := ring.read(4):
            assert run.position == len(got)
            assert run.lost == 0
            got += np.frombuffer(run.data, "<i4").tolist()
    assert got == list(range(70))
    assert ring.lost == 0


def test_what_does_not_fit_is_counted_and_leaves_a_gap_of_its_length():
    ring = Ring(10, 4)
    ring.write(numbered(0, 8))
    ring.write(numbered(8, 5))  # no room
    ring.write(numbered(13, 2))  # there is room for these, but the gap must not be followed by another at once
    assert ring.lost == 7
    assert ring.read(100) == (0, numbered(0, 8), 0)
    assert ring.read(100) is None
    ring.write(numbered(15, 3))
    assert ring.read(100) == (15, numbered(15, 3), 7)


def test_frames_that_the_device_lost_are_a_gap_too():
    ring = Ring(10, 4)
    ring.write(numbered(0, 2))
    ring.lose(5)
    ring.write(numbered(7, 2))
    assert ring.read(100) == (0, numbered(0, 2), 0)
    assert ring.read(100) == (7, numbered(7, 2), 5)


def test_descriptor_is_readable_while_there_is_something():
    ring = Ring(10, 4)
    poll = select.poll()
    poll.register(ring, select.POLLIN)
    assert not poll.poll(0)
    ring.write(numbered(0, 5))
    assert poll.poll(0)
    ring.read(2)
    assert poll.poll(0)
    ring.read(100)
    assert not poll.poll(0)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(1, 20))))
def test_every_frame_is_either_read_at_its_place_or_counted_as_lost(steps):
    ring = Ring(16, 4)
    written = read = lost = 0

    def drain(times, most):
        nonlocal read, lost
        for _ in range(times):
            run = ring.read(most)
            if run is None:
                return
            values = np.frombuffer(run.data, "<i4")
            assert run.position == values[0]
            assert (np.diff(values) == 1).all()
            read += len(values)
            lost += run.lost

    for frames, reads, most in steps:
        ring.write(numbered(written, frames))
        written += frames
        drain(reads, most)
    drain(1_000, 100)
    assert read + ring.lost == written
    assert lost <= ring.lost


def test_two_threads_may_use_the_two_ends():
    ring = Ring(64, 4)
    total = 20_000

    def produce():
        for start in range(0, total, 8):
            ring.write(numbered(start, 8))

    thread = threading.Thread(target=produce)
    thread.start()
    got = 0
    while thread.is_alive() or got + ring.lost < total:
        run = ring.read(16)
        if run:
            values = np.frombuffer(run.data, "<i4")
            assert (values == np.arange(run.position, run.position + len(values))).all()
            got += len(values)
    thread.join()
    assert got + ring.lost == total
