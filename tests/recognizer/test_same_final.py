"""The shipped model writes the same final of a recording with and without partials, and however loud it came."""

from pathlib import Path

import numpy as np
import pytest

from rtstream.engine.open import load_bundle
from rtstream.events import SAMPLE_RATE, AudioBlock, Final, SegmentAudio
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.session import RecognizerSession
from tests.recognizer.tiny_bundle import DATA
from tests.vad.recordings import read_clip

MODEL = Path(__file__).parents[2] / "models" / "base"


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(MODEL)


def finals(bundle, samples, **config):
    pipeline = Pipeline(Recognizer(bundle, RecognizerConfig(**config)))
    padded = np.pad(samples, (0, SAMPLE_RATE))
    events = pipeline.push(AudioBlock(padded, 0)) + pipeline.finish()
    return [(event.text, event.source) for event in events if isinstance(event, Final) and event.text]


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["cv-utica.flac", "cv-romanians.flac", "libri-669-gloves.flac"])
def test_finals_are_the_same_with_and_without_partials(bundle, clip):
    samples = read_clip(DATA / clip)
    with_partials, without = (
        finals(bundle, samples, partials=partials, full_context="always") for partials in ("decoder", "none")
    )
    assert with_partials == without != []


@pytest.mark.slow
def test_a_segment_has_the_same_final_however_loud_it_is(bundle):
    samples = read_clip(DATA / "cv-utica.flac")
    recognizer, found = Recognizer(bundle, RecognizerConfig(partials="none")), set()
    for decibels in (-40, -20, 0):
        quiet = samples * np.float32(10 ** (decibels / 20) / np.abs(samples).max())
        kept = (np.round(quiet * 32767) / 32768).astype(np.float32)  # as 16 bits hold it
        (final,) = RecognizerSession(recognizer).accept(SegmentAudio(0, 0, kept, last=True))
        found.add(final.text)
    assert len(found) == 1
