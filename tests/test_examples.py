"""The examples, each against a real server, where what it needs is there."""

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.publish.finals import final
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.rpc.conftest import running
from tests.rpc.server_process import start_server

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PATIENCE = 240
"""Seconds after which a program that says nothing is ended."""
SECOND = np.full(16_000, 1 << 14, "<i2").tobytes()


@pytest.fixture
def target(tmp_path):
    """A service that publishes finals for ever."""
    process = start_server(tmp_path, 0.02)
    yield f"unix:{tmp_path}/socket"
    process.kill()
    process.wait()
    process.stdout.close()


def first_lines(command, count=3, **options):
    """The first lines that an endless program writes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as program:
        watch = threading.Timer(PATIENCE, program.kill)
        watch.start()
        try:
            return [program.stdout.readline() for _ in range(count)]
        finally:
            watch.cancel()
            program.kill()


def python(name, *arguments):
    return [sys.executable, EXAMPLES / "python" / name, *arguments]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", ["subscribe.py", "subscribe_async.py"])
def test_subscribers_print_finals(target, name):
    lines = first_lines(python(name, target), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    assert all(line.endswith(" s  words that were said\n") for line in lines)


async def run(command, standard_input=None):
    program = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    out, err = await program.communicate(standard_input)
    return program.returncode, out.decode(), err.decode()


async def test_audio_of_another_program_is_recognised():
    async with running() as served:
        code, out, _ = await run(python("microphone.py", served.target, "-"), SECOND * 2)
    assert (code, out) == (0, "    0.00 s  0.500\n    1.00 s  0.500\n")


def test_every_recording_of_a_folder_gets_its_text_also_a_damaged_one(tmp_path):
    model, folder = save_tiny_bundle(tmp_path / "model"), tmp_path / "talks"
    folder.mkdir()
    (folder / "whole.wav").write_bytes((DATA / "cv-telephone.wav").read_bytes())
    (folder / "cut.wav").write_bytes((DATA / "cv-laundry.wav").read_bytes()[:-20_000])
    (folder / "done.wav").touch()
    (folder / "done.txt").touch()
    (folder / "notes.md").touch()
    command = python("transcribe_folder.py", folder, model)
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stdout.split()) == (1, [f"{folder}/cut.txt", f"{folder}/whole.txt"])
    assert "cut.wav: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert all((folder / f"{name}.txt").read_text().startswith("[0.") for name in ("whole", "cut"))


async def printed(command):
    """What a program without end prints of three finals with text and one without. ``command`` makes it of a target."""
    async with running() as served:
        for number, text in enumerate(("words that were said", "", "others", "more")):
            served.broker.publish(final(number, text))
        return await asyncio.to_thread(first_lines, command(served.target), stderr=subprocess.DEVNULL)


FINALS_WITH_TEXT = ["    0.00 s  words that were said\n", "    2.00 s  others\n", "    3.00 s  more\n"]
GO = ("go", "protoc-gen-go", "protoc-gen-go-grpc")
DEBIAN_PACKAGES = "golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protoc-gen-go{,-grpc}, 600 MB"
DEBIAN_GO = Path("/usr/share/gocode")
"""Where these have the sources of Go's packages."""


@pytest.mark.slow
async def test_go(tmp_path):
    if missing := [tool for tool in GO if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install --no-install-recommends {DEBIAN_PACKAGES}")
    folder = shutil.copytree(EXAMPLES / "go", tmp_path / "src" / "rtstream-listen")
    source = (folder / "main.go").read_text()
    generate = re.search("^//go:generate protoc -I ../../protos (.*)$", source, re.MULTILINE)[1].split()
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "protos", *generate]
    assert await asyncio.to_thread(subprocess.call, protoc, cwd=folder) == 0
    modules = [["mod", "tidy"], ["build", "-o", "it"]]
    environment = os.environ
    if (DEBIAN_GO / "src/google.golang.org/grpc").exists():
        modules = [["build", "-tags", "grpc1.33", "-o", "it"]]
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": f"{tmp_path}:{DEBIAN_GO}"}
    for step in modules:
        done = await asyncio.to_thread(
            subprocess.run, [shutil.which("go"), *step], cwd=folder, env=environment, capture_output=True, text=True
        )
        if done.returncode and step == ["mod", "tidy"]:
            pytest.skip("Go cannot get its modules here")
        assert not done.returncode, done.stderr
    assert await printed(lambda target: [folder / "it", target]) == FINALS_WITH_TEXT


