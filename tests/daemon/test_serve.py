"""The service as a process: what goes in, what comes out, and what signals do."""

import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtstream.audio.open import open_audio
from rtstream.engine.open import load_bundle
from rtstream.events import SAMPLE_RATE, Final
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.wire.v1 import rtstream_pb2 as pb
from tests.audio.sound_server import needs_sound, until
from tests.daemon.served import PROGRAM
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import read_clip

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
CTC = '[recognition]\npartials = "ctc"\n'
"""The tiny model's decoder says nothing before the end."""


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A recording of two sentences, as a WAV file; and its samples."""
    clips = []
    for name in ("cv-telephone.wav", "lj-high-wall.flac"):
        clips += [read_clip(DATA / name), np.zeros(SAMPLE_RATE, np.float32)]
    pcm = np.round(np.concatenate(clips) * 32767).astype("<i2")
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, pcm, SAMPLE_RATE)
    return path, pcm


@pytest.fixture(scope="module")
def replayed(bundle, speech):
    """What replay finds in it."""
    pipeline = Pipeline(Recognizer(load_bundle(bundle), RecognizerConfig(partials="ctc")))
    with open_audio(speech[0]) as audio:
        events = [event for block in audio for event in pipeline.push(block)] + pipeline.finish()
    finals = [(e.segment, e.start, e.end, e.text) for e in events if isinstance(e, Final)]
    assert len(finals) >= 2
    return finals


def samples(duration):
    return (duration.seconds * 10**9 + duration.nanos) * SAMPLE_RATE // 10**9


def finals(subscriber):
    return [(f.segment, samples(f.start), samples(f.end), f.text) for f in subscriber.of("final")]


def open_segments(subscriber):
    done = {final.segment for final in subscriber.of("final")}
    return sorted({partial.segment for partial in subscriber.of("partial")} - done)


@pytest.mark.parametrize("kind", ["wav", "fifo", "stdin", "stdin wav"])
def test_every_source_gives_the_finals_that_replay_gives(serve, bundle, speech, tmp_path, *, replayed, kind):
    path, pcm = speech
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    source = {"wav": f"wav:{path}?speed=max", "fifo": f"fifo:{fifo}", "stdin": "-?rate=16000", "stdin wav": "-"}[kind]
    # A file is read at once, and only speech that comes after a subscriber is told to it: the model comes later still.
    model = tmp_path / "model"
    daemon = serve("--source", source, model=model, stdin=subprocess.PIPE, settings=f"{CTC}retry_seconds = 0.1\n")
    live = daemon.subscribe(kinds=[pb.EVENT_KIND_SPEECH])
    model.symlink_to(bundle)
    if kind == "fifo":
        threading.Thread(target=fifo.write_bytes, args=(pcm.tobytes(),), daemon=True).start()
    elif kind.startswith("stdin"):
        content = pcm.tobytes() if kind == "stdin" else path.read_bytes()
        threading.Thread(target=lambda: [daemon.process.stdin.write(content), daemon.process.stdin.close()]).start()
    daemon.ready()
    subscriber = daemon.subscribe(from_start=True)
    until(lambda: len(finals(subscriber)) == len(replayed), "all finals")
    assert finals(subscriber) == replayed
    status = daemon.status()  # the service stays up after it
    assert status.phase == pb.PHASE_READY
    assert status.counters["audio_samples"] == len(pcm)
    assert status.counters["behind_samples"] == 0
    assert (list(status.recognized_languages), status.sample_rate) == (["en"], SAMPLE_RATE)
    assert daemon.stop() == 0
    assert finals(subscriber) == replayed
    for segment, start, end, _ in replayed:
        begun, over = (event for event in live.of("speech") if event.segment == segment)
        assert (begun.state, samples(begun.offset)) == (pb.SPEECH_STATE_STARTED, start)
        assert over.state == pb.SPEECH_STATE_ENDED
        assert start < samples(over.offset) <= end
    assert not [entry for entry in daemon.log if "text" in entry]  # transcripts stay out of the log
    assert daemon.told.index("READY=1") < daemon.told.index("STOPPING=1")


def test_sigterm_finishes_and_publishes_the_segment_that_is_being_spoken(serve, speech, tmp_path):
    _, pcm = speech
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    daemon = serve("--source", f"fifo:{fifo}").ready()
    subscriber = daemon.subscribe()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pcm[: 2 * SAMPLE_RATE].tobytes())
        until(lambda: daemon.status().counters["recognised_samples"] == 2 * SAMPLE_RATE, "heard")
        assert not subscriber.of("final")
        assert daemon.stop() == 0
    (final,) = subscriber.of("final")
    assert final.text
    assert daemon.told[-1].startswith("EXTEND_TIMEOUT_USEC=") or "STOPPING=1" in daemon.told


def test_what_cannot_be_recognised_in_time_at_the_end_is_told(serve, speech):
    daemon = serve(
        "--source", f"wav:{speech[0]}?speed=max&loop=1", settings="[service]\ndrain_seconds = 0.01\n"
    ).ready()
    subscriber = daemon.subscribe()
    until(lambda: subscriber.of("final"), "heard")
    assert daemon.stop() == 75
    assert daemon.events("stopped")[0]["complete"] is False


BUSY = """
import sys, torch
from rtstream.recognizer.pipeline import Pipeline
push = Pipeline.push
def busy(self, block):
    matrix = torch.rand(500, 500)
    for _ in range(100_000):
        matrix = torch.tanh(matrix @ matrix)
    return push(self, block)
