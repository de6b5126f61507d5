import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.evaluation.simultaneous import Output, common, delays, erased_words, laal, normalized_erasure

words = st.lists(st.sampled_from("abc"), max_size=6).map(tuple)
outputs = st.lists(words, min_size=1, max_size=6)
lags = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=10).map(sorted)


def shown(outputs):
    return [Output(float(number), output) for number, output in enumerate(outputs, start=1)]


@given(words, words)
def test_common_prefix_is_one_and_the_longest(before, after):
    length = common(before, after)
    assert before[:length] == after[:length]
    assert length == min(len(before), len(after)) or before[length] != after[length]


@given(words, st.lists(words, max_size=5))
def test_what_only_grows_has_no_erasure(start, additions):
    grown = [start]
    for addition in additions:
        grown.append(grown[-1] + addition)
    assert erased_words(grown) == 0
    assert normalized_erasure([grown]) == 0.0


@given(outputs)
def test_no_more_is_erased_than_was_shown(outputs):
    assert 0 <= erased_words(outputs) <= sum(map(len, outputs[:-1]))


@given(outputs, st.integers(0, 5))
def test_showing_the_same_again_erases_nothing(outputs, at):
    at = min(at, len(outputs) - 1)
    assert erased_words([*outputs[: at + 1], *outputs[at:]]) == erased_words(outputs)


def test_erasure_of_the_definition():
    run = [("a", "b"), ("a", "c", "d"), ("a", "c", "e", "f")]  # b; d
    assert erased_words(run) == 2
    assert normalized_erasure([run, [("x",)]]) == pytest.approx(2 / 5)
    assert normalized_erasure([]) == 0.0


@given(outputs)
def test_delay_of_a_word_is_when_it_was_there_for_good(outputs):
    run = shown(outputs)
    found = delays(run)
    assert len(found) == len(outputs[-1])
    assert found == sorted(found)
    for number, delay in enumerate(found):
        kept = [run_.words[: number + 1] == outputs[-1][: number + 1] for run_ in run]
        assert all(kept[int(delay) - 1 :])
        assert delay == 1 or not kept[int(delay) - 2]


def test_no_output_has_no_delays():
    assert delays([]) == []
    assert delays([Output(1.0, ())]) == []


@given(lags, st.integers(1, 12))
def test_laal_is_that_of_the_paper(fractions, reference):
    """arXiv 2206.05807: the mean of d_i - (i - 1) |X| / max(|Y|, |Y*|) up to the first i whose d_i is |X|."""
    source = 7.0
    found = [fraction * source for fraction in fractions]
    total, count = 0.0, 0
    for i in range(1, len(found) + 1):
        total += found[i - 1] - (i - 1) * source / max(len(found), reference)
        count += 1
        if found[i - 1] >= source:
            break
    assert laal(found, source, reference) == pytest.approx(total / count)


def test_who_waits_for_the_end_lags_by_the_whole_source():
    assert laal([5.0] * 8, 5.0, 8) == 5.0


@given(st.integers(1, 30))
def test_who_keeps_pace_does_not_lag(count):
    assert laal([float(n) for n in range(count)], float(count), count) == pytest.approx(0.0)


@given(lags, st.integers(1, 12), st.integers(1, 12))
def test_more_words_than_the_reference_has_are_no_merit(fractions, reference, more):
    longer = fractions + fractions[-1:] * more
    if len(fractions) >= reference and fractions[-1] < 1:
        assert laal(longer, 1.0, reference) == pytest.approx(laal(longer, 1.0, len(longer)))


def test_nothing_to_count_is_no_lag():
    assert laal([], 1.0, 3) is None
    assert laal([0.0], 0.0, 3) is None
