"""A word that CTC hardly hears counts if the decoder wrote it, not if it is what is left of a loop."""

from types import SimpleNamespace

import numpy as np
import pytest

from rtstream.model.config import LETTERS
from rtstream.recognizer.evidence import Evidence
from rtstream.recognizer.final_pass import Decoded
from rtstream.recognizer.guard import GuardConfig, is_unheard
from rtstream.recognizer.heard import Heard
from rtstream.recognizer.session import RecognizerSession
from tests.recognizer.posteriors import faint, say

WHO = np.log(np.float32([[1.0, 0.98, 0.01, 0.01]]))  # weight; English, another language, nobody


def judged(written, posteriors, certainty=-0.7):
    """The text that counts of what the decoder wrote, and whether it does whoever speaks."""
    search = SimpleNamespace(guard=GuardConfig())
    tokenizer = SimpleNamespace(decode=lambda _: written)
    session = RecognizerSession(SimpleNamespace(searches={"en": search}, bundle=SimpleNamespace(tokenizer=tokenizer)))
    heard = Heard(None, (posteriors,), (WHO,))
    return session._judged(Decoded([1], ended=True, opening=heard.opening, certainty=certainty), heard)


@pytest.mark.parametrize(
    ("written", "posteriors", "counts"),
    [
        ("Four.", faint("four"), ("Four.", True)),
        ("Four, four, four, four, four.", faint("four"), (None, False)),
        ("Four, four, four, four, four.", say("four"), ("Four.", True)),
        ("Four, four.", say("four four"), ("Four, four.", True)),
    ],
)
def test_what_is_left_of_a_loop_must_be_heard(written, posteriors, counts):
    assert judged(written, posteriors) == counts


def test_a_sure_text_of_which_ctc_hears_nothing_is_counted_where_it_hears_what_is_left():
    heard = say("six six six six", sure=0.5)
    text = "Six, six, six, six, six, six, six, six."
    assert is_unheard(text, Evidence(heard, LETTERS))
    assert judged(text, heard, certainty=-0.1)[0] == "Six, six, six, six."
    assert judged("Six, six, six.", faint("six six six"), certainty=-0.1)[0] == "Six, six, six."