Pipeline.push = busy
from rtstream.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_stopping_while_a_thread_is_deep_in_the_engine_ends_with_75(serve, speech, signals):
    daemon = serve(
        *("--source", f"wav:{speech[0]}?speed=max&loop=1"),
        program=[sys.executable, "-c", BUSY],
        settings="[service]\ndrain_seconds = 0.5\n",
    ).ready()
    until(lambda: daemon.status().counters["audio_samples"], "heard")
    for _ in range(signals):
        daemon.send(signal.SIGTERM)
    assert daemon.wait() == 75
    assert daemon.events("stopped")[0]["complete"] is False
    assert not [entry for entry in daemon.log if "text" in entry]  # neither a traceback nor C++'s last words


HUNG = """
import sys, time
from rtstream.recognizer.pipeline import Pipeline
Pipeline.push = lambda self, block: time.sleep(3600)
from rtstream.cli.main import main
sys.exit(main())
"""


def test_stopping_while_the_last_piece_is_being_recognised_and_none_waits_ends_with_75(serve, speech, tmp_path):
    _, pcm = speech
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    program, settings = [sys.executable, "-c", HUNG], "[service]\ndrain_seconds = 0.1\n"
    daemon = serve("--source", f"fifo:{fifo}", program=program, settings=settings).ready()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pcm[:1600].tobytes())
        until(lambda: daemon.status().counters["audio_samples"] == 1600, "heard")
        until(lambda: not daemon.status().backlog.ToMilliseconds(), "taken by the engine")
        assert daemon.stop() == 75
    assert daemon.events("stopped")[0]["complete"] is False


def test_segment_that_fails_at_the_end_is_not_published_and_the_code_says_so(serve, speech, tmp_path):
    fails = "def finish(self):\n    raise MemoryError\nPipeline.finish = finish\n"
    program = [sys.executable, "-c", HUNG.replace("Pipeline.push = lambda self, block: time.sleep(3600)\n", fails)]
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    daemon = serve("--source", f"fifo:{fifo}", program=program).ready()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(speech[1][: 2 * SAMPLE_RATE].tobytes())
        until(lambda: daemon.status().counters["recognised_samples"] == 2 * SAMPLE_RATE, "heard")
        assert daemon.stop() == 75


SHORT_OF_MEMORY = """
import sys
from rtstream.daemon.models import LoadedModel
from rtstream.recognizer.pipeline import Pipeline
def failing(function, *fails):
    calls = []
    def call(*arguments, **options):
        calls.append(None)
        if len(calls) in fails:
            raise MemoryError
        return function(*arguments, **options)
    return call
Pipeline.push = failing(Pipeline.push, 1)
LoadedModel.own = failing(LoadedModel.own, 2, 3)
from rtstream.cli.main import main
sys.exit(main())
"""


def test_recognition_outlives_that_there_was_no_memory_not_even_to_begin_anew(serve, speech):
    daemon = serve(
        *("--source", f"wav:{speech[0]}?speed=max&loop=1"),
        program=[sys.executable, "-c", SHORT_OF_MEMORY],
        settings="[service]\ndrain_seconds = 0.01\n",
    ).ready()
    subscriber = daemon.subscribe(from_start=True)
    until(lambda: subscriber.of("final"), "heard after all")
    assert daemon.stop() == 75


