from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.evaluation.evaluate import Transcript, errors_of_beginning, score_transcripts, spread
from rtstream.events import SAMPLE_RATE
from rtstream.training.corpus.data import Clip
from rtstream.training.corpus.text import normalize

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


@given(WORDS, WORDS)
def test_the_best_beginning_is_the_best_of_all_beginnings(reference, text):
    def distance(words):
        if not words:
            return len(text)
        out = jiwer.process_words(" ".join(words), " ".join(text))
        return out.substitutions + out.deletions + out.insertions

    errors, words = errors_of_beginning(reference, text)
    every = [distance(reference[:count]) for count in range(len(reference) + 1)]
    assert errors == min(every)
    assert words == max(count for count, value in enumerate(every) if value == errors)


@pytest.mark.parametrize(
    ("text", "errors", "words"), [("a b c", 0, 3), ("a b", 0, 2), ("a x", 1, 2), ("", 0, 0), ("a b c d", 1, 3)]
)
def test_only_the_words_that_were_shown_count(text, errors, words):
    assert errors_of_beginning(["a", "b", "c"], text.split()) == (errors, words)


def clip(text, **kept):
    return Clip(Path("shard.tar"), 0, 0, 18.0, normalize(text), reference=text, **kept)


@pytest.fixture
def score(monkeypatch):
    """Score clips of silence of which the texts are given, in their order."""

    def run(clips, texts, **asked):
        monkeypatch.setattr(Clip, "read", lambda _: np.zeros(SAMPLE_RATE, np.float32))
        transcripts = iter(text if isinstance(text, Transcript) else Transcript(text, text) for text in texts)
        return score_transcripts(lambda _audio, _language: next(transcripts), clips, **asked)

    return run


def test_language_of_longer_clips_is_right_or_not_where_several_may_be_spoken(score):
    spoken = ["en", "de", "de-AT", "fr", "sv"]
    clips = [*(clip("hello", language=each) for each in spoken), replace(clip("hello", language="de"), seconds=2.0)]
    found = ["en", "de", "en", "", "en", "de"]
    transcripts = [Transcript("hello", language=each) for each in found]
    figures = score(clips, transcripts, languages=("en", "de", "fr")).figures()
    assert figures["languages"] == {
        "clips": 4,
        "right": 50.0,
        "by_language": {
            "de": {"clips": 2, "right": 50.0},
            "en": {"clips": 1, "right": 100.0},
            "fr": {"clips": 1, "right": 0.0},
        },
    }
    assert score(clips, transcripts, languages=("en",)).figures()["languages"] is None


def test_clips_without_english_words_have_no_error_rate_but_words_an_hour(score):
    clips = [clip("", language="zxx", label="rain"), clip("hallo", language="de"), clip("", language="zxx")]
    figures = score(clips, ["", "Hello you.", ""]).figures()
    assert (figures["clips"], figures["words"], figures["wer"], figures["shown_wer"]) == (3, 0, None, None)
    published = figures["published"]
    assert published["words_per_hour"] == published["partial_words_per_hour"] == pytest.approx(2 * 3600 / 54, abs=0.05)
    assert published["by_kind"] == {"rain": 0, "de": 400, "zxx": 0}
    assert published["texts"] == [{"kind": "de", "text": "Hello you.", "partial": "Hello you."}]


def test_references_are_scored_normalized_and_as_they_are_written(score):
    found = score([clip("Room 7, please."), clip("", language="zxx")], ["Room seven please.", "Oh."]).figures()
    assert (found["clips"], found["words"], found["wer"]) == (2, 3, 0)
    assert found["punctuation"]["all"]["recall"] == 50
    assert found["case"]["accuracy"] == 100
    assert found["published"]["clips"] == 1


@pytest.mark.parametrize(("accents", "errors"), [(True, 2), (False, 1)])
def test_languages_that_are_asked_for_are_scored_with_their_accents_or_without(score, accents, errors):
    clips = [clip("¿Qué tal, señor?", language="es-MX"), clip("Wie geht's?", language="de")]
    found = score(clips, ["Que tal, Señora.", "Wie geht es?"], languages=("en", "es"), accents=accents)
    assert found.references == ["qué tal señor" if accents else "que tal senor"]
    assert found.wer == pytest.approx(100 * errors / 3)
    assert [each.text for each in found.published] == ["Wie geht es?"]


def test_who_transcribes_is_told_the_language(monkeypatch):
    monkeypatch.setattr(Clip, "read", lambda _: np.zeros(SAMPLE_RATE, np.float32))
    told = []
    clips = [clip("hola", language="es"), clip("ciao", language="it"), clip("", language="zxx"), clip("hello")]
    score_transcripts(lambda _, language: told.append(language) or Transcript(""), clips, ("en", "es"))
    assert told == ["es", "en", "en", "en"]


@given(st.integers(1, 40), st.none() | st.integers(1, 50))
def test_clips_that_stand_for_all_are_spread_evenly(count, most):
    chosen = spread(list(range(count)), most)
    assert len(chosen) == min(count, most or count)
    gaps = [after - before for before, after in pairwise([*chosen, count])]
    assert chosen[0] == 0
    assert max(gaps) - min(gaps) <= 1
