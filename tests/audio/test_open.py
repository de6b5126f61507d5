import io
import os
import struct
import sys
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtstream.audio.open import open_audio
from rtstream.errors import AudioError

DATA = Path(__file__).parent.parent / "data"
TONE = (0.3 * np.sin(np.arange(24_000) / 7)).astype(np.float32)  # 1.5 s at 16 kHz


def read(path, **options) -> np.ndarray:
    """All samples, after checking that the blocks are contiguous."""
    with open_audio(path, **options) as audio:
        return collect(audio)[0]


def collect(audio) -> tuple[np.ndarray, AudioError | None]:
    pieces, position, error = [np.zeros(0, np.float32)], 0, None
    try:
        for block in audio:
            assert block.position == position
            assert block.samples.dtype == np.float32
            position += len(block.samples)
            pieces.append(block.samples)
    except AudioError as raised:
        error = raised
    return np.concatenate(pieces), error


def read_to_fault(path, **options) -> tuple[np.ndarray, str]:
    """The samples before the error that ends the iteration, and its message."""
    with open_audio(path, **options) as audio:
        samples, error = collect(audio)
    assert error is not None
    assert "\n" not in str(error)
    return samples, str(error)


def refusal(path, **options) -> str:
    with pytest.raises(AudioError) as raised:
        open_audio(path, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def wav(
    samples=TONE,
    *,
    rate=16_000,
    channels=1,
    data_bytes=None,
    riff_bytes=None,
    before=b"",
    after=b"",
    bits=16,
    coding=1,
) -> bytes:
    """A WAV file with whatever its header is to claim."""
    audio = samples if isinstance(samples, bytes) else (samples * 32767).astype("<i2").tobytes()
    align = channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, coding, channels, rate, rate * align % 2**32, align, bits)
    size = len(audio) if data_bytes is None else data_bytes
    body = form + before + struct.pack("<4sI", b"data", size) + audio + after
    return struct.pack("<4sI4s", b"RIFF", len(body) + 4 if riff_bytes is None else riff_bytes, b"WAVE") + body


@pytest.fixture
def stdin(monkeypatch):
    """Gives a function that makes bytes the standard input."""

    def put(data: bytes, stream=None):
        class Input:
            buffer = stream or io.BytesIO(data)
            closed = False

            def isatty(self):
                return False

        monkeypatch.setattr(sys, "stdin", Input())
        return "-"

    return put


# What is read


@pytest.mark.parametrize(
    ("form", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAVEX", "PCM_16", 1e-4),
        ("RF64", "PCM_16", 1e-4),
        ("WAV", "ULAW", 2e-2),
        ("WAV", "IMA_ADPCM", 5e-2),
        ("FLAC", "PCM_16", 1e-4),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("CAF", "PCM_16", 1e-4),
        ("CAF", "ALAC_16", 1e-4),
        ("NIST", "PCM_16", 1e-4),
        ("NIST", "ULAW", 2e-2),
        ("VOC", "PCM_16", 1e-4),
        ("W64", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 5e-2),
        ("OGG", "OPUS", 5e-2),
        ("MP3", "MPEG_LAYER_III", 5e-2),
    ],
)
def test_formats_are_read_complete_and_without_complaint(tmp_path, form, subtype, tolerance):
    path = tmp_path / "tone"
    sf.write(path, TONE, 16_000, format=form, subtype=subtype)
    with open_audio(path) as audio:
        duration = audio.duration
        samples, error = collect(audio)
    assert error is None
    assert duration == pytest.approx(len(samples) / 16_000)
    assert len(TONE) <= len(samples) <= len(TONE) + 1_200  # ADPCM fills its last block
    assert np.abs(samples[2_000:22_000] - TONE[2_000:22_000]).max() < tolerance