def test_service_goes_on_while_it_can_open_no_file(serve, speech, replayed, tmp_path):
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    daemon = serve("--source", f"fifo:{fifo}", settings=CTC).ready()
    subscriber = daemon.subscribe()
    with fifo.open("wb", buffering=0) as writer:
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        lines = sum(line.startswith("STATUS=") for line in daemon.told)
        writer.write(speech[1].tobytes())
        until(lambda: len(finals(subscriber)) == len(replayed), "all finals")
        until(lambda: sum(line.startswith("STATUS=") for line in daemon.told) > lines + 3, "status lines")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
    assert finals(subscriber) == replayed
    assert daemon.status().phase == pb.PHASE_READY
    assert daemon.stop() == 0
    assert not [entry for entry in daemon.log if "text" in entry or "exception" in entry]


def test_ready_is_told_only_when_the_model_is_loaded_for_which_the_service_waits(serve, bundle, tmp_path):
    model = tmp_path / "model"
    daemon = serve("--source", "fifo:none", model=model, settings="[recognition]\nretry_seconds = 0.1\n")
    subscriber = daemon.subscribe()
    until(lambda: daemon.status().faults, "fault")
    (fault,) = daemon.status().faults
    assert fault.code == "MODEL_UNUSABLE"
    assert str(model) in fault.message
    assert daemon.status().phase == pb.PHASE_LOADING
    assert "READY=1" not in daemon.told
    shutil.copytree(bundle, model)
    daemon.ready()
    until(lambda: any(fault.recovered for fault in subscriber.of("fault")), "recovery")
    assert not daemon.status().faults
    assert daemon.status().model == "tiny"


@pytest.mark.slow
def test_kill_9_in_the_middle_loses_no_final_that_anybody_saw_and_numbers_go_on(serve, speech, tmp_path):
    settings = f'{CTC}[publish]\nstore = "{tmp_path / "finals.db"}"\n'
    source = f"wav:{speech[0]}?speed=max&loop=1"
    seen = []
    for run in range(3):
        daemon = serve("--source", source, settings=settings).ready()  # the socket of the killed one is in its way
        resume = {"resume_after": seen[-1].position} if seen else {"from_start": True}
        subscriber = daemon.subscribe(**resume)
        until(lambda s=subscriber, n=10 + run: len(s.of("final")) >= n, "finals")
        daemon.kill()
        assert not subscriber.of("gap")
        seen += subscriber.of("final")
    assert [final.position.sequence for final in seen] == list(range(1, len(seen) + 1))
    assert len({final.position.epoch for final in seen}) == 1


@pytest.mark.slow
def test_full_disk_is_a_fault_while_transcripts_go_on_and_all_are_stored_when_there_is_room(serve, speech, tmp_path):
    daemon = serve(
        *("--source", f"wav:{speech[0]}?speed=max&loop=1"),
        settings=f'{CTC}[publish]\nstore = "{tmp_path / "finals.db"}"\n',
    ).ready()
    subscriber = daemon.subscribe(from_start=True)
    until(lambda: len(finals(subscriber)) > 5, "finals")
    # A real write error of the kernel: no file of the service may grow.
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    (fault,) = until(lambda: daemon.status().faults, "fault")
    assert fault.code in {"DISK_FULL", "STORE_FAILED"}  # SQLite gives EFBIG one name or the other
    assert daemon.status().phase == pb.PHASE_DEGRADED
    before = len(finals(subscriber))
    until(lambda: len(finals(subscriber)) > before + 5, "transcripts go on")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: not daemon.status().faults, "recovery")
    assert [fault.recovered for fault in subscriber.of("fault")] == [False, True]
    assert daemon.stop() in {0, 75}  # a source without an end cannot be finished
    with sqlite3.connect(tmp_path / "finals.db") as reader:
        stored = [number for (number,) in reader.execute("SELECT sequence FROM finals ORDER BY sequence")]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) >= len(finals(subscriber))


