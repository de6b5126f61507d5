"""A word that CTC hardly hears counts if the decoder wrote it, not if it is what is left of a loop."""

from types import SimpleNamespace

import numpy as np
import pytest

from rtstream.recognizer.final_pass import Decoded
from rtstream.recognizer.guard import GuardConfig
from rtstream.recognizer.heard import Heard
from rtstream.recognizer.session import RecognizerSession
from tests.recognizer.posteriors import faint, say

WHO = np.log(np.float32([[1.0, 0.98, 0.01, 0.01]]))  # weight; English, another language, nobody


def judged(written, posteriors):
    """The text that counts of what the decoder wrote, and whether it does whoever speaks."""
    search = SimpleNamespace(guard=GuardConfig())
    tokenizer = SimpleNamespace(decode=lambda _: written)
    session = RecognizerSession(SimpleNamespace(searches={"en": search}, bundle=SimpleNamespace(tokenizer=tokenizer)))
    heard = Heard(None, (posteriors,), (WHO,))
    return session._judged(Decoded([1], ended=True, opening=heard.opening, certainty=-0.7), heard)


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
