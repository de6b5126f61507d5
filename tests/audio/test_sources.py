"""Sources that are not microphones, and how all of them are named."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtstream.audio.capture_protocol import CaptureRequest
from rtstream.audio.devices import list_devices
from rtstream.audio.fifo import FifoSource
from rtstream.audio.file_source import FileSource
from rtstream.audio.microphone import Microphone, MicrophoneConfig
from rtstream.audio.open_source import open_source
from rtstream.audio.source import SourceSpec, parse_source
from rtstream.errors import AudioError, ConfigError
from rtstream.events import AudioBlock, DeviceState
from tests.audio.sound_server import until


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("mic", SourceSpec("mic", "default")),
        ("mic:USB PnP: Audio (hw:1,0)?", SourceSpec("mic", "USB PnP: Audio (hw:1,0)?")),
        ("wav:a b.flac", SourceSpec("wav", "a b.flac")),
        ("wav:/x.wav?speed=max&loop=1", SourceSpec("wav", "/x.wav", speed=0.0, loop=True)),
        ("wav:/x.wav?loop", SourceSpec("wav", "/x.wav", loop=True)),
        ("wav:/x.wav?speed=8", SourceSpec("wav", "/x.wav", speed=8.0)),
        ("fifo:/run/pcm", SourceSpec("fifo", "/run/pcm", rate=16_000)),
        ("fifo:/run/pcm?rate=44100", SourceSpec("fifo", "/run/pcm", rate=44_100)),
        ("fifo:/run/pcm?pause=2.5", SourceSpec("fifo", "/run/pcm", rate=16_000, pause=2.5)),
        ("wav:/what%3F 100%25%2b.wav?loop=1", SourceSpec("wav", "/what? 100%+.wav", loop=True)),
        ("wav:%ff.wav", SourceSpec("wav", "\udcff.wav")),
        ("wav:100%.wav", SourceSpec("wav", "100%.wav")),
        ("fifo:/run/a%20b?create=1", SourceSpec("fifo", "/run/a b", rate=16_000, create=True)),
        ("mic:50%25", SourceSpec("mic", "50%25")),
        ("-", SourceSpec("stdin", "-")),
        ("-?rate=8000", SourceSpec("stdin", "-", rate=8_000)),
    ],
)
def test_source_is_named(text, spec):
    assert parse_source(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        *["", "microphone", "mic:", "wav:", "wav:x?speed=0", "wav:x?speed=fast", "wav:x?loop=maybe", "wav:x?lop=1"],
        *[
            "fifo:",
            "fifo:p?rate=7",
            "fifo:p?rate=many",
            "fifo:p?pause=0",
            "fifo:p?pause=nan",
            "fifo:p?create=maybe",
            "wav:what?.wav",
            "-:",
            "-?speed=1",
            "http://x",
        ],
    ],
)
def test_unknown_name_is_an_error_that_says_what_is_allowed(text):
    with pytest.raises(ConfigError) as raised:
        parse_source(text)
    assert f"'{text}'" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture
def ramp(tmp_path):
    samples = np.arange(1, 5_001, dtype=np.int16)
    soundfile.write(tmp_path / "ramp.wav", samples, 16_000)
    return str(tmp_path / "ramp.wav"), samples


def split(items):
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    return blocks, [item.state for item in items if isinstance(item, DeviceState)]


def joined(blocks):
    at = blocks[0].position if blocks else 0
    for block in blocks:
        assert block.position == at
        at += len(block.samples)
    return np.round(np.concatenate([b.samples for b in blocks]) * 32768).astype(np.int16)


@pytest.mark.parametrize("speed", [0.0, 20.0])
def test_file_is_played_once_and_then_rests(ramp, speed):
    path, samples = ramp
    source = FileSource(path, speed=speed)
    blocks, states = split(list(source))
    np.testing.assert_array_equal(joined(blocks), samples)
    assert states == ["starting", "capturing", "ended"]
    assert source.idle
    assert source.signs == len(blocks)


def test_looped_file_goes_on_without_a_gap_until_closed(ramp):
    path, samples = ramp
    source = FileSource(path, speed=0.0, loop=True)
    items = []
    for item in source:
        items.append(item)
        if isinstance(item, AudioBlock) and item.position >= 12_000:
            source.close()
    blocks, states = split(items)
    np.testing.assert_array_equal(joined(blocks), np.tile(samples, 3)[: blocks[-1].position + len(blocks[-1].samples)])
    assert states[-1] == "ended"


def test_file_that_breaks_off_is_lost_after_its_good_audio(ramp, tmp_path):
    path, samples = ramp
    whole = open(path, "rb").read()  # noqa: PTH123, SIM115
    (tmp_path / "cut.wav").write_bytes(whole[:-4_000])
    items = list(FileSource(str(tmp_path / "cut.wav"), speed=0.0))
    blocks, states = split(items)
    np.testing.assert_array_equal(joined(blocks), samples[:3_000])
    assert states[-1] == "lost"
    assert "truncated" in items[-1].detail


def test_file_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        open_source(SourceSpec("wav", str(tmp_path / "no.wav")), CaptureRequest(), MicrophoneConfig())


def start(source):
    items = []
    thread = threading.Thread(target=lambda: [items.append(item) for item in source])
    thread.start()
    return items, thread


def test_capturing_process_that_cannot_be_started_is_tried_again(monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("subprocess.Popen", fail)
    source = Microphone(CaptureRequest("default"), MicrophoneConfig(retry_seconds=0.05, retry_most_seconds=0.2))
    items, thread = start(source)
    until(lambda: source.signs > 3, "tries")
    source.close()
    thread.join()
    assert split(items)[1] == ["starting", "lost", "ended"]
    assert "Too many open files" in items[1].detail
    with pytest.raises(AudioError, match="Too many open files"):
        list_devices()


def test_fifo_takes_one_writer_after_another_and_may_come_late(tmp_path):
    path = tmp_path / "pcm"
    source = FifoSource(str(path), 16_000)
    items, thread = start(source)
    until(lambda: split(items)[1][-1:] == ["lost"], "absent")
    os.mkfifo(path)
    first = np.arange(1, 3_000, dtype="<i2")
    path.write_bytes(first.tobytes())
    until(lambda: split(items)[1][-1:] == ["ended"], "first writer")
    second = np.arange(3_000, 6_000, dtype="<i2")
    path.write_bytes(second.tobytes())
    until(lambda: split(items)[1].count("ended") == 2, "second writer")
    source.close()
    thread.join()
    np.testing.assert_array_equal(joined(split(items)[0]), np.concatenate((first, second)))


def test_fifo_whose_writer_ends_within_a_sample_says_so_and_begins_anew(tmp_path):
    path = tmp_path / "pcm"
    os.mkfifo(path)
    source = FifoSource(str(path), 16_000)
    items, thread = start(source)
    samples = np.arange(1, 3_000, dtype="<i2")
    path.write_bytes(samples.tobytes() + b"\1")
    until(lambda: split(items)[1][-1:] == ["ended"], "first writer")
    assert "in the middle of a sample" in items[-1].detail
    path.write_bytes(samples.tobytes())
    until(lambda: split(items)[1].count("ended") == 2, "second writer")
    assert "middle" not in items[-1].detail
    source.close()
    thread.join()
    np.testing.assert_array_equal(joined(split(items)[0]), np.tile(samples, 2))


def test_writer_that_pauses_with_the_fifo_open_is_waited_for_and_nothing_is_lost(tmp_path):
    path = tmp_path / "pcm"
    os.mkfifo(path)
    source = FifoSource(str(path), 16_000, pause_seconds=0.1)
    items, thread = start(source)
    with path.open("wb", buffering=0) as writer:
        writer.write(b"\1\0" * 100 + b"\1")  # half a sample
        until(lambda: split(items)[1][-1:] == ["paused"], "pause")
        assert source.idle
        writer.write(b"\0" + b"\1\0" * 99)
        until(lambda: sum(len(b.samples) for b in split(items)[0]) == 200, "the rest")
    until(lambda: split(items)[1][-1:] == ["ended"], "end")
    source.close()
    thread.join()
    states = split(items)[1]
    assert states[:4] == ["starting", "capturing", "paused", "capturing"]
    assert states[-2:] == ["ended", "ended"]
    assert set(states[4:-2]) <= {"paused"}  # again, if the writer took its time to close
    assert (joined(split(items)[0]) == 1).all()


@pytest.mark.parametrize("writer", [None, "waits", "has written"])
def test_fifo_that_is_deleted_and_made_anew_is_read_again(tmp_path, writer):
    path = tmp_path / "pcm"
    os.mkfifo(path)
    source = FifoSource(str(path), 16_000)
    items, thread = start(source)
    until(lambda: split(items)[1], "open")
    old = None if writer is None else path.open("wb", buffering=0)
    if writer == "has written":
        old.write(b"\1\0" * 100)
        until(lambda: split(items)[0], "the old one's audio")
    path.unlink()
    os.mkfifo(path)
    path.write_bytes(b"\1\0" * 300)
    expected = 400 if writer == "has written" else 300
    until(lambda: sum(len(block.samples) for block in split(items)[0]) == expected, "the new one's audio")
    source.close()
    thread.join()
    assert len(joined(split(items)[0])) == expected
    if old is not None:
        old.close()


def test_fifo_that_is_deleted_is_lost_until_it_is_made_anew_but_a_writer_may_end_its_sentence(tmp_path):
    path = tmp_path / "pcm"
    os.mkfifo(path)
    source = FifoSource(str(path), 16_000, pause_seconds=0.1)
    items, thread = start(source)
    with path.open("wb", buffering=0) as writer:
        writer.write(b"\1\0" * 100)
        path.unlink()
        until(lambda: split(items)[1][-1:] == ["paused"], "pause")
        threading.Event().wait(2.5)  # it has looked
        writer.write(b"\1\0" * 100)
        until(lambda: len(joined(split(items)[0])) == 200, "the rest")
    until(lambda: split(items)[1][-1:] == ["lost"], "lost")
    source.close()
    thread.join()


def test_fifo_is_made_if_wanted_and_what_is_there_is_left_alone(tmp_path):
    path = tmp_path / "a pcm"
    for _ in range(2):
        source = open_source(parse_source(f"fifo:{tmp_path}/a%20pcm?create=1"), CaptureRequest(), MicrophoneConfig())
        items, thread = start(source)
        until(path.is_fifo, "made")
        made = path.stat()
        path.write_bytes(b"\1\0" * 100)
        until(lambda items=items: split(items)[1][-1:] == ["ended"], "end")
        source.close()
        thread.join()
        assert len(joined(split(items)[0])) == 100
        assert path.stat().st_mode & 0o777 == 0o660
        assert path.stat().st_ino == made.st_ino


def test_writer_that_sends_a_header_is_told_and_the_next_one_is_heard(tmp_path, ramp):
    path = tmp_path / "pcm"
    os.mkfifo(path)
    source = FifoSource(str(path), 16_000)
    items, thread = start(source)
    path.write_bytes(Path(ramp[0]).read_bytes())
    until(lambda: split(items)[1][-1:] == ["lost"], "told")

    def heard_once_more():
        path.write_bytes(b"\1\0" * 100)  # who comes before the first has gone is taken for a part of it
        return split(items)[1][-1:] == ["ended"]

    until(heard_once_more, "end")
    source.close()
    thread.join()
    assert "arecord -t raw" in next(item for item in items if item.state == "lost").detail
    samples = joined(split(items)[0])
    assert len(samples) >= 100
    assert set(samples.tolist()) == {1}  # nothing of the one with a header


def test_fifo_that_cannot_be_made_is_told(tmp_path):
    source = FifoSource(str(tmp_path / "none" / "pcm"), 16_000, create=True)
    items, thread = start(source)
    until(lambda: split(items)[1][-1:] == ["lost"], "lost")
    source.close()
    thread.join()
    assert "cannot be made" in next(i for i in items if i.state == "lost").detail


def test_what_is_not_a_fifo_is_said_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    source = FifoSource(str(tmp_path / "file"), 16_000)
    items, thread = start(source)
    until(lambda: split(items)[1][-1:] == ["lost"], "lost")
    source.close()
    thread.join()
    assert "mkfifo" in next(i for i in items if i.state == "lost").detail
