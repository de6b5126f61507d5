"""Recordings that are read while they come: the same samples however they come, and as soon as they can be."""

import io
import threading

import numpy as np
import pytest
import soundfile

from rtstream.audio.live import ByteQueue, open_live
from rtstream.errors import AudioError
from tests.vad.recordings import read_clip

FORMATS = {"wav": ("WAV", "PCM_16", 44_100), "ogg": ("OGG", "OPUS", 48_000), "flac": ("FLAC", "PCM_16", 16_000)}


def made(kind, seconds=2.0, seed=0):
    format_, subtype, rate = FORMATS[kind]
    file = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
    soundfile.write(file, noise, rate, format=format_, subtype=subtype)
    return file.getvalue()


class Reading:
    """A thread that decodes what :meth:`put` brings."""

    def __init__(self, kind, block_seconds=0.02):
        self.queue = ByteQueue()
        self.blocks = []
        self.error = None
        self.done = False
        self._thread = threading.Thread(target=self._run, args=(kind, block_seconds), daemon=True)
        self._thread.start()

    @property
    def samples(self):
        return np.concatenate([np.zeros(0, np.float32), *self.blocks])

    def put(self, data):
        """Bring bytes, and wait until all that can be is decoded."""
        self.queue.put(data)
        self.queue.wait(lambda: self.done)

    def end(self):
        self.queue.end()
        self._thread.join(60)
        assert self.done
        return self.samples

    def _run(self, kind, block_seconds):
        try:
            with open_live("the stream", kind, self.queue, block_seconds=block_seconds) as audio:
                self.blocks.extend(block.samples for block in audio)
        except AudioError as error:
            self.error = str(error)
        self.done = True
        self.queue.notify()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [97, 1024, 10**6])
def test_samples_are_those_of_the_file_however_it_comes(tmp_path, kind, size):
    data = made(kind) + made(kind, 1.0, seed=1)  # one behind the other
    path = tmp_path / f"made.{kind}"
    path.write_bytes(data)
    expected = read_clip(path)
    reading = Reading(kind)
    for begin in range(0, len(data), size):
        reading.put(data[begin : begin + size])
    got = reading.end()
    assert reading.error is None
    assert len(got) == 3 * 16_000
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("kind", "behind"), [("wav", 0.1), ("flac", 0.5), ("ogg", 1.5)])
def test_what_can_be_decoded_is_given_before_more_comes(kind, behind):
    data = made(kind, 6.0)
    reading = Reading(kind)
    reading.put(data[: len(data) // 2])
    assert len(reading.samples) / 16_000 >= 3.0 - behind
    reading.end()


def test_live_ogg_need_not_be_closed():
    data = made("ogg", 4.0)
    reading = Reading("ogg")
    reading.put(data[: data.rindex(b"OggS")])  # without its last page
    assert len(reading.end()) / 16_000 >= 2.5
    assert reading.error is None


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("wav", b"OggS" + bytes(40), "does not begin as a WAV file does"),
        ("ogg", b"RIFF" + bytes(40), "is no Ogg that can be read: it does not begin as one"),
        ("ogg", b"OggS" + bytes(4000), "is no Ogg that can be read"),
        ("flac", b"fLaC" + bytes(4000), "is no FLAC that can be read"),
        ("flac", b"fL", "is no FLAC that can be read"),
    ],
)
def test_what_is_no_such_file_is_told(kind, data, told):
    reading = Reading(kind)
    reading.put(data)
    reading.end()
    assert reading.error.startswith(f"the stream: {told}")
    assert not reading.blocks


def test_memory_is_that_of_what_has_not_been_decoded():
    data = made("flac", 30.0)
    reading = Reading("flac")
    for begin in range(0, len(data), 4096):
        reading.put(data[begin : begin + 4096])
        assert len(reading.queue._data) <= 1 << 16
    reading.end()
