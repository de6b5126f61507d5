"""What a machine is made to say, and the shard that it is kept in."""

import shutil

import numpy as np
import pytest

from rtstream.events import SAMPLE_RATE
from rtstream.training.corpus import synthetic_speech
from rtstream.training.corpus.data import load_shard
from rtstream.training.corpus.shard import write_shard
from rtstream.training.corpus.synthetic_speech import MOST_LETTERS, MOST_SENTENCES, main, say, sayings, speak
from tests.training.tiny_pairs import ENGLISH, WORDS, translated, write_pairs

PAIRS = {language: {text: translated(text, language) for text in ENGLISH} for language in WORDS}
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs a voice: apt-get install flite")


def test_each_sentence_is_said_once_with_all_its_translations():
    said = sayings(PAIRS, 5, 0)
    assert 5 <= len(said) <= 10
    for saying in said:
        parts = [text for text in ENGLISH if text in saying.english]
        assert 1 <= len(parts) <= MOST_SENTENCES
        assert len(saying.english) <= 2 * MOST_LETTERS
        for language in WORDS:
            assert saying.translations[language] == translated(saying.english, language)
    assert len({text for saying in said for text in ENGLISH if text in saying.english}) == sum(
        saying.english.count(".") for saying in said
    )
    assert said == sayings(PAIRS, 5, 0)
    assert said != sayings(PAIRS, 5, 1)


def test_sentence_without_a_translation_leaves_its_language_out():
    fewer = {"es": PAIRS["es"], "de": {text: PAIRS["de"][text] for text in ENGLISH[:3]}}
    for saying in sayings(fewer, 5, 0):
        known = all(text in fewer["de"] for text in ENGLISH if text in saying.english)
        assert ("de" in saying.translations) == known


def test_shard_is_one_that_training_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(
        synthetic_speech, "say", lambda text, *_: ("hum", np.full(len(text) * 160, 0.1, dtype=np.float32))
    )
    said = sayings(PAIRS, 3, 0)
    assert list(write_shard(tmp_path / "hum", speak(said, 0))) == list(range(1, len(said) + 1))
    clips = load_shard(tmp_path / "hum")
    assert [clip.reference for clip in clips] == [saying.english for saying in said]
    for clip, saying in zip(clips, said, strict=True):
        assert clip.translations == {name: [text] for name, text in saying.translations.items()}
        assert len(clip.read()) == len(saying.english) * 160 == round(clip.seconds * SAMPLE_RATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hum.jsonl", "hum.tar"]


@needs_flite
def test_voices_say_it(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(3):
        _, samples = say("Tom reads at home, --help and all.", tmp_path, rng)
        assert samples.dtype == np.float32
        assert 1.0 < len(samples) / SAMPLE_RATE < 6.0
        assert np.abs(samples).max() > 0.05


@needs_flite
def test_command_says_nothing_of_a_dev_set(tmp_path):
    write_pairs(tmp_path)
    words = ["--texts", str(tmp_path), "--languages", "es,de", "--clips", "1", "--out", str(tmp_path / "out" / "said")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    with pytest.raises(Exception, match="no usable clip"):  # all of it is in the dev sets
        load_shard(tmp_path / "out" / "said")