@pytest.mark.parametrize("bits", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_is_decoded_exactly_as_libsndfile_does(tmp_path, bits):
    path = tmp_path / "a.wav"
    sf.write(path, np.stack((TONE, -TONE / 2, TONE / 3), axis=1), 16_000, subtype=bits)
    expected, _ = sf.read(path, dtype="float32")
    assert np.allclose(read(path), expected.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count_becomes_16_khz_mono(tmp_path, rate, channels):
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
    path = tmp_path / "a.wav"
    sf.write(path, np.repeat(tone[:, None], channels, axis=1), rate)
    samples = read(path)
    assert len(samples) == 16_000
    assert np.abs(samples - 0.3 * np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000))[500:-500].max() < 1e-3


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block_seconds=st.floats(1e-5, 3), name=st.sampled_from(["44.wav", "44.flac", "44.ogg", "44.mp3", "44.adpcm"]))
def test_samples_do_not_depend_on_the_block_size(tmp_path_factory, block_seconds, name):
    path = tmp_path_factory.getbasetemp() / name
    if not path.exists():
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, (9_999, 2))
        options = {"44.adpcm": {"format": "WAV", "subtype": "IMA_ADPCM"}}.get(name, {})
        sf.write(path, noise, 44_100, **options)
    with open_audio(path, block_seconds=block_seconds) as audio:
        blocks = list(audio)
    assert {len(b.samples) for b in blocks[:-1]} <= {max(1, round(block_seconds * 16_000))}
    assert np.array_equal(np.concatenate([b.samples for b in blocks]), read(path))


def test_the_clips_that_ship_are_as_long_as_they_say():
    import json

    rows = [json.loads(line) for line in (DATA / "clips.jsonl").read_text().splitlines()]
    assert len(rows) >= 11
    for row in rows:
        with open_audio(DATA / row["file"]) as audio:
            assert audio.duration == pytest.approx(row["dur"], abs=1e-3)
            assert len(collect(audio)[0]) == pytest.approx(row["dur"] * 16_000, abs=16)
        assert row["licence"] in {"CC BY 4.0", "CC0 1.0", "public domain"}


def test_digital_silence_is_audio(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.zeros(5_000, np.float32)))
    assert np.array_equal(read(path), np.zeros(5_000))


def test_chunks_before_and_after_the_audio_are_passed_over(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(before=struct.pack("<4sI", b"LIST", 301) + bytes(302), after=b"id3 \x04\0\0\0abcd"))
    assert len(read(path)) == len(TONE)


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(seconds: int) -> int:
        path = tmp_path / f"{seconds}.wav"
        sf.write(path, np.zeros(44_100 * seconds), 44_100)
        tracemalloc.start()
        with open_audio(path) as audio:
            for _ in audio:
                pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(60) < peak(4) + 100_000


# Standard input and pipes


def test_wav_on_standard_input(stdin):
    samples = read(stdin(wav()))
    assert np.abs(samples - TONE).max() < 1e-4


@pytest.mark.parametrize(
    ("data_bytes", "riff_bytes"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
        (0x7FFFF000, 0x7FFFF024),  # sox
        (0x80000000, 0x80000024),  # arecord
        (0, 0),
        (0, 36),  # Python's wave
        (0, 0xFFFFFFFF),
    ],
)
def test_a_pipe_may_leave_the_length_open(stdin, data_bytes, riff_bytes):
    with open_audio(stdin(wav(data_bytes=data_bytes, riff_bytes=riff_bytes))) as audio:
        assert audio.duration is None
        samples, error = collect(audio)
    assert error is None
    assert len(samples) == len(TONE)


def test_a_pipe_that_cannot_seek_gives_blocks_as_they_come():
    reader, writer = os.pipe()
    data = wav(data_bytes=0xFFFFFFFF)
    with os.fdopen(writer, "wb", buffering=0) as source:
        source.write(data[: 44 + 3_200])
        with open_audio(f"/dev/fd/{reader}") as audio:
            blocks = iter(audio)
            assert len(next(blocks).samples) == 1_600  # nothing more was written yet
            writing = threading.Thread(target=lambda: (source.write(data[44 + 3_200 :]), source.close()))
            writing.start()
            assert sum(len(b.samples) for b in blocks) == len(TONE) - 1_600
            writing.join()
    os.close(reader)


