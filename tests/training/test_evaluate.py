import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.training.evaluate import errors_of_beginning

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


@given(WORDS, WORDS)
def test_the_best_beginning_is_the_best_of_all_beginnings(reference, text):
    def distance(words):
        if not words:
            return len(text)
        out = jiwer.process_words(" ".join(words), " ".join(text))
        return out.substitutions + out.deletions + out.insertions

    errors, words = errors_of_beginning(reference, text)
    every = [distance(reference[:count]) for count in range(len(reference) + 1)]
    assert errors == min(every)
    assert words == max(count for count, value in enumerate(every) if value == errors)


@pytest.mark.parametrize(
    ("text", "errors", "words"), [("a b c", 0, 3), ("a b", 0, 2), ("a x", 1, 2), ("", 0, 0), ("a b c d", 1, 3)]
)
def test_only_the_words_that_were_shown_count(text, errors, words):
    assert errors_of_beginning(["a", "b", "c"], text.split()) == (errors, words)
