import shutil
import sys

import numpy as np
import pytest

from rtstream.errors import TrainingError
from rtstream.evaluation import whisper_reference
from rtstream.evaluation.whisper_reference import WhisperReference
from tests.training.tiny_dictation import save_dictating_whisper

TEXT = " The café, and the other in an hour."
AUDIO = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


@pytest.fixture(scope="module")
def dictating(tmp_path_factory):
    return save_dictating_whisper(tmp_path_factory.mktemp("dictating"), TEXT)


def test_text_is_as_the_model_writes_it(dictating):
    found = WhisperReference.open(dictating).transcribe(AUDIO)
    assert found.text == TEXT.strip()
    assert found.cpu_seconds > 0


def test_unlikely_text_is_dropped_where_the_model_hears_that_nobody_speaks(tmp_path, monkeypatch):
    whisper = WhisperReference.open(save_dictating_whisper(tmp_path / "unsure", TEXT, sure=False))
    assert not whisper.transcribe(AUDIO).text
    monkeypatch.setattr(whisper_reference, "NO_SPEECH", 1.0)
    assert whisper.transcribe(AUDIO).text


def test_clip_that_whisper_cannot_hear_at_once_is_refused(dictating):
    with pytest.raises(TrainingError, match=r"a clip of 30\.1 s: Whisper hears 30 s at once"):
        WhisperReference.open(dictating).transcribe(np.zeros(481_600, np.float32))


@pytest.mark.parametrize("missing", ["model.bin", "vocabulary.json", "tokenizer.json"])
def test_incomplete_directory_is_one_error_that_names_it(dictating, tmp_path, missing):
    path = shutil.copytree(dictating, tmp_path / "incomplete")
    (path / missing).unlink()
    with pytest.raises(TrainingError, match=r"incomplete: CTranslate2 cannot load a Whisper model there") as caught:
        WhisperReference.open(path)
    assert "\n" not in str(caught.value)


def test_missing_package_says_how_to_install_it(dictating, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(TrainingError, match=r"need the package ctranslate2: pip install 'rtstream\[ctranslate2\]'"):
        WhisperReference.open(dictating)
