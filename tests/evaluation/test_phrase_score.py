import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jiwer")

from rtstream.evaluation.phrase_score import PhraseScore, score_phrases

PHRASES = ["grafana", "new relic"]


@pytest.mark.parametrize(
    ("reference", "text", "score"),
    [
        ("we use grafana and new relic", "we use grafana and new relic", PhraseScore(2, 2, 0, 3, 0)),
        ("we use grafana now", "we use graph fauna now", PhraseScore(1, 0, 0, 3, 0)),
        ("we use grafana now", "we lose griffin", PhraseScore(1, 0, 0, 3, 2)),
        ("we use it now", "we use grafana now", PhraseScore(0, 0, 1, 4, 1)),
        ("we use it now", "we use it now new relic", PhraseScore(0, 0, 1, 4, 2)),
        ("grafana grafana", "grafana", PhraseScore(2, 1, 0, 0, 0)),
        ("", "grafana", PhraseScore(0, 0, 1, 0, 1)),
        ("new", "new", PhraseScore(0, 0, 0, 1, 0)),
    ],
)
def test_phrases_and_other_words_are_counted_apart(reference, text, score):
    assert score_phrases([reference], [text], PHRASES) == score


def test_other_words_have_a_rate():
    assert score_phrases(["we use grafana now", "it is"], ["we use griffin", "it is"], PHRASES).other_wer == 20.0
    assert score_phrases([], [], PHRASES).other_wer == 0.0


@given(st.lists(st.sampled_from(["a", "b", "grafana", "new", "relic"]), max_size=8))
def test_a_text_as_said_has_all_phrases_and_no_error(words):
    score = score_phrases([" ".join(words)], [" ".join(words)], PHRASES)
    assert score.found == score.said
    assert score.invented == score.other_errors == 0
