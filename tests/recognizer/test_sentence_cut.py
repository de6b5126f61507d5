"""Case and full stop at a cut within a sentence."""

import numpy as np
import pytest

from rtstream.engine.open import load_bundle
from rtstream.events import SAMPLE_RATE, SegmentAudio
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.sentence_cut import continued, unfinished
from rtstream.recognizer.session import RecognizerSession
from tests.recognizer.test_pipeline import Hears, Says, say
from tests.recognizer.tiny_bundle import save_tiny_bundle


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("We went to the old house.", "We went to the old house"),
        ("It was in 1961.", "It was in 1961"),
        ("He and I.", "He and I"),
        ("Did you?", "Did you?"),
        ("He saw Mr.", "He saw Mr."),
        ("in the U.S.", "in the U.S."),
        ("by John F.", "by John F."),
        ("and so on...", "and so on..."),
        ("no stop", "no stop"),
        ("", ""),
    ],
)
def test_before_a_cut_there_is_no_full_stop(text, cut):
    assert unfinished(text) == cut


@pytest.mark.parametrize(
    ("text", "small"),
    [
        ("The old house.", "the old house."),
        ("Of London.", "of London."),
        ("London is large.", "London is large."),
        ("I went.", "I went."),
        ("It's late.", "it's late."),
        ("the house", "the house"),
        ("May was warm.", "May was warm."),
        ("30 men", "30 men"),
        ("", ""),
    ],
)
def test_behind_a_cut_a_small_word_is_written_small(text, small):
    assert continued(text) == small


@pytest.mark.parametrize(
    ("language", "text", "small"),
    [
        ("de", "Über die Brücke.", "über die Brücke."),
        ("de", "Brücken sind lang.", "Brücken sind lang."),
        ("fr", "C'est loin.", "c'est loin."),
        ("es", "Él vino.", "Él vino."),
        ("es", "Pero vino.", "pero vino."),
        ("ru", "Но это далеко.", "но это далеко."),
        ("pl", "Że to daleko.", "że to daleko."),
        ("it", "The old house.", "The old house."),
        ("sv", "Och det.", "Och det."),
    ],
)
def test_small_words_are_those_of_the_language(language, text, small):
    assert continued(text, language) == small


@pytest.mark.parametrize(
    ("language", "text", "cut"),
    [
        ("es", "con la Sra.", "con la Sra."),
        ("es", "con la señora.", "con la señora"),
        ("de", "Häuser, Bäume usw.", "Häuser, Bäume usw."),
        ("fr", "chez Mme.", "chez Mme."),
        ("ru", "в 1990 г.", "в 1990 г."),
        ("ru", "Это мой дом.", "Это мой дом"),
        ("pl", "von Ł.", "von Ł."),
        ("sv", "ett hus.", "ett hus"),
    ],
)
def test_points_of_abbreviations_are_those_of_the_language(language, text, cut):
    assert unfinished(text, language) == cut


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")


@pytest.mark.parametrize(
    ("cut", "later", "texts"),
    [
        (True, 0, ["The old house", "the old house."]),
        (False, 0, ["The old house.", "The old house."]),
        (True, 1600, ["The old house", "The old house."]),  # audio was lost in between
    ],
)
def test_finals_on_both_sides_of_a_cut_are_one_sentence(bundle, cut, later, texts):
    recognizer = Recognizer(bundle, RecognizerConfig(partials="none", words=True))
    recognizer.searches["en"].decoder = recognizer.searches["en"].second = Says(bundle.tokenizer, "The old house.")
    heard = say("the old house")
    recognizer.engine = Hears(recognizer.engine, lambda states: np.pad(heard, ((0, len(states)), (0, 0)), mode="edge"))
    session, audio = RecognizerSession(recognizer), np.full(SAMPLE_RATE, 0.1, np.float32)
    first = session.accept(SegmentAudio(0, 0, audio, last=True, cut=cut))
    second = session.accept(SegmentAudio(1, SAMPLE_RATE + later, audio, last=True))
    assert [final.text for final in (*first, *second)] == texts
    assert all(final.text == " ".join(word.text for word in final.words) for final in (*first, *second))
