"""The shards of spoken numbers: what they hold, and that nobody who tests trains."""

import shutil
from itertools import pairwise

import click
import numpy as np
import pytest

from rtstream.training.corpus import spoken_numbers
from rtstream.training.corpus.data import load_set, load_shard
from rtstream.training.corpus.joined import DIGITS
from rtstream.training.corpus.shard import write_shard
from rtstream.training.corpus.spoken_numbers import UNSEEN, VOICES, dev_clips, main, training_clips, trimmed
from rtstream.training.corpus.voices import Voice
from tests.training import tiny_training
from tests.training.tiny_training import tone

FEW = {"held-out": 4, "unseen": 8}
PROGRAMS = pytest.mark.parametrize(
    "voice",
    [
        pytest.param(voice, marks=pytest.mark.skipif(shutil.which(voice.program) is None, reason=f"no {voice.program}"))
        for voice in (*VOICES, *UNSEEN)
    ],
    ids=str,
)


@pytest.fixture
def humming(monkeypatch):
    """Voices that hum, silence before and behind, as long as what they are given."""

    def hum(_, text, *_args, **_options):
        hush = np.zeros(1600, np.float32)
        return np.concatenate([hush, tone(len(text), 0.05 * len(text)), hush])

    monkeypatch.setattr(Voice, "say", hum)


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Folders of dev-digits and of saytime's recordings, for fewer strings than the test set has."""
    monkeypatch.setattr(spoken_numbers, "STRINGS", FEW)
    rows = [(0.4, word, {"speaker": speaker}) for speaker in ("ann", "bob") for word in DIGITS[:10]]
    tiny_training.write_shard(tmp_path / "dev-digits", rows)
    (tmp_path / "saytime").mkdir()
    for name in (*map(str, range(10)), "oh"):
        (tmp_path / "saytime" / f"{name}.au").write_bytes(bytes(range(256)) * 16)
    return tmp_path, tmp_path / "saytime"


@pytest.mark.usefixtures("humming")
def test_training_shard_has_numbers_and_digits_that_join(tmp_path):
    assert list(write_shard(tmp_path / "train-numbers", training_clips(20, 0)))[-1] == 20 + 3 * len(VOICES) * 11
    clips = load_shard(tmp_path / "train-numbers")
    assert all(clip.text == clip.reference for clip in clips)
    assert {clip.speaker.partition(":")[0] for clip in clips} == {"flite", "espeak-ng"}
    joined = load_set(tmp_path, "train-numbers:joined")
    assert len({clip.speaker for clip in joined}) == 3 * len(VOICES)


@pytest.mark.usefixtures("humming")
def test_test_set_is_of_voices_that_do_not_train_or_of_held_out_recordings(recordings, tmp_path):
    list(write_shard(tmp_path / "dev", dev_clips(*recordings, 0)))
    clips = load_shard(tmp_path / "dev")
    assert len(clips) == sum(FEW.values())
    assert all(3 <= len(clip.text.split()) <= 12 for clip in clips)
    speakers = {label: {clip.speaker for clip in clips if clip.label == label} for label in ("held-out", "unseen")}
    assert speakers["held-out"] == {"ann", "bob"}
    assert "saytime" in speakers["unseen"]
    assert not any(speaker.startswith(str(voice)) for speaker in speakers["unseen"] for voice in VOICES)
    assert len(load_set(tmp_path, "dev:unseen")) == FEW["unseen"]


@pytest.mark.usefixtures("humming")
def test_shards_are_the_same_each_time(recordings, tmp_path, capsys):
    data, saytime = recordings
    for name in ("one", "two"):
        arguments = ["--data", data, "--saytime", saytime, "--clips", 3, "--out", tmp_path / name]
        assert main.main([*map(str, arguments)], standalone_mode=False) is None
    assert "dev-joined-digits: 12 clips" in capsys.readouterr().out
    files = [sorted((tmp_path / name).iterdir()) for name in ("one", "two")]
    assert [path.name for path in files[0]] == [
        f"{shard}.{kind}" for shard in ("dev-joined-digits", "train-numbers") for kind in ("jsonl", "tar")
    ]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("humming")
def test_missing_recordings_are_one_line(recordings, tmp_path):
    data, saytime = recordings
    (saytime / "3.au").unlink()
    wrong = {"no recordings of Debian's package saytime": data, "dev-digits: no shard": tmp_path / "elsewhere"}
    (tmp_path / "elsewhere").mkdir()
    for number, (told, folder) in enumerate(wrong.items()):
        arguments = ["--data", folder, "--saytime", saytime, "--out", tmp_path / "out"]
        with pytest.raises(click.ClickException, match=told) as caught:
            main.main([*map(str, arguments)], standalone_mode=False)
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "out").glob("*.tar"))
        if not number:
            (saytime / "3.au").write_bytes(b"\x00" * 2000)


def test_silence_around_a_digit_is_cut_off():
    audio = np.concatenate([np.zeros(3000, np.float32), np.ones(1000, np.float32), np.zeros(5000, np.float32)])
    assert len(trimmed(audio)) == 1000 - 1 + 2 * 320
    assert len(trimmed(audio[:3000])) == 3000  # nothing is heard: nothing is cut


@PROGRAMS
def test_each_voice_says_it_longer_and_higher(voice, tmp_path):
    said = [voice.say("one, two", tmp_path, stretch=stretch) for stretch in (0.8, 1.0, 1.3)]
    assert all(1.05 < len(trimmed(longer)) / len(trimmed(shorter)) < 1.8 for shorter, longer in pairwise(said))
    assert all(np.abs(samples).max() > 0.05 for samples in said)
    assert np.array_equal(voice.say("one, two", tmp_path, pitch=1.2), said[1]) == (voice.name == "rms")
    assert np.array_equal(voice.say("one, two", tmp_path), said[1])
