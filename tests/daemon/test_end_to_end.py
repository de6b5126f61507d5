"""The whole service, as people run it: a microphone that hears recorded speech, and clients that come and go.

The microphone is a PortAudio device of ALSA's file plug-in: at each read it takes as much from its file as its slave
gives, here a sound server's silence, which sets the pace. So its audio is that of the file from the first sample on,
and silence after the last.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import trustme

from rtstream.events import SAMPLE_RATE
from tests.audio.sound_server import needs_sound, until
from tests.daemon.served import PROGRAM, Daemon
from tests.recognizer.tiny_bundle import DATA
from tests.vad.recordings import read_clip

ROOT = Path(__file__).parents[2]
NODE_CLIENT = ROOT / "examples" / "node"
CLIPS = ["cv-telephone.wav", "lj-high-wall.flac", "cv-laundry.wav", "libri-7312-passionate.flac", "cv-utica.flac"]

pytestmark = [pytest.mark.slow, needs_sound]


class Program:
    """A program that writes JSON lines, in a process of its own."""

    def __init__(self, *command, **environment):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment}
        self.process = subprocess.Popen([*map(str, command)], env=environment, stdout=subprocess.PIPE)
        self.lines = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        self.lines += map(json.loads, self.process.stdout)

    def finals(self):
        return [line for line in list(self.lines) if line["type"] == "final"]

    def kill(self):
        """End it at once, with what it has written."""
        self.process.kill()
        self.process.wait()
        self._thread.join()


class Dozing(Program):
    """Looks away for most of the time, as a machine that is far too slow."""

    def __init__(self, *command):
        super().__init__(*command)
        self._ended = threading.Event()
        threading.Thread(target=self._doze, daemon=True).start()

    def _doze(self):
        until(lambda: self.lines, "subscribed")
        while not self._ended.is_set():
            self.process.send_signal(signal.SIGSTOP)
            self._ended.wait(3.0)
            self.process.send_signal(signal.SIGCONT)
            self._ended.wait(0.1)

    def kill(self):
        self._ended.set()
        super().kill()


@pytest.fixture
def start():
    programs = []

    def make(kind, *command, **environment):
        programs.append(kind(*command, **environment))
        return programs[-1]

    yield make
    for program in programs:
        program.kill()


class Desk(NamedTuple):
    """A microphone that hears a recording, from the beginning whenever it is opened."""

    source: str
    environment: dict[str, str]
    recording: Path


@pytest.fixture
def desk(sound, tmp_path):
    """On it, sentences of several people, one after the other."""
    pieces = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    for name in CLIPS:
        pieces += [read_clip(DATA / name), np.zeros(SAMPLE_RATE, np.float32)]
    pcm = np.round(np.concatenate(pieces) * 32767).astype("<i2")
    soundfile.write(tmp_path / "spoken.wav", pcm, SAMPLE_RATE)
    pcm.tofile(tmp_path / "spoken.raw")
    sound.pace()
    sound.configure(extra=sound.playing("desk", tmp_path / "spoken.raw"))
    return Desk("mic:desk", sound.environment, tmp_path / "spoken.wav")


@pytest.fixture
def certificates(tmp_path):
    """PEM files: of the authority, and the certificate and key of the server and of a client."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("server", "client"):
        made = authority.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    return tmp_path


@pytest.fixture
def node_client(tmp_path):
    """The command of the Node client, or why there is none."""
    if not (shutil.which("node") and shutil.which("npm")):
        return [], "needs Node: apt-get install nodejs npm"
    folder = shutil.copytree(NODE_CLIENT, tmp_path / "node", ignore=shutil.ignore_patterns("node_modules"))
    npm = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"]
    done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        return [], f"npm cannot install the Node client: {done.stderr.strip().splitlines()[-1:]}"
    return ["node", folder / "listen.mjs"], ""


def transcript(lines):
    return [(line["segment"], line["start"], line["end"], line["text"]) for line in lines]


def test_every_client_gets_each_final_of_what_a_microphone_hears_once_and_as_replay_writes_it(
    tmp_path, desk, certificates, node_client, start
):
    replay = [*PROGRAM, "replay", "--format", "jsonl", desk.recording]
    expected = [
        line for line in map(json.loads, subprocess.check_output(replay).splitlines()) if line["type"] == "final"
    ]
    assert len(expected) >= len(CLIPS)

    tls = "".join(
        f'{key} = "{certificates / file}"\n'
        for key, file in (("tls_certificate", "server.pem"), ("tls_key", "server.key"), ("tls_client_ca", "ca.pem"))
    )
    daemon = Daemon(
        tmp_path,
        *("--source", desk.source, "--listen", "127.0.0.1:0"),
        environment=desk.environment,
        settings=f"[audio]\nrate = {SAMPLE_RATE}\nbacklog_seconds = 600\n"
        f'[server]\n{tls}[publish]\nstore = "{tmp_path / "finals.db"}"\n',
    )
    try:
        daemon.ready()
        local, public = f"unix:{daemon.socket}", daemon.events("listening")[0]["addresses"][1]
        listen = [*PROGRAM, "listen", "--format", "jsonl"]
        slow = start(Dozing, *listen, local, "--from-start")
        killed = start(Program, *listen, local, "--from-start")
        mine = [
            "--ca",
            certificates / "ca.pem",
            "--cert",
            certificates / "client.pem",
            "--key",
            certificates / "client.key",
        ]
        encrypted = start(Program, *listen, public, "--from-start", *mine)
        command, no_node = node_client
        node = [] if no_node else [start(Program, *command, local, RTSTREAM_PROTOS=str(ROOT / "protos"))]

        until(lambda: len(killed.finals()) >= 2, "two finals")
        killed.kill()
        before = killed.finals()
        last = before[-1]
        until(lambda: len(encrypted.finals()) > len(before), "one more while it is away")
        resumed = start(Program, *listen, local, "--resume-after", f"{last['epoch']}:{last['sequence']}")

        for client in (slow, encrypted, *node):
            until(lambda c=client: len(c.finals()) >= len(expected), "all finals")
        until(lambda: len(before) + len(resumed.finals()) >= len(expected), "all finals that were missed")
        status = daemon.status()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    lost = {name: status.counters[f"{name}_samples"] for name in ("overflow", "device", "behind")}
    assert not any(lost.values()), lost
    for heard in (slow.finals(), before + resumed.finals(), encrypted.finals(), *(client.finals() for client in node)):
        assert transcript(heard) == transcript(expected)
        assert [line["sequence"] for line in heard] == list(range(1, len(expected) + 1))
        assert {line["epoch"] for line in heard} == {last["epoch"]}
    if no_node:
        pytest.skip(f"all held but for the Node client: {no_node}")
