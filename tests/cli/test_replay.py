"""What ``rtstream replay`` prints, and what it makes of files that are not as they should be."""

import contextlib
import io
import itertools
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pyte
import pytest
import soundfile as sf

from rtstream.cli.main import main
from rtstream.cli.options import BEAM, BEAMS, CHUNKS_MS, ENGINES, GATES, RecognizerOptions
from rtstream.errors import AudioError
from tests.recognizer.tiny_bundle import DATA
from tests.vad.recordings import needs_silero

CLIP = DATA / "cv-telephone.wav"  # 3.4 s
LINE = re.compile(r"\[\d\d:\d\d\.\d\d - \d\d:\d\d\.\d\d\] \S.*")
pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.fixture
def replay(capsys):
    """Run the program in this process: exit code, lines of output, standard error."""

    def run(*arguments):
        code = main(["replay", "--partials", "ctc", "--engine", "float", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def talk(tmp_path_factory):
    """Two sentences and a pause: two segments, 10 s."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    pause = np.zeros(16_000)
    samples = [sf.read(CLIP)[0], pause, sf.read(DATA / "lj-high-wall.flac")[0]]
    sf.write(path, np.concatenate(samples), 16_000)
    return path


def finals(out):
    return [json.loads(line) for line in out.splitlines() if '"final"' in line]


def process(*arguments, **options):
    """Start the program as a process of its own."""
    program = "import sys; from rtstream.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "replay", "--partials", "ctc", "--engine", "float", *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


class TestFormats:
    def test_text_is_the_finals_with_their_times(self, replay, talk):
        code, out, err = replay(talk)
        assert (code, err) == (0, "")
        assert len(out.splitlines()) == 2
        assert all(LINE.fullmatch(line) for line in out.splitlines())

    def test_text_with_words_has_a_line_for_each(self, replay, talk):
        out = replay("--words", talk)[1]
        words = [line.split() for line in out.splitlines() if not line.startswith("[")]
        assert [word[3] for word in words] == [
            word for line in out.splitlines() if line.startswith("[") for word in line.partition("] ")[2].split()
        ]

    def test_jsonl_has_partials_that_grow_and_a_final_for_each_segment(self, replay, talk):
        code, out, err = replay("--format", "jsonl", talk)
        assert (code, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        for _, group in itertools.groupby(lines, lambda line: line["segment"]):
            *partials, final = group
            assert [line["type"] for line in (*partials, final)] == ["partial"] * len(partials) + ["final"]
            assert len(partials) > 1
            for before, after in itertools.pairwise(partials):
                assert after["text"].startswith(before["text"])
                assert after["end"] > before["end"]
            assert {line["start"] for line in partials} == {final["start"]}
        for line in lines:
            more = ["confidence"] if line["type"] == "final" else []
            assert list(line) == ["type", "segment", "start", "end", "text", "language", *more]
            assert line["start"] == round(line["start"], 3) < line["end"] == round(line["end"], 3)

    def test_jsonl_with_words_has_their_times_within_the_segment(self, replay, talk):
        for line in map(json.loads, replay("--format", "jsonl", "--words", talk)[1].splitlines()):
            assert " ".join(word["word"] for word in line["words"]) == line["text"]
            for word in line["words"]:
                assert list(word) == ["word", "start", "end", "confidence"]
                assert line["start"] <= word["start"] <= word["end"]
                assert 0 <= word["confidence"] <= 1

    def test_no_partials_leaves_the_same_finals(self, replay, talk):
        all_events = replay("--format", "jsonl", talk)[1]
        assert replay("--format", "jsonl", "--no-partials", talk)[1].splitlines() == [
            line for line in all_events.splitlines() if '"final"' in line
        ]

    def test_srt_is_numbered_and_within_the_recording(self, replay, talk):
        code, out, err = replay("--format", "srt", talk)
        assert (code, err) == (0, "")
        blocks = out.strip().split("\n\n")
        assert [block.splitlines()[0] for block in blocks] == [str(n + 1) for n in range(len(blocks))]
        assert all(re.fullmatch(r"00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}", block.splitlines()[1]) for block in blocks)

    def test_vtt_has_its_header(self, replay, talk):
        code, out, _ = replay("--format", "vtt", talk)
        assert code == 0
        assert out.startswith("WEBVTT\n\n00:00:0")

    @pytest.mark.parametrize("format_", ["srt", "vtt"])
    def test_captions_of_several_files_are_refused(self, replay, format_, talk):
        code, out, err = replay("--format", format_, talk, talk)
        assert (code, out) == (2, "")
        assert "one FILE at a time" in err

    @pytest.mark.parametrize("chunk_ms", [320, 640, 1280])
    def test_longer_chunks_give_fewer_partials(self, replay, talk, chunk_ms):
        out = replay("--format", "jsonl", "--chunk-ms", chunk_ms, talk)[1]
        ends = [json.loads(line)["end"] for line in out.splitlines() if '"partial"' in line]
        assert ends
        first = finals(out)[0]["start"]
        assert all(round((end - first) * 1000) % chunk_ms == 0 for end in ends if end < 4)


class TestSources:
    def test_events_name_their_file_if_there_are_several(self, replay, talk):
        code, out, _ = replay("--format", "jsonl", talk, CLIP, talk)
        assert code == 0
        files = [json.loads(line)["file"] for line in out.splitlines()]
        assert [name for name, _ in itertools.groupby(files)] == [str(talk), str(CLIP), str(talk)]
        single = finals(replay("--format", "jsonl", talk)[1])
        assert [{k: v for k, v in line.items() if k != "file"} for line in finals(out)[-2:]] == single

    def test_text_of_several_files_stands_below_their_names(self, replay, talk):
        lines = replay(talk, CLIP)[1].splitlines()
        assert [lines[0], lines[3]] == [f"{talk}:", f"{CLIP}:"]
        assert len(lines) == 5

    @pytest.mark.parametrize(
        "encoding",
        [
            ("flac", None, 48_000, 2),
            ("ogg", "VORBIS", 22_050, 1),
            ("aiff", "PCM_24", 8_000, 3),
            ("wav", "FLOAT", 96_000, 1),
        ],
    )
    def test_any_format_rate_and_channel_count(self, replay, tmp_path, encoding):
        format_, subtype, rate, channels = encoding
        import soxr

        samples = soxr.resample(sf.read(CLIP)[0], 16_000, rate)
        path = tmp_path / f"talk.{format_}"
        sf.write(path, np.stack([samples] * channels, axis=1), rate, subtype)
        code, out, err = replay(path)
        assert (code, err) == (0, "")
        assert LINE.match(out)

    def test_standard_input_may_be_wav_or_raw(self, replay, monkeypatch, talk):
        wanted = replay("--format", "jsonl", talk)[1]
        samples = sf.read(talk, dtype="int16")[0]
        for content, options in ((talk.read_bytes(), ()), (samples.tobytes(), ("--rate", 16_000))):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            assert replay("--format", "jsonl", *options, "-") == (0, wanted, "")

    def test_realtime_takes_as_long_as_the_recording_and_says_the_same(self, replay):
        fast = replay("--format", "jsonl", CLIP)[1]
        start = time.monotonic()
        assert replay("--format", "jsonl", "--realtime", CLIP)[1] == fast
        assert time.monotonic() - start > 3.3


BAD = {
    "missing": "no such file",
    "directory": "is a directory",
    "empty": "is empty",
    "no audio": "holds no audio",
    "text": "not audio",
    "header cut": "header",
    "absurd header": "header",
    "silent": "no speech was found in its 5.00 s",
}
"""What may be wrong with a file from its begin on, and what must be said of it."""


def damaged(path, kind, good):
    """Make such a file, perhaps from the content of a good one."""
    content = {
        "empty": b"",
        "text": b"Once upon a time there was a file.\n" * 50,
        "header cut": good[:30],
        "absurd header": good[:24] + b"\xff\xff\xff\xff" + good[28:],
    }
    if kind in content:
        path.write_bytes(content[kind])
    elif kind == "directory":
        path.mkdir()
    elif kind != "missing":
        sf.write(path, np.zeros(0 if kind == "no audio" else 5 * 16_000), 16_000)
    return path


class TestBadFiles:
    @pytest.mark.parametrize("kind", BAD)
    def test_bad_file_is_one_line_and_exit_code_1(self, replay, tmp_path, talk, kind):
        path = damaged(tmp_path / "bad.wav", kind, talk.read_bytes())
        code, out, err = replay(path)
        assert (code, out) == (1, "")
        assert err.startswith("rtstream: error: ")
        assert err.count("\n") == 1
        assert str(path) in err
        assert BAD[kind] in err

    def test_others_go_on(self, replay, tmp_path, talk):
        bad = [damaged(tmp_path / f"{kind}.wav", kind, talk.read_bytes()) for kind in BAD]
        code, out, err = replay("--format", "jsonl", *bad[:4], talk, *bad[4:], CLIP)
        assert code == 1
        assert [line["file"] for line in finals(out)] == [str(talk)] * 2 + [str(CLIP)]
        assert all(str(path) in line for line, path in zip(err.splitlines(), bad, strict=True))

    def test_truncated_file_gives_all_that_is_left_and_then_the_error(self, replay, tmp_path, talk):
        path = tmp_path / "cut.wav"
        path.write_bytes(talk.read_bytes()[: 44 + 2 * 6 * 16_000])
        whole = tmp_path / "whole.wav"
        sf.write(whole, sf.read(talk, dtype="int16")[0][: 6 * 16_000], 16_000)
        code, out, err = replay("--format", "jsonl", path)
        assert code == 1
        assert "truncated" in err
        assert err.count("\n") == 1
        assert out == replay("--format", "jsonl", whole)[1]
        assert len(finals(out)) == 2

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_stands_before_a_sample_that_is_no_number_is_kept(self, replay, tmp_path, talk, value):
        samples = sf.read(talk, dtype="float32")[0]
        samples[6 * 16_000] = value
        path = tmp_path / "nan.wav"
        sf.write(path, samples, 16_000, "FLOAT")
        code, out, err = replay("--format", "jsonl", path)
        assert code == 1
        assert (
            err
            == f"rtstream: error: {path}: the sample at 6.00 s is {value:g}, not audio: " + err.partition("audio: ")[2]
        )
        assert [line["end"] for line in finals(out)] == [pytest.approx(4.2, abs=0.5), 6.0]

    def test_damage_after_silence_is_reported_as_damage(self, replay, tmp_path):
        samples = np.zeros(32_000, np.float32)
        samples[-1] = np.nan
        sf.write(tmp_path / "nan.wav", samples, 16_000, "FLOAT")
        err = replay(tmp_path / "nan.wav")[2]
        assert "nan" in err
        assert "no speech" not in err

    @pytest.mark.parametrize("kind", ["length 0", "length left open", "length too small", "joined"])
    def test_audio_that_the_header_does_not_tell_of_is_read_from_files_and_pipes(self, replay, tmp_path, talk, kind):
        good = talk.read_bytes()
        path = tmp_path / "odd.wav"
        lengths = {"length 0": 0, "length left open": 0xFFFFFFFF, "length too small": 64_000}
        clips = [good]
        if kind == "joined":
            clips = [good, CLIP.read_bytes()]
            path.write_bytes(b"".join(clips))
        else:
            path.write_bytes(good[:40] + lengths[kind].to_bytes(4, "little") + good[44:])
        whole = tmp_path / "whole.wav"
        sf.write(whole, np.concatenate([sf.read(io.BytesIO(clip), dtype="int16")[0] for clip in clips]), 16_000)
        wanted = replay("--format", "jsonl", "--no-partials", whole)
        assert wanted[0] == 0
        assert replay("--format", "jsonl", "--no-partials", path) == wanted
        with process("--format", "jsonl", "--no-partials", "-", stdin=subprocess.PIPE) as piped:
            out, err = piped.communicate(path.read_bytes())
        assert (piped.returncode, out.decode(), err) == (0, wanted[1], b"")

    @pytest.mark.parametrize("format_", ["text", "srt", "jsonl"])
    def test_damage_on_a_pipe_is_told_behind_the_finals(self, tmp_path, talk, format_):
        samples = sf.read(talk, dtype="float32")[0]
        samples[6 * 16_000] = np.nan
        path = tmp_path / "nan.wav"
        sf.write(path, samples, 16_000, "FLOAT")
        with process("--format", format_, "--no-partials", "-", stdin=subprocess.PIPE) as piped:
            out, err = piped.communicate(path.read_bytes())
        assert piped.returncode == 1
        assert len(out.splitlines()) >= 2
        assert err.startswith(b"rtstream: error: standard input: the sample at 6.00 s is nan")
        assert err.count(b"\n") == 1

    def test_error_of_the_disk_while_reading_is_one_of_that_file(self, replay, monkeypatch, talk):
        from rtstream.audio.open import AudioFile

        whole = AudioFile.__iter__

        def failing(self):
            yield from itertools.islice(whole(self), 60)
            raise AudioError("disk on fire")

        monkeypatch.setattr(AudioFile, "__iter__", failing)
        code, out, err = replay("--format", "jsonl", talk)
        assert (code, err) == (1, "rtstream: error: disk on fire\n")
        assert len(finals(out)) == 2

    def test_name_that_is_no_text_is_shown_escaped(self, replay, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.wav")
        with open(path, "wb") as file, CLIP.open("rb") as clip:  # noqa: PTH123 - pathlib would do as well
            file.write(clip.read())
        code, out, _ = replay("--format", "jsonl", path, CLIP)
        assert code == 0
        assert finals(out)[0]["file"].endswith("\\xff\n.wav")
        assert replay(path, CLIP)[1].splitlines()[0].endswith("\\xff\\n.wav:")


class TestOptions:
    def test_missing_model_is_named(self, replay, tmp_path):
        code, out, err = replay("--model", tmp_path / "nowhere", CLIP)
        assert (code, out) == (1, "")
        assert str(tmp_path / "nowhere") in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments",
        [("--chunk-ms", "500"), ("--threads", "0"), ("--rate", "-1"), ("--format", "doc"), ("--engine", "gpu")],
    )
    def test_value_that_is_not_allowed_is_a_usage_error(self, replay, arguments):
        code, out, err = replay(*arguments, CLIP)
        assert (code, out) == (2, "")
        assert arguments[0] in err

    @pytest.mark.parametrize("phrase", ["x=abc", "Grafana=9", "C++", "AI", "", "a" * 99])
    def test_phrase_that_is_none_is_a_usage_error(self, replay, phrase):
        code, out, err = replay("--phrase", phrase, CLIP)
        assert (code, out) == (2, "")
        assert "'--phrase'" in err
        assert "Traceback" not in err

    def test_phrases_are_written_as_they_are_given(self, replay):
        (final,) = finals(replay("--format", "jsonl", CLIP)[1])
        word = max(final["text"].split(), key=len)
        (spelt,) = finals(replay("--format", "jsonl", "--phrase", f"{word.upper()}=0.1", CLIP)[1])
        assert word.upper() in spelt["text"].split()
        assert spelt["text"].lower() == final["text"]

    @pytest.mark.parametrize("beam", [1, 3])
    def test_partials_grow_whatever_the_beam(self, replay, beam):
        events = [json.loads(line) for line in replay("--format", "jsonl", "--beam", beam, CLIP)[1].splitlines()]
        texts = [event["text"] for event in events if event["type"] == "partial"]
        assert len(texts) > 1
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
        assert RecognizerOptions(beam=beam).load().config.beam == beam

    def test_engine_and_threads_reach_torch(self):
        import torch

        from rtstream.nn.quantized import ENGINES as INT8_ENGINES

        before = torch.get_num_threads()
        try:
            assert RecognizerOptions(engine="float", threads=2).load().engine.name == "float"
            assert torch.get_num_threads() == 2
            assert RecognizerOptions(engine="torch", threads=1).load().engine.name in INT8_ENGINES
            assert torch.get_num_threads() == 1
        finally:
            torch.set_num_threads(before)

    def test_engines_are_those_that_the_model_knows(self):
        from rtstream.config import Recognition
        from rtstream.nn.quantized import ENGINES as INT8_ENGINES
        from rtstream.recognizer.recognizer import BEAMS as KNOWN_BEAMS
        from rtstream.recognizer.recognizer import CHUNKS_MS as TRAINED_CHUNKS_MS
        from rtstream.recognizer.recognizer import RecognizerConfig

        assert BEAMS == KNOWN_BEAMS
        assert RecognizerConfig().beam == BEAM == Recognition().beam
        assert set(ENGINES) == {"auto", "onnx", "torch", "float", *INT8_ENGINES}
        assert tuple(map(int, CHUNKS_MS)) == TRAINED_CHUNKS_MS

    def test_gates_are_those_of_the_settings(self):
        from typing import get_args

        from rtstream.config import Vad

        assert get_args(Vad.model_fields["engine"].annotation) == GATES

    @needs_silero
    def test_another_gate_hears_the_same_sentences(self, replay, talk):
        code, out, err = replay("--vad", "silero", talk)
        assert (code, err) == (0, "")
        assert len(out.splitlines()) == 2
        assert out != replay("--vad", "webrtc", talk)[1]

    def test_gate_that_cannot_be_loaded_is_one_line(self, replay, monkeypatch, talk):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        monkeypatch.delitem(sys.modules, "rtstream.onnx_runtime", raising=False)
        code, out, err = replay("--vad", "silero", talk)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "pip install onnxruntime" in err

    def test_help_does_without_torch(self):
        program = """
import sys
from rtstream.cli.main import main
for command in ("replay", "bench"):
    assert main([command, "--help"]) == 0
sys.exit(", ".join({"torch", "numpy", "soundfile"} & sys.modules.keys()) or 0)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


class Terminal(io.StringIO):
    """Keeps what is shown."""

    def isatty(self):
        return True


class TestOutput:
    def test_full_disk_is_one_line(self, replay, talk, monkeypatch):
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
            monkeypatch.setattr(sys, "stdout", full)
            code, _, err = replay(talk)
            monkeypatch.undo()
            with contextlib.suppress(OSError):
                full.close()
        assert code == 1
        assert err == "rtstream: error: [Errno 28] No space left on device\n"

    def test_any_locale_writes_utf_8(self, replay, tmp_path, monkeypatch):
        path = tmp_path / "Gespräch.wav"
        path.write_bytes(CLIP.read_bytes())
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        assert replay(path, CLIP)[0] == 0
        assert "Gespräch.wav:" in written.getvalue().decode()

    @pytest.fixture
    def shown(self, replay, talk, monkeypatch):
        """What a terminal at standard error shows while output goes elsewhere, and what goes there."""

        def run(*arguments):
            terminal = Terminal()
            monkeypatch.setattr(sys, "stderr", terminal)
            monkeypatch.setenv("TERM", "xterm")
            code, out, _ = replay(*arguments, talk)
            assert code == 0
            lines = [line.removesuffix("\x1b[K") for line in terminal.getvalue().split("\r")]
            return [line for line in lines if line], out

        return run

    @pytest.mark.parametrize("format_", ["text", "jsonl", "srt", "vtt"])
    def test_partials_are_shown_beside_a_file_of_any_format(self, shown, format_):
        live, out = shown("--format", format_)
        assert live[0] == "loading the model ..."
        assert len(live) > 4
        assert "\r" not in out
        assert "\x1b" not in out

    def test_no_partials_shows_none(self, shown):
        assert shown("--no-partials")[0] == ["loading the model ..."]

    def test_json_lines_on_a_terminal_are_not_shown_twice(self, shown, monkeypatch):
        monkeypatch.setattr(sys, "stdout", out := Terminal())
        assert shown("--format", "jsonl")[0] == ["loading the model ..."]
        assert '"partial"' in out.getvalue()

    def test_dumb_terminal_gets_no_control_codes(self, replay, talk, monkeypatch):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        monkeypatch.setenv("TERM", "dumb")
        assert replay(talk)[0] == 0
        assert terminal.getvalue() == ""


class TestProcess:
    def test_interrupt_ends_at_once_with_130_and_keeps_what_was_said(self, talk):
        with process("--realtime", "--format", "jsonl", *[talk] * 60) as replay:  # ten minutes
            first = replay.stdout.readline()
            replay.send_signal(signal.SIGINT)
            rest, errors = replay.communicate(timeout=300)
        assert (replay.returncode, errors) == (130, b"")
        assert json.loads(first)["type"] == "partial"
        assert all(json.loads(line) for line in rest.splitlines())

    def test_reader_that_leaves_ends_it_quietly(self, talk):
        with process("--format", "jsonl", *[talk] * 20) as replay:
            replay.stdout.readline()
            replay.stdout.close()
            assert replay.stderr.read() == b""
        assert replay.returncode == 141

    def test_events_come_while_the_audio_comes(self, talk):
        content = talk.read_bytes()
        with process("--format", "jsonl", "-", stdin=subprocess.PIPE) as replay:
            replay.stdin.write(content[: 44 + 2 * 16_000 * 3])
            replay.stdin.flush()
            assert json.loads(replay.stdout.readline())["type"] == "partial"  # the rest has not been written yet
            out, errors = replay.communicate(content[44 + 2 * 16_000 * 3 :], timeout=300)
        assert (replay.returncode, errors) == (0, b"")
        assert len(finals(out.decode())) == 2

    def test_terminal_shows_partials_in_place_and_finals_below_one_another(self, talk):
        shown = on_terminal("--realtime", talk)
        screen = pyte.Screen(40, 24)
        pyte.Stream(screen).feed(shown)
        lines = [line.rstrip() for line in screen.display if line.strip()]
        finals = re.sub(r"\n  +", " ", "\n".join(lines)).split("\n")
        assert len(finals) == 2
        assert all(LINE.fullmatch(final) for final in finals)
        plain = re.sub(r"\x1b\[\d*[A-Z]", "", shown)
        drawn = [text for text in re.split(r"[\r\n]+", plain) if text and not text.startswith(("[", " "))]
        assert len(drawn) > 4
        assert all(len(text) < 40 for text in drawn)


def on_terminal(*arguments):
    """Run the program on a terminal of 40 columns and give all that it shows."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    shown = b""
    with process(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as replay:
        os.close(theirs)
        while select.select([ours], [], [], 120)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
            shown += piece
    os.close(ours)
    assert replay.returncode == 0
    return shown.decode()