def test_raw_pcm_needs_only_its_rate(stdin, tmp_path):
    pcm = (TONE * 32767).astype("<i2").tobytes()
    assert np.abs(read(stdin(pcm), raw_rate=16_000) - TONE).max() < 1e-4
    assert len(read(stdin(pcm), raw_rate=8_000)) == 2 * len(TONE)
    path = tmp_path / "a.pcm"
    path.write_bytes(pcm)
    with open_audio(path, raw_rate=16_000) as audio:
        assert audio.duration == 1.5
        assert len(collect(audio)[0]) == len(TONE)


def test_raw_pcm_that_ends_within_a_sample_is_read_and_reported(stdin):
    samples, message = read_to_fault(stdin(bytes(2_001)), raw_rate=16_000)
    assert len(samples) == 1_000
    assert "16-bit mono" in message


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "AIFF"])
@pytest.mark.parametrize("piped", [True, False])
def test_what_has_a_header_is_not_read_as_raw(stdin, tmp_path, format_, piped):
    path = tmp_path / "talk"
    sf.write(path, TONE, 16_000, format=format_)
    told = refusal(stdin(path.read_bytes()) if piped else path, raw_rate=16_000)
    assert f"it begins as {format_.replace('OGG', 'Ogg')}" in told
    assert "leave the rate out" in told


@pytest.mark.parametrize("begin", [b"\xff\xf1", b"\x0bw", b"\xff\xfb"])
def test_samples_may_look_like_short_marks(stdin, begin):
    assert len(read(stdin(begin + bytes(3_198)), raw_rate=16_000)) == 1_600


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001])
def test_an_impossible_raw_rate_is_refused(stdin, rate):
    assert str(rate) in refusal(stdin(bytes(100)), raw_rate=rate)


def test_other_formats_on_standard_input_are_named(stdin):
    assert "FLAC" in refusal(stdin((DATA / "cv-utica.flac").read_bytes()))
    assert "not WAV" in refusal(stdin(b"hello, this is text"))
    assert "compressed" in refusal(stdin(wav(coding=2, bits=4, channels=2)))


@pytest.mark.parametrize("name", ["cv-utica.flac", "cv-laundry.wav"])
def test_a_file_as_standard_input_may_have_any_format(monkeypatch, name):
    with (DATA / name).open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert np.array_equal(read("-"), read(DATA / name))
        sys.stdin.detach()