def test_sighup_with_a_lower_retention_takes_old_finals_out_of_the_store(serve, speech, replayed, tmp_path):
    store = f'[publish]\nstore = "{tmp_path / "finals.db"}"\n'
    daemon = serve("--source", f"wav:{speech[0]}?speed=max", settings=CTC + store).ready()
    subscriber = daemon.subscribe(from_start=True)
    until(lambda: len(finals(subscriber)) == len(replayed), "all finals")
    daemon.config.write_text(CTC + store + "store_max_age_hours = 1e-6\n")
    daemon.send(signal.SIGHUP)
    until(lambda: daemon.events("settings read again"), "read again")
    with sqlite3.connect(tmp_path / "finals.db") as reader:
        until(lambda: not reader.execute("SELECT count(*) FROM finals").fetchone()[0], "taken out")
    assert not finals(daemon.subscribe(from_start=True))
    assert daemon.stop() == 0


def test_phrases_come_from_the_settings_and_the_call_and_again_with_sighup(serve, speech, replayed, tmp_path):
    _, pcm = speech
    said = [word for *_, text in replayed for word in text.split() if len(word) >= 3]
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)

    def settings(words):
        return f"{CTC}phrases = {json.dumps([f'{word}=0.1' for word in words])}\n"

    daemon = serve("--source", f"fifo:{fifo}", settings=settings(map(str.upper, said[1:]))).ready()
    subscriber = daemon.subscribe()

    def published():
        before = len(finals(subscriber))
        writer.write(pcm.tobytes())
        until(lambda: len(finals(subscriber)) >= before + len(replayed), "all finals")
        return " ".join(text for *_, text in finals(subscriber)[before:]).split()

    with fifo.open("wb", buffering=0) as writer:
        assert any(word.isupper() for word in published() if len(word) >= 3)
        daemon.config.write_text(settings(map(str.title, said[1:])))
        daemon.send(signal.SIGHUP)
        until(lambda: daemon.events("settings read again"), "read again")
        assert daemon.events("settings read again")[0]["changed"] == ["recognition.phrases"]
        second = [word for word in published() if len(word) >= 3]
        assert any(word.istitle() for word in second)
        assert not any(word.isupper() for word in second)
    daemon.config.write_text(f'{CTC}phrases = ["x=abc"]\n')
    daemon.send(signal.SIGHUP)
    until(lambda: daemon.status().faults, "fault")
    (fault,) = daemon.status().faults
    assert fault.code == "CONFIG_INVALID"
    assert "recognition.phrases: phrase 'x=abc': the weight 'abc' is not a number" in fault.message
    config = pb.RecognitionConfig(phrases=[f"{said[0].upper()}=0.1"])
    response = daemon.stub().Transcribe(pb.TranscribeRequest(config=config, audio=pcm.tobytes()))
    words = " ".join(final.text for final in response.finals).split()
    # Letters: a phrase that is also heard across the space between two words makes them one.
    assert "".join(words).lower() == "".join(text for *_, text in replayed).replace(" ", "")
    assert said[0].upper() in words
    assert said[1].title() in words or said[1].lower() == said[0].lower()


def test_sighup_takes_another_language_for_the_next_segment_and_for_calls_that_name_none(serve, speech, tmp_path):
    _, pcm = speech
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    model = save_tiny_bundle(tmp_path / "two", languages=("en", "es"))

    def settings(language):
        return f'[recognition]\npartials = "none"\nlanguage = {json.dumps(language)}\n'

    def transcribed():
        response = daemon.stub().Transcribe(pb.TranscribeRequest(config=pb.RecognitionConfig(), audio=pcm.tobytes()))
        return {final.language for final in response.finals}

    # CTC, which writes the tiny model's finals, knows English alone: in Spanish there are none.
    daemon = serve("--source", f"fifo:{fifo}", model=model, settings=settings("es")).ready()
    subscriber = daemon.subscribe()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pcm.tobytes())
        until(lambda: daemon.status().counters["recognised_samples"] >= len(pcm) - SAMPLE_RATE, "heard")
        daemon.config.write_text(settings(["en", "fr"]))
        daemon.send(signal.SIGHUP)
        (fault,) = until(lambda: daemon.status().faults, "fault")
        assert "recognition.language: 'fr' is not known to this model, only en, es; the settings stay" in fault.message
        assert not transcribed()
        assert not finals(subscriber)
        daemon.config.write_text(settings("en"))
        daemon.send(signal.SIGHUP)
        until(lambda: daemon.events("settings read again"), "read again")
        assert daemon.events("settings read again")[0]["changed"] == ["recognition.language"]
        writer.write(pcm.tobytes())
        until(lambda: len(finals(subscriber)) >= 2, "finals")
    assert {event.language for event in subscriber.of("final")} == transcribed() == {"en"}


