"""A text is aligned once, whoever asks of it."""

import pytest

from rtstream.model.config import LETTERS
from rtstream.recognizer import evidence as evidence_module
from rtstream.recognizer.evidence import Evidence
from rtstream.recognizer.words import placed_words, time_words
from tests.recognizer.posteriors import say


@pytest.fixture
def asked(monkeypatch):
    """The number of alignments."""
    calls = []
    plain = evidence_module.align
    monkeypatch.setattr(evidence_module, "align", lambda *given: calls.append(1) or plain(*given))
    return calls


def test_a_text_is_aligned_once(asked):
    evidence = Evidence(say("we went home"), LETTERS)
    assert evidence.support("We went home.") == evidence.support("We went home.")
    assert evidence.penalty("We went home.") == pytest.approx(evidence.support("We went home.").excess)
    words = placed_words("We went home.", evidence, 1000, 320)
    assert len(asked) == 1
    assert words == time_words("We went home.", evidence.log_probs, LETTERS, 1000, 320)
    evidence.support("we went")
    assert len(asked) == 3


def test_a_text_without_letters_has_no_support_and_one_too_long_has_none_at_all():
    evidence = Evidence(say("we"), LETTERS)
    assert evidence.support("...") is None
    assert evidence.support("we went home and there we stayed for days").gain == -float("inf")
    assert evidence.penalty("we went home and there we stayed for days") == float("inf")
