import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.evaluation.written_score import MarkScore, score_written, written_words

WORDS = st.lists(
    st.sampled_from(["the", "The", "boy", "NASA", "boy,", "sea.", "Sea?", "it's", "thirty-nine", '"now!"'])
)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The boy, he said.", [("The", ""), ("boy", ","), ("he", ""), ("said", ".")]),
        ('"Is it so?" (It is!)', [("Is", ""), ("it", ""), ("so", "?"), ("It", ""), ("is", ".")]),
        ("thirty-nine; that's: all…", [("thirty", ""), ("nine", "."), ("that's", ","), ("all", ".")]),
        ("6,439 in the U.S. - now", [("6439", ""), ("in", ""), ("the", ""), ("US", "."), ("now", "")]),
        (" ... ", []),
    ],
)
def test_words_are_parted_from_the_marks_behind_them(text, words):
    assert list(written_words(text)) == words


@given(TEXTS)
def test_text_as_the_reference_is_wholly_right(texts):
    score = score_written(texts, texts)
    if score.punctuation is not None:
        assert score.punctuation["all"].f1 == 100
    if score.case is not None:
        assert score.case.accuracy == 100


@given(st.data())
def test_counts_add_up_and_what_is_wanted_and_written_change_places(data):
    references = data.draw(TEXTS)
    texts = data.draw(st.lists(WORDS.map(" ".join), min_size=len(references), max_size=len(references)))
    there, back = score_written(references, texts).punctuation, score_written(texts, references).punctuation
    if there is None or back is None:
        return
    total = there.pop("all")
    assert total.right == sum(mark.right for mark in there.values()) <= min(total.wanted, total.written)
    assert all((mark.wanted, mark.written) == (back[name].written, back[name].wanted) for name, mark in there.items())


def test_mark_after_a_wrong_word_may_be_right_and_after_one_too_few_or_too_many_is_not():
    score = score_written(["He came, and saw. Then he left."], ["He game, and saw them. Then he."]).punctuation
    assert score["."] == MarkScore(wanted=2, written=2, right=0)
    assert score[","] == MarkScore(wanted=1, written=1, right=1)
    assert score["?"].f1 is None
    assert (score["all"].precision, score["all"].recall) == (pytest.approx(100 / 3), pytest.approx(100 / 3))


def test_case_is_compared_of_the_words_that_are_right():
    case = score_written(["The boy saw NASA in Utica"], ["the boy saw Nasa in Ithaca"]).case
    assert (case.words, case.right, case.capitals, case.capitals_right) == (5, 3, 2, 0)
    assert case.accuracy == 60


@pytest.mark.parametrize("reference", ["the boy looked out", "THE BOY LOOKED OUT"])
def test_references_without_punctuation_and_case_give_no_figure(reference):
    figures = score_written([reference, ""], ["The boy looked out.", "Oh."]).figures()
    assert figures == {"punctuation": None, "case": None}
    assert score_written([], []).figures() == figures


def test_only_what_the_references_have_is_scored():
    score = score_written(["it was named after utica, new york."], ["It was named after Utica, New York."])
    assert score.punctuation["all"].f1 == 100
    assert score.case is None
    assert score_written(["I saw it"], ["i saw it."]).punctuation is None
