import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import Word
from rtstream.model.config import LETTERS as ALL_LETTERS
from rtstream.recognizer.ctc_search import align, best_total, greedy_symbols, greedy_text
from rtstream.recognizer.words import mean_confidence, time_words
from tests.recognizer.posteriors import say

LETTERS = " 'abc"


def posteriors(frames: int, symbols: int, seed: int):
    scores = np.random.default_rng(seed).standard_normal((frames, symbols)).astype(np.float32) * 2
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def spoken(*symbols: int, sure: float = 0.99):
    """Posteriors of frames that each say one symbol."""
    rest = (1 - sure) / len(LETTERS)
    table = np.full((len(symbols), len(LETTERS) + 1), rest, np.float32)
    table[np.arange(len(symbols)), symbols] = sure
    return np.log(table)


def collapse(path):
    return [s for s, _ in itertools.groupby(path) if s]


def test_repeats_merge_and_blanks_part_them():
    assert greedy_symbols(spoken(3, 3, 0, 3, 4, 0)) == [3, 3, 4]
    assert greedy_text(spoken(1, 3, 0, 1, 1, 4, 0), LETTERS) == "a b"


@given(st.integers(1, 5), st.lists(st.integers(1, 2), max_size=4), st.integers(0, 1000))
def test_alignment_is_the_best_of_all_paths_that_say_the_text(frames, symbols, seed):
    log_probs = posteriors(frames, 3, seed)
    paths = [p for p in itertools.product(range(3), repeat=frames) if collapse(p) == symbols]
    aligned = align(log_probs, symbols)
    if not paths:
        assert aligned is None
        return
    best = max(sum(log_probs[t, s] for t, s in enumerate(path)) for path in paths)
    assert aligned.total == pytest.approx(best, abs=1e-4)
    assert aligned.total <= best_total(log_probs) + 1e-4


@given(st.integers(4, 30), st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 1000))
def test_symbols_lie_in_order_and_do_not_overlap(frames, symbols, seed):
    aligned = align(posteriors(frames, 6, seed), symbols)
    if aligned is not None:
        assert (aligned.first <= aligned.last).all()
        assert (aligned.last[:-1] < aligned.first[1:]).all()
        assert (aligned.scores <= 0).all()


def test_words_lie_where_their_letters_were_said():
    log_probs = spoken(0, 3, 4, 0, 0, 1, 5, 5, 0)
    first, second = time_words("ab c", log_probs, LETTERS, start=1000, frame=320)
    assert (first.text, first.start, first.end) == ("ab", 1000 + 320, 1000 + 3 * 320)
    assert (second.text, second.start, second.end) == ("c", 1000 + 6 * 320, 1000 + 8 * 320)
    assert first.confidence == pytest.approx(0.99, abs=0.01)


def test_a_word_that_was_not_said_has_a_low_confidence():
    heard, invented = time_words("ab c", spoken(3, 4, 0, 0, 0, 0), LETTERS, start=0, frame=320)
    assert heard.confidence > 0.9
    assert invented.confidence < 0.1


def test_a_number_lies_where_it_was_said():
    log_probs = say("at seven thirty today")
    at, number, today = time_words("at 7:30 today", log_probs, ALL_LETTERS, start=0, frame=320)
    assert at.end <= number.start < number.end <= today.start
    assert number.confidence == pytest.approx(0.9, abs=0.02)


@given(st.text(alphabet="abc 1é", max_size=20), st.integers(0, 40), st.integers(0, 99))
def test_every_word_of_any_text_gets_a_place_inside_the_audio(text, frames, seed):
    words = time_words(text, posteriors(frames, 6, seed), LETTERS, start=500, frame=320)
    assert [word.text for word in words] == text.split()
    for word in words:
        assert 500 <= word.start <= word.end <= 500 + frames * 320
        assert 0.0 <= word.confidence <= 1.0
    assert [w.start for w in words] == sorted(w.start for w in words)


def test_confidence_of_a_text_is_that_of_its_letters_and_digits():
    words = [Word("so", 0, 1, 0.5), Word("&", 1, 1, 0.0), Word("far.", 1, 2, 1.0)]
    assert mean_confidence(words) == (2 * 0.5 + 3 * 1.0) / 5
    assert mean_confidence(words[1:2]) is None
    assert mean_confidence([]) is None
