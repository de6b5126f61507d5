"""The shipped models on recorded speech, through the whole program."""

import itertools
import json

import numpy as np
import pytest
import soundfile

from rtstream.cli.main import main
from tests.recognizer.tiny_bundle import DATA

CLIPS = [json.loads(line) for line in (DATA / "clips.jsonl").read_text().splitlines()]
HIGHEST_WER = {"libri": 0.20, "cv": 0.35, "lj": 0.20}
"""By clip set. Above what the model reaches: a few clips vary a lot, and what breaks breaks by more than this."""

pytestmark = pytest.mark.slow


@pytest.fixture
def replay(capsys, monkeypatch):
    """Events of files as the program prints them, and its exit code."""
    monkeypatch.delenv("RTSTREAM_MODEL", raising=False)

    def run(*arguments):
        code = main(["replay", "--format", "jsonl", *map(str, arguments)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.mark.parametrize("model", ["base", "tiny"])
@pytest.mark.parametrize("name", HIGHEST_WER)
def test_clips_are_recognised(replay, name, model):
    jiwer = pytest.importorskip("jiwer")
    normalize = pytest.importorskip("whisper_normalizer.english").EnglishTextNormalizer()
    clips = [clip for clip in CLIPS if clip["file"].startswith(name)]
    code, lines = replay("--model", model, "--words", *[DATA / clip["file"] for clip in clips])
    assert code == 0
    said = []
    for clip in clips:
        events = [line for line in lines if line.get("file", clip["file"]).endswith(clip["file"])]
        for _, segment in itertools.groupby(events, lambda line: line["segment"]):
            for before, after in itertools.pairwise(line["text"] for line in segment if line["type"] == "partial"):
                assert after.startswith(before)
        said.append(" ".join(line["text"] for line in events if line["type"] == "final"))
    references = [normalize(clip["text"]) for clip in clips]
    assert jiwer.wer(references, [normalize(text) for text in said]) <= HIGHEST_WER[name]
    for line in lines:
        assert all(line["start"] <= word["start"] <= word["end"] <= line["end"] for word in line["words"])


def test_words_are_where_they_were_said(replay):
    # Four sentences with pauses of more than a second between them: no word lies in a pause.
    _, lines = replay("--words", "--no-partials", DATA / "libri-669-long.flac")
    words = [word for line in lines for word in line["words"]]
    gaps = sorted((after["start"] - before["end"] for before, after in itertools.pairwise(words)), reverse=True)
    assert len(words) > 50
    assert all(gap > 0.6 for gap in gaps[:3])


@pytest.mark.parametrize("model", ["base", "tiny"])
@pytest.mark.parametrize("clip", [clip for clip in CLIPS if not clip["text"]], ids=lambda clip: clip["file"])
def test_noise_is_not_words(replay, clip, model):
    assert replay("--model", model, DATA / clip["file"]) == (1, [])


def test_phrases_are_found_where_they_are_said_and_nowhere_else(replay):
    said = {"cv-utica.flac": "Utica", "cv-romanians.flac": "Romanians", "cv-telephone.wav": "Telephone"}
    never = ["Grafana", "Kubernetes", "Home Assistant=3", "Tasmota", "Montmartre", "Rittenhouse"]
    files = [*said, "lj-high-wall.flac", "libri-7312-passionate.flac", "noise-dishes.flac"]
    phrases = [option for phrase in (*said.values(), *never) for option in ("--phrase", phrase)]

    def texts(*options):
        _, lines = replay(*options, *[DATA / file for file in files])
        for _, segment in itertools.groupby(lines, lambda line: (line["file"], line["segment"])):
            for before, after in itertools.pairwise(line["text"] for line in segment if line["type"] == "partial"):
                assert after.startswith(before)
        finals = [line for line in lines if line["type"] == "final"]
        return {file: " ".join(line["text"] for line in finals if line["file"].endswith(file)) for file in files}

    without, within = texts(), texts(*phrases)
    for file, phrase in said.items():
        assert phrase in within[file]
    for text in within.values():
        assert not [phrase for phrase in never if phrase.partition("=")[0].lower() in text.lower()]
    for file in files:
        if file not in said:
            assert within[file] == without[file]


def test_partials_come_while_one_speaks(replay):
    _, lines = replay(DATA / "libri-32-newspaper.flac")  # 7.5 s without a pause
    assert sum(line["type"] == "partial" for line in lines) >= 5


def test_word_in_which_a_recording_breaks_off_is_written_once(replay, tmp_path):
    samples, rate = soundfile.read(DATA / "libri-669-gloves.flac")
    soundfile.write(tmp_path / "cut.wav", samples[: int(2.56 * rate)], rate)
    _, lines = replay(tmp_path / "cut.wav")
    assert lines[-1]["text"].lower().count("sometime") == 1


def test_word_cut_out_of_its_sentence_is_written_in_digital_silence(replay, tmp_path):
    audio, rate = soundfile.read(DATA / "cv-utica.flac")
    soundfile.write(tmp_path / "utica.wav", np.pad(audio[37_376:47_040], (0, rate)), rate)
    code, lines = replay("--model", "base", "--words", tmp_path / "utica.wav")
    assert code == 0
    (word,) = [each for line in lines if line["type"] == "final" for each in line["words"]]
    assert word["word"].strip(".") == "Utica"
    assert 0 <= word["start"] < word["end"] <= 0.9
