"""The shipped model of several languages on recorded speech, through the whole program."""

import itertools
import json

import pytest

from rtstream.cli.main import main
from tests.recognizer.tiny_bundle import DATA

FOLDER = DATA / "languages"
CLIPS = [json.loads(line) for line in (FOLDER / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
BY_LANGUAGE = {clip["lang"]: clip for clip in CLIPS}
HIGHEST_WER = 0.35
"""Above what it reaches, which is 0: what breaks breaks by more than this."""

pytestmark = pytest.mark.slow


@pytest.fixture
def replay(capsys):
    """Events of a clip as the program prints them."""

    def run(language, *options):
        clip = FOLDER / BY_LANGUAGE[language]["file"]
        assert main(["replay", "--model", "multi", "--format", "jsonl", *options, str(clip)]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def said(lines, kind="final"):
    return " ".join(line["text"] for line in lines if line["type"] == kind)


@pytest.mark.parametrize("language", BY_LANGUAGE)
def test_language_is_found_and_what_is_said_in_it_is_written(replay, language):
    jiwer = pytest.importorskip("jiwer")
    normalize = pytest.importorskip("whisper_normalizer.basic").BasicTextNormalizer()
    lines = replay(language)
    assert {line["language"] for line in lines if line["type"] == "final"} == {language}
    assert jiwer.wer(normalize(BY_LANGUAGE[language]["text"]), normalize(said(lines))) <= HIGHEST_WER
    partials = [line["text"] for line in lines if line["type"] == "partial"]
    for before, after in itertools.pairwise(partials):
        assert after.startswith(before)


def test_only_languages_that_may_be_spoken_are_found(replay):
    lines = replay("pt", "--language", "pt,ru")
    assert {line["language"] for line in lines} == {"pt"}
    assert said(lines) == said(replay("pt", "--language", "pt"))


def test_speech_in_another_language_is_translated(replay):
    lines = replay("pt", "--translate", "en")
    assert said(lines).startswith("Foi a segunda")
    (translation,) = [line for line in lines if line["type"] == "translation" and line["final"]]
    assert translation["language"] == "en"
    assert "third time" in translation["text"]


@pytest.mark.parametrize("name", ["noise-dishes.flac", "noise-room.flac"])
def test_noise_is_no_language(capsys, name):
    assert main(["replay", "--model", "multi", "--format", "jsonl", str(DATA / name)]) == 1
    assert capsys.readouterr().out == ""
