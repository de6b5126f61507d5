"""Finals of several runs, in order and without overlap, whatever the clock did."""

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import SAMPLE_RATE, Final, Word
from rtstream.formats.timeline import Timeline

NOW = 1_796_019_757.25  # 2026-11-30 06:22:37.25 UTC
DAY = 86_400.0


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    """Local time is one hour ahead of UTC, and never two."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def said(segment, start, at=None, length=2.0, text="words"):
    first, last = round(start * SAMPLE_RATE), round((start + length) * SAMPLE_RATE)
    return Final(segment, first, last, text, (Word(text, first + 160, last, 0.5),), time=at)


def starts(finals, **options):
    timeline = Timeline(**options)
    return [timeline.place(final).start / SAMPLE_RATE for final in finals]


def test_time_counts_from_the_first_final_over_all_runs():
    finals = [
        said(7, 100, NOW),
        said(8, 110, NOW + 10),
        said(0, 3, NOW + 500),  # another run
        said(0, 3, NOW + 900),
        said(12, 5000, NOW + 2 * DAY),
    ]
    assert starts(finals) == [0, 10, 500, 900, 2 * DAY]


def test_clock_gives_times_of_day_and_hours_go_on_behind_midnight():
    finals = [said(7, 100, NOW), said(8, 110, NOW + 10), said(0, 3, NOW + DAY)]
    morning = 7 * 3600 + 22 * 60 + 37.25
    assert starts(finals, clock=True) == [morning, morning + 10, morning + DAY]


def test_words_move_with_their_final():
    final = said(3, 10, NOW)
    moved = Timeline().place(final)
    assert moved == replace(final, start=0, end=32_000, words=(Word("words", 160, 32_000, 0.5),))


@pytest.mark.parametrize("clock", [False, True])
def test_clock_that_is_set_for_the_first_time_makes_no_pause_of_decades(clock):
    finals = [said(0, 10, 30.0), said(1, 20, 40.0), said(2, 30, NOW), said(3, 40, NOW + 10)]
    first, second, third, fourth = starts(finals, clock=clock)
    assert (second - first, fourth - third) == (10, 10)
    assert third - second == 10 if not clock else third == 7 * 3600 + 22 * 60 + 37.25


@pytest.mark.parametrize("clock", [False, True])
def test_clock_that_is_set_back_makes_no_time_run_backwards(clock):
    finals = [said(0, 10, NOW), said(1, 20, NOW - 3590), said(2, 30, NOW - 3580), said(0, 1, NOW - 7000)]
    placed = starts(finals, clock=clock)
    assert [b - a for a, b in pairwise(placed)] == [10, 10, 2]


def test_finals_without_a_time_keep_their_offsets_and_another_run_follows_at_once():
    assert starts([said(4, 50), said(5, 60), said(0, 3), said(1, 10, NOW)]) == [0, 10, 12, 19]


times = st.none() | st.floats(0, 4e9)


@given(st.lists(st.builds(said, st.integers(0, 5), st.floats(0, 1e5), times), min_size=1, max_size=8), st.booleans())
def test_whatever_the_finals_they_are_in_order_and_keep_their_lengths(finals, clock):
    timeline = Timeline(clock=clock)
    placed = [timeline.place(final) for final in finals]
    assert all(before.end <= after.start for before, after in pairwise(placed))
    assert [final.end - final.start for final in placed] == [final.end - final.start for final in finals]
