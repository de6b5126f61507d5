import json
import time

import numpy as np
import pytest

from rtstream.cli import bench as bench_command
from rtstream.cli import benchmark, benchmark_report
from rtstream.cli.main import main
from rtstream.cli.options import RecognizerOptions
from rtstream.engine.open import load_bundle
from rtstream.errors import RtstreamError
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from tests.recognizer.tiny_bundle import DATA

CLIP = str(DATA / "cv-telephone.wav")  # 3.384 s
CLIPS = [CLIP, str(DATA / "lj-high-wall.flac")]
LONG = str(DATA / "libri-669-long.flac")


@pytest.fixture(scope="module")
def recognizer(tiny_bundle):
    return Recognizer(load_bundle(tiny_bundle, "float"), RecognizerConfig(partials="ctc"))


@pytest.fixture
def quick_start(monkeypatch):
    """Spare a process that loads the model."""
    monkeypatch.setattr(benchmark, "measure_start", lambda _: benchmark.Start(1.0, 2.0))


@pytest.fixture
def bench(recognizer):
    return benchmark.Bench(recognizer)


def test_each_recording_is_played_as_its_own_stream(bench):
    benchmark.play_each(bench, CLIPS, 2)
    assert bench.audio_seconds == pytest.approx(2 * (3.384 + 5.917), abs=0.01)
    assert len(bench.delays.final_compute) == 4
    assert len(bench.delays.first_partial_audio) == len(bench.delays.first_partial_compute) == 4


def test_stages_are_parts_of_all_computing(bench):
    start = time.process_time()
    benchmark.play_each(bench, CLIPS, 1)
    whole = time.process_time() - start
    assert {"decode", "vad", "features", "encoder", "ctc", "finals"} <= bench.stages.keys()
    assert 0 < sum(bench.stages.values()) <= bench.cpu_seconds * 1.05
    assert bench.cpu_seconds <= whole
    assert bench.wall_seconds > 0


def test_first_partial_cannot_come_before_its_chunk(bench):
    benchmark.play_each(bench, CLIPS, 1)
    assert all(0.64 <= seconds < 6 for seconds in bench.delays.first_partial_audio)
    assert all(seconds > 0 for seconds in bench.delays.first_partial_compute + bench.delays.final_compute)


def test_endless_stream_ends_at_the_wanted_length_and_pauses_do_not_count(bench):
    benchmark.play_on(bench, CLIPS, 12.0)
    assert bench.audio_seconds == pytest.approx(12.0, abs=0.11)
    assert len(bench.delays.final_compute) == 3


def test_memory_is_looked_at_after_each_five_minutes(bench, monkeypatch):
    monkeypatch.setattr(benchmark, "MEMORY_SECONDS", 3)
    monkeypatch.setattr(benchmark, "resident_bytes", lambda: 1000)
    benchmark.play_on(bench, CLIPS, 10.0)
    assert bench.memory == {3: 1000, 9: 1000}  # at the ends of the recordings, where no segment is open


def test_memory_numbers_are_those_of_this_process():
    ballast = np.ones(30_000_000, np.uint8)
    assert benchmark.peak_bytes() >= benchmark.resident_bytes() > len(ballast)


