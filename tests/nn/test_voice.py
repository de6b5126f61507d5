"""Who speaks is judged over all frames, each by its own weight."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.model.config import FOREIGN, KNOWN, NOBODY
from rtstream.nn.voice import VoiceHead, pooled
from tests.nn.tiny_models import noise, randomize


@given(frames=st.integers(1, 20), hidden=st.integers(0, 20))
def test_frames_that_are_masked_change_nothing(frames, hidden):
    said, more = noise(frames, 4), 100 * noise(hidden, 4, seed=2)
    mask = torch.arange(frames + hidden) < frames
    assert_close(pooled(torch.cat([said, more])[None], mask[None])[0], pooled(said))


def test_frame_that_counts_most_decides():
    said = torch.zeros(3, 4)
    said[0, 1 + FOREIGN], said[1, 1 + KNOWN], said[2, 1 + NOBODY] = 5.0, 5.0, 5.0
    said[1, 0] = 9.0
    assert int(pooled(said).argmax()) == KNOWN


@given(cut=st.integers(0, 9))
def test_what_frames_say_does_not_depend_on_how_they_came(cut):
    head, states = randomize(VoiceHead(16, hidden=8)), noise(9, 16)
    with torch.no_grad():
        assert_close(torch.cat([head(states[:cut]), head(states[cut:])]), head(states))
