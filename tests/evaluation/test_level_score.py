"""What is compared of a clip at two levels."""

import numpy as np
import pytest

from rtstream.evaluation.level_score import at_level, differences


def test_level_is_the_peak_as_16_bits_hold_it():
    clip = np.array([0.1, -0.25, 0.01], np.float32)
    assert np.abs(at_level(clip, -20)).max() == pytest.approx(0.1, abs=1e-4)
    assert (at_level(clip, -40) * 32768 == np.round(at_level(clip, -40) * 32768)).all()
    assert at_level(clip, 12).tolist() == pytest.approx([1.0, -1.0, 0.159], abs=1e-3)  # clipped
    assert not at_level(np.zeros(3, np.float32), 0).any()


@pytest.mark.parametrize(
    ("text", "differing"),
    [
        ("A high wall.", (False, False, False)),
        ("a high wall.", (False, True, False)),
        ("A high wall", (False, False, True)),
        ("A high wall?", (False, False, True)),
        ("A high hall.", (True, False, False)),
        ("", (True, True, True)),
    ],
)
def test_words_case_and_mark_are_told_apart(text, differing):
    assert differences(text, "A high wall.") == differing