@pytest.mark.usefixtures("tiny_model", "quick_start")
class TestCommand:
    def test_json_is_one_object_with_every_number(self, capsys):
        assert main(["bench", "--json", "--engine", "float", "--partials", "ctc", *CLIPS]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        data = json.loads(captured.out)
        assert data["model"]["name"] == "tiny"
        assert data["model"]["engine"] == "float"
        assert data["model"]["bytes"] > 10_000
        assert data["model"]["threads"] == 1
        assert data["audio_seconds"] == pytest.approx(9.301, abs=0.01)
        assert data["segments"] == 2
        assert set(data["real_time_factor"]) == {"wall", "cpu"}
        assert sum(data["stages"].values()) == pytest.approx(data["real_time_factor"]["cpu"], rel=0.05)
        for spread in (*data["first_partial"].values(), data["final"]["compute"]):
            assert spread["count"] == 2
            assert 0 < spread["median"] <= spread["p95"] <= spread["max"]
        counts = [count for stage in data["counts"].values() for count in stage.values()]
        assert sum(count["multiply_adds"] for count in counts) == pytest.approx(
            data["multiply_adds"] * data["audio_seconds"], rel=0.01
        )
        assert data["start"] == {"imported": 1.0, "ready": 2.0}
        assert data["memory"]["peak"] >= data["memory"]["end"] > 0

    def test_int8_counts_its_packed_matrices(self, capsys):
        assert main(["bench", "--json", CLIP]) == 0
        model = json.loads(capsys.readouterr().out)["model"]
        # One group: qkv, out, ff1, ff2; and B of each of its two layers.
        assert model["packed_encoder_buffers"] == 4 + 2 * 4
        assert model["packed_encoder_bytes"] > 32 * 3 * 32

    def test_table_has_every_stage_and_the_sum(self, capsys):
        assert main(["bench", "--engine", "float", "--partials", "ctc", CLIP]) == 0
        shown = capsys.readouterr().out
        for part in ("real-time factor", "first partial", "final, compute", "start of a process", "memory", "3.4 s"):
            assert part in shown
        for stage in ("decode", "vad", "features", "encoder", "ctc", "finals", "other", "all"):
            assert f"\n {stage} " in shown

    def test_report_is_a_table_without_names_of_files(self, capsys):
        assert main(["bench", "--report", "--engine", "float", "--partials", "ctc", CLIP]) == 0
        shown = capsys.readouterr().out
        assert all(line.startswith("| ") and line.endswith(" |") for line in shown.splitlines() if "---" not in line)
        for part in ("machine", "rtstream 0.", "CPU seconds a second of audio", "multiply-adds", "memory at most"):
            assert part in shown
        assert str(DATA) not in shown
        assert main(["bench", "--report", "--json", CLIP]) == 2

    def test_minutes_repeat_the_recordings(self, capsys):
        assert main(["bench", "--json", "--engine", "float", "--minutes", "0.1", CLIP]) == 0
        assert json.loads(capsys.readouterr().out)["audio_seconds"] == pytest.approx(6.0, abs=0.11)

    def test_bad_recording_is_one_line(self, capsys, tmp_path):
        assert main(["bench", "--engine", "float", str(tmp_path / "none.wav")]) == 1
        assert capsys.readouterr().err.count("\n") == 1

    def test_bad_model_is_one_line(self, capsys, tmp_path):
        assert main(["bench", "--model", str(tmp_path), CLIP]) == 1
        assert capsys.readouterr().err.count("\n") == 1

    def test_without_a_checkout_a_recording_must_be_named(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(bench_command, "CLIPS", tmp_path)
        assert main(["bench"]) == 2
        assert "name recordings" in capsys.readouterr().err


def test_recorded_speech_of_the_checkout_is_the_clips_with_words():
    files = bench_command.recorded_speech()
    assert CLIP in files
    assert not any("noise" in file for file in files)


def test_nothing_recognised_is_reported_as_such(recognizer):
    bench = benchmark.Bench(recognizer)
    benchmark.play_each(bench, [str(DATA / "cv-telephone.wav")], 1)
    bench.delays = benchmark.Delays()
    data = benchmark_report.report(bench, recognizer, RecognizerOptions(), benchmark.Start(1, 2), None)
    assert data["final"]["compute"] is None
    assert benchmark_report.tables(data)


def test_start_is_measured_in_a_process_of_its_own(tiny_bundle):
    start = benchmark.measure_start(RecognizerOptions(tiny_bundle, "float"))
    assert 0 < start.imported < start.ready


def test_start_that_fails_is_an_error(tmp_path, capfd):
    with pytest.raises(RtstreamError):
        benchmark.measure_start(RecognizerOptions(tmp_path, "float"))
    assert "no model bundle here" in capfd.readouterr().err
