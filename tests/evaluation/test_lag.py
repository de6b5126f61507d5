"""Lags of words that were published, and their plot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.errors import TrainingError
from rtstream.evaluation.lag import LagPoint, TimedEvent, WordLag, lag_figures, word_lags
from rtstream.evaluation.lag_plot import draw_lags
from rtstream.events import SAMPLE_RATE, Final, Partial, Word

SECOND = SAMPLE_RATE


def partial(seconds, text, segment=0):
    return TimedEvent(round(seconds * SECOND), Partial(segment, 0, round(seconds * SECOND), text))


def final(seconds, text, segment=0, *, timed=True):
    """A final of which word n, counted from 1, ends at n seconds."""
    words = tuple(
        Word(word, SECOND * place, SECOND * (place + 1), 0.0 if word.isdigit() else 0.5)
        for place, word in enumerate(text.split())
    )
    return TimedEvent(round(seconds * SECOND), Final(segment, 0, round(seconds * SECOND), text, words if timed else ()))


def seconds(lags):
    return [(lag.ms / 1000, lag.early) for lag in lags]


def test_word_is_as_late_as_the_first_partial_that_has_it():
    lags = word_lags([partial(1.5, "so"), partial(2.5, "so it"), partial(3.5, "so it goes"), final(4, "so it goes")])
    assert seconds(lags) == [(0.5, True)] * 3


def test_words_that_partials_lacked_or_had_otherwise_come_with_the_final():
    lags = word_lags([partial(1.5, "so"), partial(2.5, "so hit"), final(5, "so it goes")])
    assert seconds(lags) == [(0.5, True), (3.0, False), (2.0, False)]


def test_word_that_the_final_put_before_others_moves_none_of_them():
    lags = word_lags([partial(1.5, "it"), partial(3.25, "it goes"), final(5, "so it goes")])
    assert seconds(lags) == [(4.0, False), (-0.5, True), (0.25, True)]


def test_case_and_marks_make_no_other_word():
    lags = word_lags(
        [partial(1.5, "so"), partial(2.5, "so, it"), partial(3.5, "so, it - isn't"), final(5, "So it Isn't.")]
    )
    assert seconds(lags) == [(0.5, True)] * 3


def test_words_without_a_time_do_not_count():
    assert seconds(word_lags([final(4, "so 7 goes")])) == [(3.0, False), (1.0, False)]
    assert word_lags([partial(1, "so"), final(2, "so", timed=False)]) == []


def test_each_segment_has_its_own_partials():
    lags = word_lags([partial(1.5, "so"), final(2, "so"), partial(4, "well so", 1), final(5, "so", 1)])
    assert seconds(lags) == [(0.5, True), (3.0, True)]


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=3), max_size=6),
    st.lists(st.sampled_from("abcd"), min_size=1),
)
def test_every_word_has_one_lag_and_none_is_later_than_the_final(added, text):
    grown, published = [], []
    for number, more in enumerate(added, start=1):
        grown += more
        published.append(partial(number, " ".join(grown)))
    end = len(added) + 1
    lags = word_lags([*published, final(end, " ".join(text))])
    assert len(lags) == len(text)
    for place, lag in enumerate(lags, start=1):
        assert lag.ms <= 1000 * (end - place)
        assert lag.early or lag.ms == 1000 * (end - place)
    assert sum(lag.early for lag in lags) <= len(grown)


def test_figures_are_of_all_words_and_of_early_ones():
    lags = [WordLag(float(ms), early=ms < 1000) for ms in range(0, 1100, 100)]
    found = lag_figures(lags)
    assert (found["words"], found["mean"], found["p90"]) == (11, 500, 900)
    assert found["early"] == {"words": 10, "mean": 450, "p90": 810}
    assert lag_figures(lags[-1:])["early"] is None
    assert lag_figures([]) is None


def test_curves_are_drawn(tmp_path):
    target = tmp_path / "lag.png"
    draw_lags([LagPoint(name, "400", 700.0, 9.0) for name in ("dev-cv", "dev-lj")], target)
    assert target.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [target]


def test_no_point_is_told_and_nothing_drawn(tmp_path):
    with pytest.raises(TrainingError, match="nothing to draw"):
        draw_lags([], tmp_path / "lag.png")
    assert not list(tmp_path.iterdir())