async def test_csharp(tmp_path):
    if shutil.which("dotnet") is None:
        pytest.skip("needs the .NET SDK")
    folder = shutil.copytree(EXAMPLES / "csharp", tmp_path / "csharp")
    build = ["dotnet", "build", "-o", folder / "out", f"-p:Protos={ROOT / 'protos'}", folder]
    if (await asyncio.to_thread(subprocess.run, build, check=False)).returncode:
        pytest.skip(".NET cannot get its packages here")
    program = folder / "out" / "RtstreamListen"
    assert await printed(lambda target: [program, f"http://{target}"]) == FINALS_WITH_TEXT


def loaded(folder, name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_livekit_agents():
    stt = pytest.importorskip("livekit.agents.stt", reason="needs livekit-agents")
    from livekit import rtc

    async with running() as served:
        service = loaded("livekit", "rtstream_livekit").RtstreamSTT(served.target, phrases=("Grafana",))
        assert isinstance(service, stt.STT)
        async with service.stream() as stream:
            for _ in range(2):
                stream.push_frame(rtc.AudioFrame(SECOND, 16_000, 1, 16_000))
            stream.end_input()
            events = [event async for event in stream]
        kinds = [event.type.name for event in events]
        assert kinds.count("FINAL_TRANSCRIPT") == kinds.count("END_OF_SPEECH") == 2
        assert kinds[0] == "START_OF_SPEECH"
        assert kinds.index("INTERIM_TRANSCRIPT") < kinds.index("FINAL_TRANSCRIPT")
        said = [event.alternatives[0] for event in events if event.type.name == "FINAL_TRANSCRIPT"]
        assert [(data.text, data.language) for data in said] == [("0.500", "en")] * 2
        begin = stream.start_time_offset  # of LiveKit's own count
        times = [time - begin for data in said for time in (data.start_time, data.end_time)]
        assert times == pytest.approx([0.0, 1.0, 1.0, 2.0])
        whole = await service.recognize(rtc.AudioFrame(SECOND * 2, 16_000, 1, 32_000))
        assert whole.alternatives[0].text == "0.500 0.500"
        assert whole.alternatives[0].source_languages == ["en"]
        assert {settings.phrases for settings in served.hub.settings} == {("Grafana",)}
        await service.aclose()
    assert not served.hub.open_streams


@pytest.mark.parametrize(
    ("own", "asked", "spoken"), [("es", None, "es"), (None, "Spanish", "es"), ("es", "fr,de", "fr")]
)
async def test_livekit_agents_name_the_language_and_hear_which_was_spoken(own, asked, spoken):
    agents = pytest.importorskip("livekit.agents", reason="needs livekit-agents")
    from livekit import rtc

    audio = rtc.AudioFrame(SECOND, 16_000, 1, 16_000)
    given = {} if asked is None else {"language": asked}
    async with running() as served:
        service = loaded("livekit", "rtstream_livekit").RtstreamSTT(served.target, language=own)
        async with service.stream(**given) as stream:
            stream.push_frame(audio)
            stream.end_input()
            heard = [data for event in [event async for event in stream] for data in event.alternatives]
        whole = await service.recognize(audio, **given)
        assert [data.language for data in [*heard, *whole.alternatives]] == [spoken] * 3  # a partial, a final, a whole
        with pytest.raises(ValueError, match="no language tag"):
            await service.recognize(audio, language="gibberish")
        served.hub.ready = False
        with pytest.raises(agents.APIConnectionError) as caught:
            await service.recognize(audio, conn_options=agents.APIConnectOptions(max_retry=0))
        assert caught.value.retryable
        await service.aclose()


async def test_livekit_agents_hear_why_a_service_cannot_be_reached(tmp_path):
    agents = pytest.importorskip("livekit.agents", reason="needs livekit-agents")
    from livekit import rtc

    service = loaded("livekit", "rtstream_livekit").RtstreamSTT(f"unix:{tmp_path}/nothing")
    options = agents.APIConnectOptions(max_retry=0)
    with pytest.raises(agents.APIConnectionError, match="no service listens there"):
        await service.recognize(rtc.AudioFrame(SECOND, 16_000, 1, 16_000), conn_options=options)
    await service.aclose()


async def piped(service, frames_to_send):
    """Texts and languages that a pipeline with the service gives, and its errors."""
    from pipecat.frames import frames
    from pipecat.tests.utils import run_test

    down, up = await run_test(service, frames_to_send=frames_to_send)
    said = [frame for frame in down if isinstance(frame, frames.TranscriptionFrame)]
    assert all(frame.finalized for frame in said)
    provisional = [frame for frame in down if isinstance(frame, frames.InterimTranscriptionFrame)]
    assert {frame.language for frame in provisional} == {frame.language for frame in said}
    errors = [frame.error for frame in up if isinstance(frame, frames.ErrorFrame)]
    return [(frame.text, str(frame.language)) for frame in said], errors


async def test_pipecat():
    frames = pytest.importorskip("pipecat.frames.frames", reason="needs pipecat-ai")
    from pipecat.services.stt_service import STTService

    async with running() as served:
        service = loaded("pipecat", "rtstream_pipecat").RtstreamSTTService(served.target, sample_rate=16_000)
        assert isinstance(service, STTService)
        audio = [frames.InputAudioRawFrame(SECOND, 16_000, 1) for _ in range(2)]
        assert await piped(service, audio) == ([("0.500", "en")] * 2, [])
    assert not served.hub.open_streams


async def test_pipecat_names_the_language_and_hears_which_was_spoken_also_when_it_is_changed():
    frames = pytest.importorskip("pipecat.frames.frames", reason="needs pipecat-ai")
    from pipecat.services.settings import STTSettings
    from pipecat.transcriptions.language import Language

    class SaysMore(loaded("pipecat", "rtstream_pipecat").RtstreamSTTService):
        """Hears a second more when its settings have changed: audio overtakes such frames."""

        async def _update_settings(self, delta):
            changed = await super()._update_settings(delta)
            await self.process_generator(self.run_stt(SECOND))
            return changed

    async with running() as served:
        service = SaysMore(served.target, sample_rate=16_000, language=Language.ES)
        audio = frames.InputAudioRawFrame(SECOND, 16_000, 1)
        change = frames.STTUpdateSettingsFrame(delta=STTSettings(language="de"))
        assert await piped(service, [audio, change]) == ([("0.500", "es"), ("0.500", "de")], [])
    assert not served.hub.open_streams


async def test_pipecat_tells_why_there_is_nothing_and_goes_on_when_there_is_again():
    frames = pytest.importorskip("pipecat.frames.frames", reason="needs pipecat-ai")
    example = loaded("pipecat", "rtstream_pipecat")
    example.RETRY_SECONDS = 0.0
    audio = [frames.InputAudioRawFrame(SECOND, 16_000, 1)] * 2

    class FailsFirst(example.RtstreamSTTService):
        """Its second audio comes when the first stream has failed, and the service is ready."""

        async def run_stt(self, audio):
            first = self._reading
            async for frame in super().run_stt(audio):
                yield frame
            if not served.hub.ready:
                await asyncio.wait([first])
                served.hub.ready = True

    async with running() as served:
        served.hub.ready = False
        texts, [error] = await piped(FailsFirst(served.target, sample_rate=16_000), audio)
        assert texts == [("0.500", "en")]
        assert "model is being loaded" in error
        served.hub.ready = False
        service = FailsFirst(served.target, sample_rate=16_000, language="gibberish")
        texts, [error] = await piped(service, audio)
        assert not texts
        assert "no language tag" in error
        assert not service.is_usable
