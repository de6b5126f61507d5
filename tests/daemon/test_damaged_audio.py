"""What clients send of recordings that are damaged, or are not sent to their end: what is before that is recognised."""

import subprocess
import threading

import grpc
import numpy as np
import pytest
import soundfile as sf

from rtstream.wire.failures import read_failure
from rtstream.wire.v1 import rtstream_pb2 as pb
from tests.daemon.served import PROGRAM
from tests.recognizer.tiny_bundle import DATA
from tests.vad.recordings import read_clip

SETTINGS = """
[recognition]
partials = "ctc"

[server]
pause_seconds = 1
idle_seconds = 5
"""


@pytest.fixture(scope="module")
def speech():
    return read_clip(DATA / "cv-telephone.wav")


def test_finals_of_what_is_before_the_damage_come_first_on_every_way(serve, speech, tmp_path):
    daemon = serve("--source", "fifo:none", settings=SETTINGS).ready()
    stub = daemon.stub()
    config = pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_F32LE, no_partials=True)
    good = speech.astype("<f4").tobytes()
    whole = stub.Transcribe(pb.TranscribeRequest(config=config, audio=good))
    assert len(whole.finals) == 1
    bad = good + np.array([np.nan, 0], "<f4").tobytes() + good

    transcribed = stub.Transcribe(pb.TranscribeRequest(config=config, audio=bad))
    assert [final.text for final in transcribed.finals] == [final.text for final in whole.finals]
    assert transcribed.duration == whole.duration
    assert transcribed.fault.code == "AUDIO_DAMAGED"

    call = stub.Recognize(iter([pb.RecognizeRequest(config=config), pb.RecognizeRequest(audio=bad)]))
    assert next(call).final.text == whole.finals[0].text
    with pytest.raises(grpc.RpcError) as raised:
        next(call)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read_failure(raised.value.trailing_metadata()).metadata == {"field": "audio"}

    path = tmp_path / "bad.wav"
    sf.write(path, np.frombuffer(bad, "<f4"), 16_000, subtype="FLOAT")
    command = [*PROGRAM, "transcribe", "--server", f"unix:{daemon.socket}", "--no-partials", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert whole.finals[0].text in done.stdout
    assert "nan, not audio" in done.stderr
    assert done.stderr.count("\n") == 1

    # Speech alone, and the stream held open: the final comes in the pause, and the error of the idle stream last.
    sent = threading.Event()

    def held():
        yield pb.RecognizeRequest(config=config)
        for begin in range(0, len(good), 40_000):
            yield pb.RecognizeRequest(audio=good[begin : begin + 40_000])
        sent.wait(60)

    call = stub.Recognize(held())
    first = next(call)
    assert first.final.text == whole.finals[0].text
    with pytest.raises(grpc.RpcError) as raised:
        next(call)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    sent.set()
