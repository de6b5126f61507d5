"""What is known of a segment's frames: who speaks in them, and that what may still change can be left out."""

import numpy as np
import pytest

from rtstream.model.config import FOREIGN, KNOWN, NOBODY
from rtstream.recognizer.heard import Heard
from tests.nn.tiny_models import make_decoder, noise


def heard(*voices):
    """Of chunks of five frames, all of which say one thing each: its place and how loudly."""
    decoder = make_decoder()
    state, rows = decoder.initial_state(), []
    for place, score in voices:
        state = decoder.extend(noise(5, 16), state)
        said = np.zeros((5, 4), np.float32)
        said[:, 1 + place] = score
        rows.append(said)
    return Heard(state, tuple(np.zeros((5, 3), np.float32) for _ in voices), tuple(rows))


def test_opening_is_that_of_all_frames():
    opening = heard((KNOWN, 4.0), (KNOWN, 4.0), (NOBODY, 1.0)).opening
    assert opening.no_speech < 0.2
    assert opening.language > 0.9
    assert heard((FOREIGN, 6.0), (FOREIGN, 6.0)).opening.language < 0.01
    assert heard((NOBODY, 6.0)).opening.no_speech > 0.99


def test_frames_that_are_left_out_are_not_asked():
    both = heard((KNOWN, 6.0), (FOREIGN, 6.0))
    assert both.opening.language == pytest.approx(0.5)
    settled = both.without(5)
    assert settled.opening.language > 0.99
    assert settled.decoder.frames == len(settled.log_probs) == 5
    assert both.without(0) is both


def test_model_without_that_head_leaves_it_to_the_decoder():
    assert Heard(make_decoder().initial_state()).opening is None
