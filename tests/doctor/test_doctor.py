"""What ``rtstream devices`` and ``rtstream doctor`` see of a machine, and what they advise."""

import ctypes.util
import json
import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from rtstream.bundle.bundle import read_manifest
from rtstream.bundle.default import model_path
from rtstream.cli.main import main
from rtstream.doctor import checkup
from rtstream.doctor.level import bar, decibels, measure
from rtstream.engine.room import needed
from rtstream.events import AudioBlock, AudioLost, DeviceState
from tests.vad.recordings import needs_silero

needs_portaudio = pytest.mark.skipif(
    ctypes.util.find_library("portaudio") is None, reason="needs PortAudio: apt-get install libportaudio2"
)


@pytest.fixture
def alsa(tmp_path, monkeypatch):
    """Make ALSA devices, each with the samples that it hears over and over."""
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "alsa.conf"))
    monkeypatch.delenv("RTSTREAM_MODEL", raising=False)

    def configure(**devices):
        text = "</usr/share/alsa/alsa.conf>\n"
        for name, samples in devices.items():
            np.asarray(samples, "<i2").repeat(2).tofile(tmp_path / name)
            text += f'pcm.{name} {{ type file file "/dev/null" infile "{tmp_path / name}" format raw '
            text += "slave.pcm { type null } }\n"
        (tmp_path / "alsa.conf").write_text(text)

    return configure


def settings(tmp_path, text):
    path = tmp_path / "rtstream.toml"
    path.write_text(text)
    return str(path)


