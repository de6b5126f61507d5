import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.model.config import LETTERS
from rtstream.recognizer.ctc_search import align, best_total
from rtstream.recognizer.word_spotter import Spotter
from tests.recognizer.test_ctc_search import posteriors
from tests.recognizer.test_guard import say

PHRASES = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3)


def letters(text):
    return [LETTERS.index(letter) + 1 for letter in text]


def find(symbols, log_probs, max_excess=1.0):
    spotter = Spotter(symbols, max_excess)
    return spotter.step(log_probs, spotter.initial_state()).found


@given(PHRASES, st.integers(1, 7), st.integers(0, 1000))
def test_the_best_spot_of_each_phrase_is_the_best_of_all_windows(symbols, frames, seed):
    log_probs = posteriors(frames, 4, seed)
    found = find(symbols, log_probs, max_excess=1e6)
    for index, spelt in enumerate(symbols):
        windows = [log_probs[a:b] for a in range(frames) for b in range(a + 1, frames + 1)]
        excesses = [best_total(w) - aligned.total for w in windows if (aligned := align(w, spelt)) is not None]
        spots = [spot.excess for spot in found if spot.phrase == index]
        assert len(excesses) == 0 if not spots else min(spots) == pytest.approx(min(excesses), abs=1e-4)


@given(PHRASES, st.integers(1, 12), st.integers(0, 1000), st.integers(1, 11))
def test_spots_do_not_depend_on_how_the_frames_are_cut(symbols, frames, seed, cut):
    log_probs = posteriors(frames, 4, seed)
    spotter = Spotter(symbols, 2.0)
    state = spotter.step(log_probs[cut:], spotter.step(log_probs[:cut], spotter.initial_state()))
    assert state.found == spotter.step(log_probs, spotter.initial_state()).found


def test_a_phrase_is_found_each_time_where_it_is_said():
    found = find([letters("zigbee"), letters("grafana")], say("so grafana and the grafana"))
    assert [(spot.phrase, spot.first // 4, spot.last // 4) for spot in found] == [(1, 3, 9), (1, 19, 25)]
    assert all(spot.excess == pytest.approx(0.0, abs=1e-5) for spot in found)


def test_a_phrase_that_was_not_said_is_not_found():
    assert find([letters("grafana")], say("the cat sat on the old mat")) == ()
    assert find([letters("grafana")], say("")) == ()


def test_a_phrase_is_half_heard_until_something_else_follows():
    spotter = Spotter([letters("grafana")], 1.0)
    heard = {text: spotter.step(say(text), spotter.initial_state()) for text in ("so gr", "so graf", "so graf it")}
    assert spotter.half_heard(heard["so gr"]) is None
    assert spotter.half_heard(heard["so graf"]) == 3 * 4
    assert spotter.half_heard(heard["so graf it"]) is None


def test_the_state_given_is_not_changed():
    spotter = Spotter([letters("grafana")], 1.0)
    before = spotter.step(say("so gra"), spotter.initial_state())
    kept = before.excess.copy(), before.begin.copy(), before.found
    spotter.step(say("fana"), before)
    np.testing.assert_array_equal(kept[0], before.excess)
    np.testing.assert_array_equal(kept[1], before.begin)
    assert kept[2] == before.found