def test_fifo_whose_writer_pauses_gives_the_last_words_and_goes_on_without_a_gap(serve, speech, tmp_path):
    _, pcm = speech
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    daemon = serve("--source", f"fifo:{fifo}?pause=0.5", settings=CTC).ready()
    subscriber = daemon.subscribe()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pcm[: 2 * SAMPLE_RATE].tobytes())
        until(lambda: finals(subscriber), "the last words before the pause")
        assert daemon.status().device.state == pb.CAPTURE_STATE_PAUSED
        assert daemon.status().phase == pb.PHASE_READY
        writer.write(pcm[2 * SAMPLE_RATE :].tobytes())
        until(lambda: daemon.status().counters["recognised_samples"] == len(pcm), "heard")
    assert daemon.stop() == 0
    (_, _, end, _), (_, begin, _, _), *_ = finals(subscriber)
    assert end == begin == 2 * SAMPLE_RATE
    assert not subscriber.of("audio_lost")


def test_sighup_takes_what_it_can_and_names_what_it_cannot(serve):
    daemon = serve("--source", "fifo:none", settings="[vad]\naggressiveness = 1\n").ready()
    daemon.config.write_text(
        "[vad]\naggressiveness = 3\n[log]\ntranscripts = true\n[audio]\nstall_seconds = 9.0\n"
        "[publish]\nstore_max_age_hours = 24\nqueue_size = 9\n"
    )
    daemon.send(signal.SIGHUP)
    until(lambda: daemon.events("settings read again"), "read again")
    (entry,) = daemon.events("settings read again")
    assert entry["changed"] == ["vad.aggressiveness", "publish.store_max_age_hours", "log.transcripts"]
    assert entry["need_restart"] == ["audio.stall_seconds", "publish.queue_size"]
    until(lambda: daemon.told.count("READY=1") == 2, "ready again")
    assert daemon.told.index("RELOADING=1") > daemon.told.index("READY=1")
    for wrong in ("aggressiveness = 7", 'engine = "silero"\nmodel = "none.onnx"'):
        daemon.config.write_text(f"[vad]\n{wrong}\n")
        daemon.send(signal.SIGHUP)
        until(lambda: [fault.code for fault in daemon.status().faults] == ["CONFIG_INVALID"], "fault")
        daemon.config.write_text("")
        daemon.send(signal.SIGHUP)
        until(lambda: not daemon.status().faults, "recovery")
    assert daemon.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("options", "settings", "code", "told"),
    [
        (["--source", "wav:none.wav"], "", 66, "none.wav: no such file"),
        (["--source", "radio"], "", 78, "source 'radio' is not known"),
        ([], "[vad]\nframe_ms = 25\n", 78, "vad.frame_ms = 25"),
        ([], '[vad]\nengine = "silero"\nmodel = "none.onnx"\n', 78, "none.onnx: no such file"),
        (["--listen", "nowhere"], "", 78, "server.listen"),
        (["--listen", "0.0.0.0:7661"], "", 69, "other machines could listen in"),
        (["--listen", "unix:/no/such/folder/x"], "", 69, "there is no folder /no/such/folder"),
        (["--no-such"], "", 2, "--no-such"),
    ],
)
def test_exit_code_and_one_line_say_why_it_does_not_start(tmp_path, options, settings, code, told):
    (tmp_path / "c.toml").write_text(settings)
    done = subprocess.run(
        [*PROGRAM, "serve", "--config", tmp_path / "c.toml", "--source", "fifo:none", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_metrics_are_served_and_their_port_is_not_taken_twice(serve, tmp_path):
    from urllib.request import urlopen

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = serve("--source", "fifo:none", "--metrics", f"127.0.0.1:{port}").ready()

    def scraped():
        return urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()

    until(lambda: 'rtstream_device_state{state="lost"} 1.0' in scraped(), "the source was looked for")
    text = scraped()
    assert 'rtstream_info{engine="' in text
    assert "rtstream_decode_seconds_count 0.0" in text
    other = subprocess.run(
        [
            *PROGRAM,
            "serve",
            "--source",
            "fifo:none",
            "--listen",
            f"unix:{tmp_path}/b",
            "--metrics",
            f"127.0.0.1:{port}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert other.returncode == 69
    assert f"metrics.listen = '127.0.0.1:{port}'" in other.stderr.splitlines()[-1]
    assert daemon.stop() == 0


@needs_sound
def test_microphone_that_is_absent_at_boot_is_heard_when_it_comes_and_sigterm_gives_its_last_words(
    serve, sound, speech
):
    daemon = serve(
        "--source", "mic:desk", environment=sound.environment, settings=f"[audio]\nretry_seconds = 0.2\n{CTC}"
    ).ready()
    subscriber = daemon.subscribe()
    until(lambda: daemon.status().device.state == pb.CAPTURE_STATE_LOST, "absent")
    assert daemon.status().phase == pb.PHASE_DEGRADED
    sound.configure("desk")
    device = sound.plug("desk")
    device.say(np.tile(speech[1].astype(np.float32) / 32768, 10))
    until(lambda: daemon.status().phase == pb.PHASE_READY, "heard")
    until(lambda: subscriber.of("final"), "a final")
    said = len(subscriber.of("final"))
    open_segment = until(lambda: open_segments(subscriber), "another segment is being spoken")[0]
    assert daemon.stop() == 0
    assert open_segment in [final.segment for final in subscriber.of("final")[said:]]
    states = [event.state for event in subscriber.of("device_state")]
    assert states[-2:] == [pb.CAPTURE_STATE_CAPTURING, pb.CAPTURE_STATE_ENDED]
    assert not subscriber.of("audio_lost")


@needs_sound
@pytest.mark.slow
def test_device_that_is_unplugged_for_ten_seconds_is_a_gap_of_its_length_between_finals(serve, sound, speech):
    sound.configure("desk")
    device = sound.plug("desk")
    said = np.tile(speech[1].astype(np.float32) / 32768, 10)
    daemon = serve(
        "--source", "mic:desk", environment=sound.environment, settings=f"[audio]\nretry_seconds = 0.2\n{CTC}"
    ).ready()
    subscriber = daemon.subscribe(from_start=True)
    device.say(said)
    until(lambda: subscriber.of("final") and open_segments(subscriber), "another segment is being spoken")
    device.unplug()
    until(lambda: daemon.status().device.state == pb.CAPTURE_STATE_LOST, "lost")
    assert daemon.status().phase == pb.PHASE_DEGRADED
    before = finals(subscriber)
    threading.Event().wait(10.0)
    sound.configure("other", "desk")  # under another index
    device = sound.plug("desk")
    device.say(said)
    until(lambda: len(finals(subscriber)) > len(before) + 1, "recognised again")
    assert daemon.status().phase == pb.PHASE_READY
    assert daemon.stop() == 0
    (lost,) = subscriber.of("audio_lost")
    begin, end = samples(lost.start), samples(lost.start) + samples(lost.duration)
    assert lost.reason == pb.AUDIO_LOSS_REASON_DEVICE
    assert end - begin >= 10 * SAMPLE_RATE
    heard = finals(subscriber)
    assert [segment for segment, *_ in heard] == sorted({segment for segment, *_ in heard})
    assert all(stop <= begin or start >= end for _, start, stop, _ in heard)
    assert any(stop == begin for _, _, stop, _ in heard)  # what was being said is a whole
    states = [event.state for event in subscriber.of("device_state")]
    assert states.count(pb.CAPTURE_STATE_LOST) >= 1


@needs_sound
def test_watchdog_is_fed_while_audio_comes_and_not_when_an_open_device_gives_none(serve, sound):
    sound.configure("desk")
    device = sound.plug("desk")
    device.say(np.zeros(0, np.float32))
    daemon = serve(
        "--source",
        "mic:desk",
        environment={**sound.environment, "WATCHDOG_USEC": "400000"},
        settings="[audio]\nstall_seconds = 1.0\nretry_seconds = 0.2\n",
    ).ready()
    until(lambda: daemon.told.count("WATCHDOG=1") > 3, "fed")
    device.hush()
    until(lambda: daemon.status().device.state == pb.CAPTURE_STATE_STALLED, "stalled")
    fed = daemon.told.count("WATCHDOG=1")
    threading.Event().wait(2.0)  # five times the watchdog's interval
    assert daemon.told.count("WATCHDOG=1") == fed
    device.say(np.zeros(0, np.float32))
    until(lambda: daemon.told.count("WATCHDOG=1") > fed, "fed again")
    device.unplug()
    sound.configure()
    until(lambda: daemon.status().device.state == pb.CAPTURE_STATE_LOST, "lost")
    fed = daemon.told.count("WATCHDOG=1")
    # An absent device is being looked for: a restart would not bring it.
    until(lambda: daemon.told.count("WATCHDOG=1") > fed + 3, "fed while looking")
    assert daemon.stop() == 0


@pytest.mark.skipif(not FAKETIME, reason="needs a clock that can be set: apt-get install libfaketime")
def test_time_of_day_that_jumps_in_the_middle_of_a_sentence_changes_nothing(serve, speech, replayed, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
    }
    daemon = serve("--source", f"wav:{speech[0]}", environment=environment, settings=CTC).ready()
    subscriber = daemon.subscribe(from_start=True)
    for number, jump in enumerate(("+30y", "-20y", "+1y")):
        heard = (number + 1) * len(speech[1]) // 4
        until(lambda h=heard: daemon.status().counters["recognised_samples"] >= h, "heard")
        clock.write_text(jump)
    until(lambda: len(finals(subscriber)) == len(replayed), "all finals")
    assert finals(subscriber) == replayed
    assert daemon.status().uptime.seconds < 3600
    assert daemon.stop() == 0
    assert len({entry["timestamp"][:4] for entry in daemon.log if "timestamp" in entry}) > 1  # it did jump


@pytest.mark.skipif(not FAKETIME, reason="needs a clock that can be set: apt-get install libfaketime")
def test_clock_that_is_set_after_the_start_moves_only_what_is_said_later_and_a_restart_moves_nothing(
    serve, speech, replayed, tmp_path
):
    clock = tmp_path / "clock"
    clock.write_text("-50y")
    environment = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
    }
    settings = f'{CTC}[publish]\nstore = "{tmp_path / "finals.db"}"\n'
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    began, second = time.time(), replayed[1][1]
    daemon = serve("--source", f"fifo:{fifo}", environment=environment, settings=settings).ready()
    subscriber = daemon.subscribe(from_start=True)
    with fifo.open("wb", buffering=0) as writer:
        writer.write(speech[1][:second].tobytes())
        until(lambda: finals(subscriber), "the first sentence")
        clock.write_text("+0")
        writer.write(speech[1][second:].tobytes())
        until(lambda: len(finals(subscriber)) == len(replayed), "all finals")
    assert daemon.stop() == 0
    first, *_, last = times = [final.time.ToMilliseconds() / 1000 for final in subscriber.of("final")]
    assert first < began - 40 * 365 * 86_400
    assert began < last < time.time()
    for partial in subscriber.of("partial"):
        assert partial.time in [final.time for final in subscriber.of("final") if final.segment == partial.segment]

    daemon = serve("--source", f"wav:{speech[0]}", settings=settings).ready()
    again = daemon.subscribe(from_start=True)
    until(lambda: len(finals(again)) >= len(replayed), "what is stored")
    held = again.of("final")[: len(replayed)]
    assert [final.time.ToMilliseconds() / 1000 for final in held] == times
    assert [final.confidence for final in held] == [final.confidence for final in subscriber.of("final")]
    assert all(0 < final.confidence <= 1 for final in held)
    assert daemon.stop() == 0


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_store_that_cannot_be_used_is_a_fault_and_all_is_stored_when_it_can(serve, speech, replayed, tmp_path, kind):
    store = tmp_path / "finals.db"
    if kind == "folder":
        store.mkdir()
    else:
        store.symlink_to(tmp_path / "no" / "finals.db")
    daemon = serve(*("--source", f"wav:{speech[0]}?speed=max"), settings=f'{CTC}[publish]\nstore = "{store}"\n').ready()
    subscriber = daemon.subscribe(from_start=True)
    until(lambda: len(finals(subscriber)) == len(replayed), "transcripts go on")
    (fault,) = daemon.status().faults
    assert (fault.code, daemon.status().phase) == ("STORE_FAILED", pb.PHASE_DEGRADED)
    if kind == "folder":
        store.rmdir()
    else:
        (tmp_path / "no").mkdir()
    assert daemon.stop() == 0  # the last try
    again = serve("--source", "fifo:none", settings=f'{CTC}[publish]\nstore = "{store}"\n').ready()
    assert not [fault for fault in again.status().faults if fault.code == "STORE_FAILED"]
    subscriber = again.subscribe(from_start=True)
    until(lambda: len(finals(subscriber)) == len(replayed), "all finals")
    assert finals(subscriber) == replayed
    assert again.stop() == 0