@needs_portaudio
def test_devices_are_listed_for_people_and_for_programs(alsa, capsys):
    alsa(desk=[0], usb_mic=[0])
    assert main(["devices"]) == 0
    shown = capsys.readouterr().out
    assert "NAME" in shown
    assert "usb_mic" in shown
    assert main(["devices", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"desk", "usb_mic"} <= {device["name"] for device in listed}
    assert {"index", "name", "host_api", "channels", "rate", "default"} == set(listed[0])


@needs_portaudio
def test_no_device_is_said_and_the_exit_code_shows_it(alsa, capsys):
    alsa()
    assert main(["devices"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "rtstream doctor" in shown.err


@needs_portaudio
def test_doctor_is_content_where_all_is_well(alsa, bundle, tmp_path, capsys):
    tone = 8_000 * np.sin(np.arange(48_000) * 0.1)
    alsa(desk=tone)
    text = f'[recognition]\nmodel = "{bundle}"\n[server]\nlisten = ["unix:{tmp_path}/s"]\n'
    code = main(["doctor", "--config", settings(tmp_path, text), "--source", "mic:desk", "--seconds", "0.5"])
    shown = capsys.readouterr().out
    assert code == 0, shown
    for name in ("settings", "PortAudio", "device", "vad", "model", f"listen unix:{tmp_path}/s", "clock", "memory"):
        assert f"ok    {name}: " in shown
    assert " level: loudest" in shown


@needs_portaudio
def test_doctor_says_what_to_do_about_a_missing_device_and_model(alsa, tmp_path, capsys):
    alsa(desk=[0])
    text = f'[recognition]\nmodel = "{tmp_path}/none"\n'
    assert main(["doctor", "--config", settings(tmp_path, text), "--source", "mic:USB"]) == 1
    lines = capsys.readouterr().out.splitlines()
    failed = [number for number, line in enumerate(lines) if line.startswith("FAIL")]
    assert [lines[number].split(":")[0] for number in failed] == ["FAIL  device", "FAIL  model"]
    assert "no input device matches 'USB'; there are: desk" in lines[failed[0]]
    assert all(lines[number + 1].startswith("      -> ") for number in failed)


def test_doctor_names_wrong_settings(tmp_path, capsys):
    assert main(["doctor", "--config", settings(tmp_path, "[vad]\nmin_speech_ms = 900\n")]) == 1
    assert "FAIL  settings: vad: min_speech_ms (900)" in capsys.readouterr().out


def find(config, name):
    return next(finding for finding in checkup.look(config) if finding.name.startswith(name))


@pytest.fixture
def config(tmp_path, bundle):
    from rtstream.config import load

    def make(**sections):
        given = {"audio": {"source": "fifo:" + str(tmp_path / "f")}, "recognition": {"model": bundle}}
        return load(None, given | sections)

    return make


def test_port_that_is_taken_is_told(config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = find(config(server={"listen": [f"127.0.0.1:{port}"]}), "listen")
    assert finding.verdict == "warning"
    assert "ss -ltnp" in finding.advice


def test_missing_fifo_is_told_with_the_command_that_makes_it(config, tmp_path):
    finding = find(config(), "source")
    assert (finding.verdict, finding.advice) == ("failed", f"make it: mkfifo {tmp_path / 'f'}")


@pytest.mark.parametrize(
    ("vad", "told"),
    [
        ({"engine": "webrtc", "aggressiveness": 2}, "webrtc loads, aggressiveness 2"),
        ({"engine": "silero", "threshold": 0.4}, "silero loads, threshold 0.4"),
    ],
)
@needs_silero
def test_voice_activity_detector_is_loaded_and_named(config, vad, told):
    finding = find(config(vad=vad), "vad")
    assert (finding.verdict, finding.found) == ("ok", told)


def test_voice_activity_detector_that_does_not_load_is_told(config, tmp_path):
    finding = find(config(vad={"engine": "silero", "model": tmp_path / "none.onnx"}), "vad")
    assert finding.verdict == "failed"
    assert "vad.engine" in finding.advice


def test_store_in_a_missing_folder_is_told(config, tmp_path):
    finding = find(config(publish={"store": tmp_path / "no" / "s.sqlite"}), "store")
    assert finding.verdict == "failed"
    assert finding.advice == f"make it: mkdir -p {tmp_path / 'no'}"


def test_sound_devices_of_others_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(checkup, "SOUND_DEVICES", tmp_path)
    assert checkup._permission().verdict == "warning"
    (tmp_path / "pcmC1D0c").touch()
    assert checkup._permission().verdict == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "usermod -aG audio" in checkup._permission().advice


class Played:
    """A source of given items."""

    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return iter(self.items)

    def close(self):
        pass


class Stuck(Played):
    """A source that gives its items and then nothing more until it is closed, as a sound server's null sink may."""

    def __init__(self, *items):
        super().__init__(*items)
        self.closed = threading.Event()

    def __iter__(self):
        yield from self.items
        self.closed.wait(60)
        yield DeviceState("null", "ended" if self.closed.is_set() else "stalled")

    def close(self):
        self.closed.set()


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([DeviceState("null", "capturing")], "it gave no audio within 0.2 s"),
        ([DeviceState("null", "capturing"), AudioBlock(np.zeros(100, np.float32), 0)], "digital silence"),
        ([DeviceState("null", "capturing"), AudioBlock(np.full(100, 0.1, np.float32), 0)], "loudest -20 dB"),
    ],
)
def test_level_is_told_in_time_of_a_device_that_stops_giving_audio(items, told):
    source = Stuck(*items)
    finding = measure(source, 0.2, lambda _: None)
    assert told in finding.found
    assert source.closed.is_set()


def level(*items):
    return measure(Played(*items), 1.0, lambda _: None)


def block(value, count=16_000):
    return AudioBlock(np.full(count, value, np.float32), 0)


@pytest.mark.parametrize(
    ("items", "verdict", "told"),
    [
        ([block(0.1)], "ok", "loudest -20 dB"),
        ([block(0.0)], "failed", "digital silence"),
        ([block(0.0001)], "warning", "very quiet"),
        ([block(1.0)], "warning", "clipped"),
        ([AudioLost(0, 8_000, "overflow"), block(0.1)], "warning", "0.50 s lost"),
        ([DeviceState("desk", "lost", "busy; trying again")], "failed", "desk: busy"),
    ],
)
def test_level_is_judged(items, verdict, told):
    finding = level(*items)
    assert finding.verdict == verdict
    assert told in finding.found
    assert bool(finding.advice) == (verdict != "ok")


def test_meter_grows_with_the_level():
    bars = [bar(decibels(np.full(10, value, np.float32))).count("█") for value in (0.0, 0.01, 0.1, 1.0)]
    assert bars == sorted(set(bars))


@pytest.mark.parametrize(("free", "suits"), [(200, "tiny suits this machine"), (100, "no model that ships fits")])
def test_doctor_says_which_model_fits_where_that_of_the_settings_does_not(tmp_path, capsys, monkeypatch, free, suits):
    monkeypatch.setattr(checkup, "available", lambda: free << 20)
    source = tmp_path / "speech.wav"
    source.touch()
    assert main(["doctor", "--config", settings(tmp_path, ""), "--source", f"wav:{source}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("FAIL")]
    assert f"memory: {free} MiB are available" in lines[number]
    assert suits in lines[number]
    wanted = needed(read_manifest(model_path(Path("base")))[1]) >> 20
    assert f"the model of the settings needs {wanted} MiB at its first start" in lines[number]
    assert ("recognition.model = 'tiny'" in lines[number + 1]) == (free == 200)
