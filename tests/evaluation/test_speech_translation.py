"""Figures of what is written in English of speech in other languages."""

import pytest

from rtstream.evaluation.simultaneous import Output
from rtstream.evaluation.speech_translation import TranslationScore


def test_figures_are_those_of_what_was_shown_and_of_what_it_became():
    shown = [
        Output(1.0, ("the", "old")),
        Output(2.0, ("the", "old", "house")),
        Output(4.0, ("the", "house", "is", "old")),
    ]
    score = TranslationScore(
        ["the house is old"], ["the house is old"], [shown], [4.0], finals=1, seconds=4.0, cpu_seconds=1.0
    )
    figures = score.figures()
    assert (figures["bleu"], figures["chrf"], figures["rtf"]) == (100.0, 100.0, 0.25)
    assert figures["shown"] == 0.75
    assert figures["erasure"] == 0.5
    assert figures["laal"] == pytest.approx((1 - 0 + 1 - 1 + 2 - 2) / 3, abs=0.01)


def test_clips_of_which_whisper_loops_do_not_count():
    score = TranslationScore(["the house", "the old house"], ["the house", "very " * 40])
    figures = score.figures()
    assert (figures["clips"], figures["whisper_loops"], figures["chrf"]) == (2, 1, 100.0)


def test_of_nothing_there_is_no_lag():
    figures = TranslationScore([""], ["yes"], finals=1, refused=1).figures()
    assert figures["laal"] is figures["shown"] is figures["rtf"] is None
    assert figures["refused"] == 1
