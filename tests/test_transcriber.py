"""Recognition in a program's own process: three words, and a generator for streams."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rtstream
from rtstream.errors import AudioError, BundleError, ConfigError
from rtstream.publish.seconds import Final, Partial
from rtstream.transcriber import Transcript
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle

ROOT = Path(__file__).parents[1]
TALK = DATA / "cv-telephone.wav"


@pytest.fixture(scope="module")
def shipped():
    return rtstream.load("tiny", words=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return rtstream.load(save_tiny_bundle(tmp_path_factory.mktemp("model") / "bundle"))


def bytes_of(path, step=3333):
    data = soundfile.read(path, dtype="int16")[0].tobytes()
    return [data[begin : begin + step] for begin in range(0, len(data), step)]


def texts(events):
    return [event.text for event in events if isinstance(event, Final)]


def test_three_words_give_the_text(shipped):
    transcript = shipped.transcribe(TALK)
    assert "telephone" in transcript.text.lower()
    (final,) = transcript.finals
    assert 0 <= final.start < final.end <= soundfile.info(TALK).duration
    assert " ".join(word.text for word in final.words) == final.text == transcript.text


def test_stream_gives_partials_that_grow_and_then_the_same_final(shipped):
    *partials, final = shipped.stream(bytes_of(TALK))
    assert all(isinstance(event, Partial) for event in partials)
    assert all(later.text.startswith(earlier.text) for earlier, later in itertools.pairwise(partials))
    assert final == shipped.transcribe(TALK).finals[0]


def test_events_do_not_depend_on_how_samples_come(small):
    floats = soundfile.read(TALK, dtype="float32")[0]
    expected = list(small.stream(bytes_of(TALK)))
    assert texts(expected)
    assert list(small.stream([floats])) == expected
    assert list(small.stream(np.array_split(floats.astype(np.float64), 7))) == expected
    two_channels = np.repeat(floats[:, None], 2, axis=1)
    assert texts(small.stream([two_channels], channels=2)) == texts(expected)
    assert list(small.stream(bytearray(piece) for piece in bytes_of(TALK, 1))) == expected


def test_other_rates_are_resampled(small, tmp_path):
    talk = tmp_path / "talk.wav"
    floats = soundfile.read(TALK, dtype="float32")[0]
    soundfile.write(talk, np.repeat(floats, 3), 48_000, "FLOAT")
    expected = small.transcribe(talk)
    assert expected.text
    assert texts(small.stream([np.repeat(floats, 3)], rate=48_000)) == [final.text for final in expected.finals]
    with pytest.raises(ValueError, match="rate must be"):
        list(small.stream([floats], rate=1))


def test_events_come_while_the_audio_comes(shipped):
    given = 0

    def chunks():
        nonlocal given
        for given, chunk in enumerate(bytes_of(TALK), 1):  # noqa: B007 - for the test
            yield chunk

    assert isinstance(next(shipped.stream(chunks())), Partial)
    assert given < len(bytes_of(TALK))


def test_what_is_wrong_takes_nothing_away_that_was_recognised(small, tmp_path):
    def failing():
        yield from bytes_of(TALK)
        raise OSError("the microphone was unplugged")

    expected = list(small.stream(bytes_of(TALK)))
    for chunks, kind, said in (
        (failing(), OSError, "unplugged"),
        ([*bytes_of(TALK), b"\0"], AudioError, "middle of a frame: 1 bytes"),
        ([*bytes_of(TALK), np.array([np.nan])], AudioError, "nan, not audio"),
        ([*bytes_of(TALK), np.zeros(4, int)], AudioError, "an array of int64, shape .4,., is not possible"),
    ):
        got = []
        with pytest.raises(kind, match=said):
            got.extend(small.stream(chunks))
        events = small.stream(chunks) if isinstance(chunks, list) else small.stream(failing())
        got = [next(events) for _ in expected]
        assert got == expected
        with pytest.raises(kind, match=said):
            next(events)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(TALK.read_bytes()[:-16_000])
    with pytest.raises(AudioError, match="truncated") as raised:
        small.transcribe(cut)
    assert [final.text for final in raised.value.finals if final.text]


def test_silence_has_no_text_and_is_no_error(small, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    assert small.transcribe(tmp_path / "silence.wav") == Transcript(())
    assert small.transcribe(tmp_path / "silence.wav").text == ""
    assert list(small.stream([])) == []


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"model": "no such model"}, BundleError, "no such model"),
        ({"chunk_ms": 7}, ConfigError, "chunk_ms"),
        ({"beam": 9}, ConfigError, "beam"),
        ({"phrases": ["x=abc"]}, ConfigError, "abc"),
    ],
)
def test_what_is_not_possible_is_one_line(settings, kind, said):
    with pytest.raises(kind, match=said) as raised:
        rtstream.load(**settings)
    assert "\n" not in str(raised.value)


def test_neither_grpc_nor_click_is_needed():
    program = "import sys, rtstream.transcriber; sys.exit(', '.join({'grpc', 'click'} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
