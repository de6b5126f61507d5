"""The service itself, in a process of its own, heard and asked by the wyoming package's client."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

from rtstream.config import Config, Wyoming
from rtstream.daemon import settings
from rtstream.daemon.settings import check_settings
from rtstream.errors import ConfigError
from tests.adapters.wyoming_served import RATE, error, heard, say, shown, text
from tests.audio.sound_server import until
from tests.daemon.served import Daemon

DATA = Path(__file__).parents[1] / "data"
SETTINGS = '[wyoming]\nlisten = "tcp://127.0.0.1:0"\n'


class Service:
    def __init__(self, folder, *options, settings="", source=None):
        fifo = folder / "microphone"
        source = source or f"fifo:{fifo}?create=1"
        self.daemon = Daemon(folder, "--model", "tiny", "--source", source, *options, settings=SETTINGS + settings)

    def __enter__(self):
        self.daemon.ready()
        until(lambda: len(self.ports) or self.daemon.process.poll() is not None, "listening")
        return self

    def __exit__(self, *_):
        self.daemon.kill()

    @property
    def ports(self):
        told = [entry for entry in self.daemon.events("listening") if entry.get("adapter") == "wyoming"]
        return [int(entry["addresses"][0].rpartition(":")[2]) for entry in told]

    def client(self, door=0):
        return AsyncTcpClient("127.0.0.1", self.ports[door], read_timeout=300)


def recording(name):
    """16-bit samples of a clip, and its text."""
    samples, rate = soundfile.read(DATA / name, dtype="int16")
    assert rate == RATE
    clips = map(json.loads, (DATA / "clips.jsonl").read_text().splitlines())
    return samples.tobytes(), next(clip["text"] for clip in clips if clip["file"] == name)


def words(spoken):
    return re.findall(r"[a-z']+", spoken.lower())


@pytest.mark.slow
async def test_recorded_speech_is_recognised_shown_and_ended(tmp_path):
    audio, said = recording("cv-laundry.wav")
    with Service(tmp_path) as service:
        async with service.client() as client:
            await client.write_event(Describe().event())
            info = Info.from_event(await client.read_event())
            assert [model.name for model in info.asr[0].models] == ["tiny"]
            assert info.asr[0].models[0].languages == ["en"]
        async with service.client() as client:
            await say(client, audio, language="en", transcript_names=["thrift shop"])
            events = await heard(client)
            assert words(text(events)) == words(said)
            assert words(shown(events))
        async with service.client() as client:
            await say(client, audio, language="de")
            assert error(await heard(client)) == "language-unsupported"

        async def turn():
            async with service.client() as client:
                await say(client, audio, language="en")
                return words(text(await heard(client)))[:7]  # tiny hears "fifth shot", but for the phrase

        assert await asyncio.gather(*(turn() for _ in range(6))) == [words(said)[:7]] * 6
        assert service.daemon.stop() == 0


@pytest.mark.slow
async def test_a_command_ends_when_its_speaker_pauses(tmp_path):
    audio, said = recording("cv-telephone.wav")
    with Service(tmp_path, settings="external_vad = false\n") as service:
        async with service.client() as client:
            await say(client, audio + bytes(2 * 3 * RATE), stop=False, vad_sensitivity="relaxed")
            events = await heard(client)
            assert words(text(events)) == words(said)
            assert [event.type for event in events if event.type.startswith("voice")] == [
                "voice-started",
                "voice-stopped",
            ]


@pytest.mark.slow
async def test_the_microphone_is_given_as_it_is_heard(tmp_path):
    path = tmp_path / "loop.wav"
    shutil.copy(DATA / "cv-laundry.wav", path)
    with Service(tmp_path, settings='microphone = "tcp://127.0.0.1:0"\n', source=f"wav:{path}?loop=1") as service:
        until(lambda: len(service.ports) == 2, "both listen")
        async with service.client(1) as client:
            chunks = []
            while len(chunks) < 50:
                event = await client.read_event()
                if AudioChunk.is_type(event.type):
                    chunks.append(AudioChunk.from_event(event))
        samples = np.frombuffer(b"".join(chunk.audio for chunk in chunks), "<i2")
        whole, _ = soundfile.read(path, dtype="int16")
        begin = round(chunks[0].timestamp * RATE / 1000)
        looped = np.resize(whole, begin + len(samples))[begin:]
        assert np.abs(samples.astype(int) - looped).max() <= 1


@pytest.mark.slow
async def test_half_requests_floods_and_idle_connections_cost_nobody_else_anything(tmp_path):
    audio, said = recording("cv-laundry.wav")
    with Service(tmp_path) as service:
        address = ("127.0.0.1", service.ports[0])
        opened = []
        for number in range(300):
            made = socket.create_connection(address)
            made.setblocking(False)  # noqa: FBT003 - the library's signature
            with suppress(OSError):  # it may have been sent away already
                made.send([b"", b'{"type": "audio-chunk", "payload_length": 1000000}\nxx', b"x" * 5000][number % 3])
            opened.append(made)
        async with service.client() as client:
            await say(client, audio, language="en")
            assert words(text(await heard(client)))[:7] == words(said)[:7]
        assert service.daemon.status().rss_bytes < 1 << 30
        for made in opened:
            made.close()
        assert service.daemon.stop() == 0


def test_nothing_of_an_adapter_is_imported_where_it_is_off():
    program = (
        "import sys\n"
        "import rtstream.daemon.run, rtstream.cli.serve\n"
        "from rtstream.config import Config\n"
        "from rtstream.daemon.settings import check_settings\n"
        "check_settings(Config())\n"
        "print(sorted({'wyoming', 'zeroconf', 'aiomqtt', 'paho', 'aiohttp'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"[]\n"


def test_a_public_address_needs_to_be_asked_for():
    public = Config(wyoming=Wyoming(listen="tcp://0.0.0.0:10300"))
    with pytest.raises(ConfigError, match=r"wyoming\.listen: 0\.0\.0\.0:10300: other machines could listen in"):
        check_settings(public)
    check_settings(Config(wyoming=Wyoming(listen="tcp://0.0.0.0:10300", insecure_public=True)))
    with pytest.raises(ConfigError, match=r"wyoming\.microphone: 0\.0\.0\.0:10400"):
        check_settings(Config(wyoming=Wyoming(listen="tcp://127.0.0.1:10300", microphone="tcp://0.0.0.0:10400")))
    with pytest.raises(ConfigError, match=r"wyoming\.allow: 'nobody'"):
        check_settings(Config(wyoming=Wyoming(listen="tcp://127.0.0.1:10300", allow=("nobody",))))


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"wyoming\.listen: .*pip install 'rtstream\[wyoming\]'"):
        check_settings(Config(wyoming=Wyoming(listen="tcp://127.0.0.1:10300")))
