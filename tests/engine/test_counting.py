"""What is counted is what was asked of the engine, and counting changes nothing."""

import numpy as np
import pytest

from rtstream.engine.counting import counting
from rtstream.engine.open import load_bundle
from rtstream.events import AudioBlock
from rtstream.recognizer.guard import GuardConfig
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import read_clip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundle")), "float")


@pytest.fixture(scope="module")
def speech():
    return read_clip(DATA / "lj-high-wall.flac")


def recognised(bundle, speech):
    pipeline = Pipeline(Recognizer(bundle, RecognizerConfig(guard=GuardConfig(0, 1e9, 1e9, min_known=0.0))))
    return pipeline, lambda: pipeline.push(AudioBlock(speech, 0)) + pipeline.finish()


def test_events_are_the_same_and_so_are_the_counts(bundle, speech):
    _, plain = recognised(bundle, speech)
    tables = []
    expected = plain()
    for _ in range(2):
        counted, counts = counting(bundle)
        pipeline, run = recognised(counted, speech)
        counts.stage = lambda pipeline=pipeline: pipeline.times.stage
        assert run() == expected
        tables.append(counts.table())
    assert tables[0] == tables[1]
    assert {"encoder", "ctc", "decoder", "partials", "second encoding", "finals"} <= set(tables[0])
    assert counts.multiply_adds == sum(c["multiply_adds"] for by in tables[0].values() for c in by.values())


def test_chunks_are_counted_with_what_stays_open_and_what_they_attend_to(bundle):
    counted, counts = counting(bundle)
    encoder, cost = counted.engine.encoder, counted.engine._cost
    mel = np.zeros((2 * 16 + 2, 80), np.float32)
    _, state = encoder.step(mel, encoder.initial_state(), 16, ahead=4)
    _, state = encoder.step(mel[:-2], state, 16, ahead=4)
    assert counts.by["", "chunk"].calls == 2
    assert counts.by["", "chunk"].rows == 16 + 20
    assert counts.by["", "chunk"].multiply_adds == 2 * cost.front(16) + cost.chunk(16, 0) + cost.chunk(20, 12)


def test_hypotheses_are_counted_each(bundle):
    counted, counts = counting(bundle)
    decoder, cost = counted.engine.decoder, counted.engine._cost
    state = decoder.cross_keys(np.zeros((10, 32), np.float32), decoder.initial_state())
    read = decoder.decode([1, 2, 3], state, scored=1).state
    batch = read.batch().select([0, 0])
    _, batch = decoder.decode_batch(np.array([[4], [5]]), batch)
    decoder.decode_batch(np.array([[4], [5]]), batch)
    assert counts.by["", "cross keys"].rows == 10
    assert counts.by["", "tokens"].multiply_adds == cost.decode(3, 0, 10, 1)
    assert counts.by["", "beam tokens"].rows == 4
    assert counts.by["", "beam tokens"].multiply_adds == cost.decode(1, 3, 10, 1, 2) + cost.decode(1, 4, 10, 1, 2)