OTHERS = {
    "m4a": b"\0\0\0\x20ftypM4A \0\0\2\0",
    "WebM": b"\x1aE\xdf\xa3\x9f",
    "AAC": b"\xff\xf1\x60\x40\x1b\x5f\xfc",
    "WMA": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel",
    "AMR": b"#!AMR\n",
    "AVI": b"RIFF\0\0\1\0AVI LIST",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_named_with_the_way_to_read_them(tmp_path, stdin, kind):
    path = tmp_path / "my talk"
    path.write_bytes(OTHERS[kind] + np.random.default_rng(0).bytes(20_000))
    message = refusal(path)
    assert kind in message
    assert f"ffmpeg -i '{path}' -f wav - | rtstream replay -" in message
    message = refusal(stdin(path.read_bytes()))
    assert kind in message
    assert "ffmpeg -i FILE -f wav - | rtstream replay -" in message


def test_empty_closed_and_terminal_standard_input_are_reported(stdin, monkeypatch):
    assert "empty" in refusal(stdin(b""))
    monkeypatch.setattr(sys, "stdin", None)
    assert "closed" in refusal("-")
    stdin(b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert "terminal" in refusal("-")


def test_standard_input_stays_open(stdin):
    assert len(read(stdin(wav()))) == len(TONE)
    assert not sys.stdin.buffer.closed


def test_a_header_without_audio_is_an_error_on_a_pipe(stdin):
    samples, message = read_to_fault(stdin(wav(b"", data_bytes=0xFFFFFFFF)))
    assert not len(samples)
    assert "no audio" in message


# Header sizes are hints


def both(path: Path, stdin, data: bytes):
    """The same bytes as a file and through a pipe."""
    path.write_bytes(data)
    return (path, stdin(data))


@pytest.mark.parametrize("data_bytes", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFD3, 0x7FFFFFFF])
@pytest.mark.parametrize("riff_bytes", [None, 0, 36, 0x7FFFF024, 0xFFFFFFFF])
def test_sizes_that_a_writer_left_open_are_complete_when_the_bytes_end(tmp_path, stdin, data_bytes, riff_bytes):
    for source in both(tmp_path / "a.wav", stdin, wav(data_bytes=data_bytes, riff_bytes=riff_bytes)):
        assert np.abs(read(source) - TONE).max() < 1e-4


@pytest.mark.parametrize("data_bytes", [2, 16_000, 47_990])
@pytest.mark.parametrize("riff_bytes", [None, 16_036, 0xFFFFFFFF])
def test_audio_behind_a_length_that_is_too_small_is_read(tmp_path, stdin, data_bytes, riff_bytes):
    """As in files of more than 4 GiB, whose length is what is left of it in 32 bits."""
    for source in both(tmp_path / "a.wav", stdin, wav(data_bytes=data_bytes, riff_bytes=riff_bytes)):
        assert np.abs(read(source) - TONE).max() < 1e-4


@pytest.mark.parametrize("length", [3, 4, 301])
@pytest.mark.parametrize("cut", [0, 2])
def test_chunks_behind_the_audio_are_no_audio_nor_is_what_is_left_of_one(tmp_path, stdin, length, cut):
    tag = struct.pack("<4sI", b"LIST", length) + bytes([65] * (length + length % 2))
    data = wav(after=tag + tag)
    for source in both(tmp_path / "a.wav", stdin, data[: len(data) - cut]):
        assert len(read(source)) == len(TONE)


def test_a_second_chunk_of_audio_is_read(tmp_path, stdin):
    more = (TONE[:8_000] * 32767).astype("<i2").tobytes()
    after = struct.pack("<4sI4s", b"LIST", 4, b"INFO") + struct.pack("<4sI", b"data", len(more)) + more
    for source in both(tmp_path / "a.wav", stdin, wav(after=after)):
        assert np.abs(read(source) - np.concatenate((TONE, TONE[:8_000]))).max() < 1e-4


def test_a_length_that_could_be_true_is_a_promise(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(data_bytes=3_000_000_000))
    samples, message = read_to_fault(path)
    assert len(samples) == len(TONE)
    assert "truncated" in message
    assert "26.0 h" in message


def test_what_libsndfile_finds_odd_is_no_damage(tmp_path):
    """Its log tells also of other numbers that should be different, and of junk at the end."""
    path = tmp_path / "a.wav"
    sf.write(path, TONE, 16_000, subtype="ULAW")
    data = bytearray(path.read_bytes())
    data[28:32] = (88_200).to_bytes(4, "little")  # bytes per second
    at = data.index(b"data") + 4
    for claim in (data[at : at + 4], b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"):
        data[at : at + 4] = claim
        path.write_bytes(data + b"\x11\x22" * (500 if claim[0] != 0xFF else 0))
        assert len(read(path)) >= len(TONE)


# Recordings one behind the other


def encoded(samples, form, subtype=None, rate=16_000, **options) -> bytes:
    file = io.BytesIO()
    with sf.SoundFile(file, "w", rate, samples.ndim, format=form, subtype=subtype, **options) as writer:
        writer.write(samples)
    return file.getvalue()


def mp3(samples, *, promised=True, **options) -> bytes:
    """MP3 with or without the first frame that tells the number of frames."""
    data = encoded(samples, "MP3", **options)
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    return data if promised else data[data.index(data[:2], tag) :]


def loud(samples) -> np.ndarray:
    """The tenths of a second in which there is sound."""
    return (np.abs(samples[: len(samples) // 1_600 * 1_600]).reshape(-1, 1_600).max(axis=1) > 0.1).nonzero()[0]


SECOND = np.concatenate((0.3 * np.sin(np.arange(8_000) / 7), np.zeros(8_000))).astype(np.float32)
"""Half a second of sound, half a second of silence."""
THREE_SECONDS = [n for second in range(3) for n in range(10 * second, 10 * second + 5)]
TAG = b"ID3\x04\0\0\0\0\0\x63" + b"\xff\xfb\x90" * 33
JOINED = {
    "wav": wav,
    "wav of open length": lambda samples: wav(samples, data_bytes=0xFFFFFFFF, riff_bytes=0xFFFFFFFF),
    "mu-law": lambda samples: encoded(samples, "WAV", "ULAW"),
    "aiff": lambda samples: encoded(samples, "AIFF", "PCM_16"),
    "flac": lambda samples: encoded(samples, "FLAC"),
    "vorbis": lambda samples: encoded(samples, "OGG", "VORBIS"),
    "opus": lambda samples: encoded(samples, "OGG", "OPUS"),
    "mp3": mp3,
    "mp3 without length": lambda samples: mp3(samples, promised=False),
    "mp3 with tags": lambda samples: TAG + mp3(samples) + b"TAG".ljust(128),
}


@pytest.mark.parametrize("kind", JOINED)
def test_recordings_that_were_joined_are_all_read(tmp_path, kind):
    path = tmp_path / "joined"
    path.write_bytes(JOINED[kind](SECOND) + JOINED[kind](np.tile(SECOND, 2)))
    samples = read(path)
    assert len(samples) == pytest.approx(48_000, abs=4_000)
    if "without" not in kind and "open" not in kind:
        assert list(loud(samples)) == THREE_SECONDS


def test_joined_recordings_need_not_have_the_same_rate_and_channels(tmp_path, stdin):
    first, second = wav(SECOND), wav(np.repeat(SECOND, 4), rate=32_000, channels=2)
    for source in both(tmp_path / "a.wav", stdin, first + second + first):
        samples = read(source)
        assert len(samples) == 48_000
        assert list(loud(samples)) == THREE_SECONDS
    path = tmp_path / "a.mp3"
    other = np.repeat(SECOND, 2)
    for promised in (True, False):
        both_kinds = mp3(SECOND, promised=promised) + mp3(
            np.stack((other, other), axis=1), rate=32_000, promised=promised
        )
        path.write_bytes(both_kinds)
        assert len(read(path)) == pytest.approx(32_000, abs=6_000)


def test_an_ogg_file_of_many_streams_is_read_whole(tmp_path):
    path = tmp_path / "radio.ogg"
    path.write_bytes(b"".join(encoded(SECOND[: 16_000 - 500 * n], "OGG", "VORBIS") for n in range(12)))
    assert len(read(path)) == sum(16_000 - 500 * n for n in range(12))


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (wav(SECOND)[:30], "header"),
        (wav(SECOND, channels=0), "0 channels"),
        (wav(coding=2, bits=4, channels=2), "compressed"),
    ],
)
def test_a_recording_behind_another_that_cannot_be_read_is_told(tmp_path, stdin, second, why):
    for source in both(tmp_path / "a.wav", stdin, wav(SECOND) + second):
        samples, message = read_to_fault(source)
        assert len(samples) == 16_000
        assert "another recording follows" in message
        assert why in message


def test_the_first_of_two_recordings_that_is_cut_short_takes_nothing_from_the_second(tmp_path):
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    first = encoded(noise, "FLAC")
    path.write_bytes(first[: len(first) // 2] + encoded(SECOND, "FLAC"))
    samples, message = read_to_fault(path)
    assert 16_000 + 16_000 < len(samples) < 16_000 + 32_000
    assert np.abs(samples[-16_000:] - SECOND).max() < 1e-4
    assert "truncated" in message


# MP3


@pytest.mark.parametrize("bitrate_mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("loud_first", [True, False])
def test_mp3_that_does_not_say_how_long_it_is_is_read_whole(tmp_path, capfd, bitrate_mode, loud_first):
    """Decoders guess the length from the first frames, and libsndfile stops there: most of it would be lost."""
    path = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 64_000)
    noise[slice(16_000, None) if loud_first else slice(48_000)] = 0
    path.write_bytes(mp3(noise, promised=False, bitrate_mode=bitrate_mode, compression_level=0.3))
    assert 64_000 <= len(read(path)) <= 66_000
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("before", [b"\0" * 5_000, b"\0" * 3_000_000, b"\x12\xff\xfb\x90\x03" * 9])
@pytest.mark.parametrize("promised", [True, False])
def test_mp3_may_begin_with_zeros_or_within_a_frame(tmp_path, capfd, before, promised):
    path = tmp_path / "a"
    path.write_bytes(before + mp3(SECOND, promised=promised))
    assert 16_000 <= len(read(path)) <= 18_000
    assert capfd.readouterr().err == ""


def test_mp3_with_a_hole_is_read_before_and_behind_it_and_reported(tmp_path, capfd):
    path = tmp_path / "a.mp3"
    data = mp3(np.tile(SECOND, 60), promised=False)
    hole = bytes(40_000)
    path.write_bytes(data[:100_000] + hole + data[140_000:])
    samples, message = read_to_fault(path)
    assert len(samples) > 16_000 * 60 * (1 - 45_000 / len(data))
    assert "no MP3" in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("left", [1_500, 3_000])
def test_the_first_of_two_mp3_that_is_cut_short_takes_nothing_from_the_second(tmp_path, capfd, left):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(np.tile(SECOND, 3))[:left] + mp3(SECOND))
    samples, message = read_to_fault(path)
    assert len(samples) > 16_000
    assert list(loud(samples[-16_000:])) == [0, 1, 2, 3, 4]
    assert "truncated" in message
    assert capfd.readouterr().err == ""


def test_mp3_with_tags_at_its_end_is_complete(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(SECOND) + b"APETAGEX" + bytes(range(256)) * 200 + b"TAG".ljust(128))
    assert len(read(path)) == 16_000


# The scale of floats


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("block_seconds", [0.003, 0.1, 10])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_floats_in_the_scale_of_integers_are_brought_to_full_scale(tmp_path, bits, block_seconds, rate):
    noise = np.random.default_rng(0).integers(-3 << (bits - 16), 4 << (bits - 16), rate)
    noise[: rate // 4] = 0
    speech = noise + np.rint(2 ** (bits - 1) * 0.3 * np.sin(np.arange(rate) / 7)) * (np.arange(rate) > rate // 2)
    path = tmp_path / "a.wav"
    sf.write(path, speech / 2 ** (bits - 1), rate, subtype=f"PCM_{bits}")
    expected = read(path)
    sf.write(path, speech, rate, subtype="FLOAT")
    if bits == 16:
        assert np.abs(read(path, block_seconds=block_seconds) - expected).max() < 1e-6
    else:  # quiet at first, as 16 bits are: it is said what is wrong
        assert "integers" in read_to_fault(path, block_seconds=block_seconds)[1]


def test_floats_of_24_bits_are_known_by_a_loud_begin(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.rint(TONE * 2**23), 16_000, subtype="FLOAT")
    assert np.abs(read(path) - TONE).max() < 1e-6


def test_floats_beyond_full_scale_stay_as_they_are(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, TONE * 20, 16_000, subtype="FLOAT")
    assert np.abs(read(path) - TONE * 20).max() < 1e-5


# What is refused


def test_a_path_that_cannot_be_read_is_an_error_that_says_why(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.wav")
    assert "directory" in refusal(tmp_path)
    assert "cannot be opened" in refusal("a\0b")
    assert "cannot be opened" in refusal(tmp_path / ("x" * 300))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be opened" in refusal(loop)


def test_a_file_without_permission_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav())
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65_534)  # root may read everything
        assert "permission" in refusal(path)
    finally:
        os.seteuid(user)


def test_a_name_with_odd_bytes_stays_on_one_line(tmp_path):
    message = refusal(os.fsdecode(os.fsencode(tmp_path) + b"/a\nb\xff\x1b[31m.wav"))
    assert message.isprintable()
    message.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n" * 1_000,
        b"\0" * 10_000,
        np.random.default_rng(0).bytes(50_000),
        b"RIFF",
        b"RIFF\0\0\0\0AVI LIST",
        b"fLaC" + bytes(100),
        b"OggS" + bytes(100),
        b"ID3\x04" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(1_000),
        wav()[:20],
        wav()[:40],
    ],
)
def test_what_is_not_audio_is_refused(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert str(path) in refusal(path)


def test_an_empty_file_and_a_file_without_samples_are_told_apart(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"")
    assert "empty" in refusal(path)
    assert "empty" in refusal(path, raw_rate=16_000)
    path.write_bytes(b"\0")
    assert "no audio" in refusal(path, raw_rate=16_000)
    path.write_bytes(wav(b""))
    assert "no audio" in refusal(path)
    path.write_bytes(wav(b"", after=b"LIST\4\0\0\0INFO"))
    assert "no audio" in read_to_fault(path)[1]
    sf.write(path, np.zeros(0), 16_000, format="AIFF")
    assert "no audio" in refusal(path)


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ({"channels": 0}, "0 channels"),
        ({"channels": 60_000, "bits": 8}, "60000 channels"),
        ({"rate": 0}, "0 Hz"),
        ({"rate": 768_001}, "768001 Hz"),
        ({"rate": 4_294_967_295}, "4294967295 Hz"),
        ({"bits": 0}, "0 bits"),
        ({"bits": 64}, "64 bits"),
    ],
)
def test_a_header_with_absurd_numbers_is_refused(tmp_path, stdin, numbers, named):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(**numbers))
    assert named in refusal(path)
    assert named in refusal(stdin(wav(**numbers)))


@pytest.mark.parametrize("size", [0xFFFFFFF0, 100 << 20])
def test_a_header_that_claims_to_be_huge_costs_neither_time_nor_memory(tmp_path, size):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(before=struct.pack("<4sI", b"LIST", size)))
    tracemalloc.start()
    assert "header" in refusal(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


def test_an_endless_header_is_given_up(stdin):
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            self.given += size
            return wav()[:36][:size] if self.given <= 36 else b"junk\xff\xff\xff\xff"[:size].ljust(size, b"x")

    endless = Endless()
    assert "MiB" in refusal(stdin(b"", endless))
    assert endless.given < 70 << 20


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(["a.wav", "a.flac", "a.ogg", "a.mp3"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    length=st.integers(0, 4_000),
)
def test_a_damaged_file_gives_audio_or_a_one_line_error_and_nothing_else(tmp_path_factory, seed, changes, length):
    original = tmp_path_factory.getbasetemp() / seed
    if not original.exists():
        sf.write(original, TONE[:1_500], 16_000)
    data = bytearray(original.read_bytes()[:length])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    path = original.with_name("damaged-" + seed)
    path.write_bytes(data)
    message = f"{path}: fine"
    try:
        with open_audio(path) as audio:
            for block in audio:
                assert np.isfinite(block.samples).all()
    except AudioError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


# What shows only at the end


@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_truncated_wav_gives_every_sample_and_then_the_error(tmp_path, stdin, share, channels):
    frames = np.random.default_rng(0).uniform(-0.5, 0.5, (24_000, channels))
    path = tmp_path / "a.wav"
    sf.write(path, frames, 16_000)
    data = path.read_bytes()
    left = int((len(data) - 44) * share) // (2 * channels)
    path.write_bytes(data[: 44 + left * 2 * channels + channels])  # and a part of a frame
    for source in (path, stdin(path.read_bytes())):
        samples, message = read_to_fault(source)
        assert len(samples) == left
        assert "truncated" in message
        assert "1.50 s" in message


@pytest.mark.parametrize("form", ["FLAC", "AIFF", "AU", "W64", "MP3", "OGG", "CAF", "NIST", "VOC", "SVX"])
def test_other_truncated_files_give_what_is_left_and_then_the_error(tmp_path, form):
    path = tmp_path / "a"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)
    sf.write(path, noise, 16_000, format=form)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    samples, message = read_to_fault(path)
    # Ogg's pages are long, and a page counts only when complete.
    assert (10_000 if form == "OGG" else 24_000) <= len(samples) <= 29_500
    assert "truncated" in message
    if form in {"FLAC", "CAF", "NIST"}:
        assert np.abs(samples - noise[: len(samples)]).max() < 1e-4


@pytest.mark.parametrize(
    ("form", "name", "length"),
    [("CAF", b"data", b"\xff" * 8), ("CAF", b"data", b"\x7f" + b"\xff" * 7), ("NIST", b"sample_count -i ", b"0    ")],
)
def test_other_files_whose_length_is_left_open_are_read_to_their_end(tmp_path, form, name, length):
    path = tmp_path / "a"
    sf.write(path, TONE, 16_000, format=form)
    data = path.read_bytes()
    place = data.index(name) + len(name)
    path.write_bytes(data[:place] + length + data[place + len(length) :])
    samples, error = collect(open_audio(path))
    assert error is None
    assert len(samples) == len(TONE)


def test_a_flac_whose_length_is_unknown_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, TONE, 16_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples; ffmpeg leaves them 0 on a pipe
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with open_audio(path) as audio:
        assert audio.duration is None
        samples, error = collect(audio)
    assert error is None
    assert len(samples) == len(TONE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("block_seconds", [0.01, 0.1, 10])
def test_a_sample_that_is_not_finite_is_reported_with_its_position_after_all_before_it(
    tmp_path, value, rate, block_seconds
):
    frames = np.full((rate, 2), 0.1, np.float32)
    frames[rate // 4, 1] = value
    path = tmp_path / "a.wav"
    sf.write(path, frames, rate, subtype="FLOAT")
    samples, message = read_to_fault(path, block_seconds=block_seconds)
    assert len(samples) == 4_000
    assert np.isfinite(samples).all()
    assert "0.25 s" in message


def test_a_double_too_large_for_float_is_reported(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.array([0.1, 1e200]), 16_000, subtype="DOUBLE")
    samples, message = read_to_fault(path)
    assert len(samples) == 1
    assert "inf" in message


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("first", [True, False])
def test_a_signalling_nan_is_reported_in_one_line_and_without_a_warning(stdin, bits, first):
    signalling = {32: b"\1\0\x80\x7f", 64: b"\1\0\0\0\0\0\xf0\x7f"}[bits]
    before = np.full(0 if first else 4_000, 0.1, f"<f{bits // 8}").tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples, message = read_to_fault(stdin(wav(before + signalling, bits=bits, coding=3)))
    assert len(samples) == (0 if first else 4_000)
    assert "is nan, not audio" in message


def test_a_device_that_fails_keeps_what_was_read(stdin):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 20_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    samples, message = read_to_fault(stdin(b"", Failing(wav())))
    assert len(samples) > 9_000
    assert "Input/output error" in message
