"""Recognize and Transcribe against a real server: whatever a client sends, it gets a clear status."""

import asyncio
import io
import threading
import wave

import grpc
import numpy as np
import pytest
import soundfile
from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtstream.client.connection import Ending
from rtstream.rpc.recognizing import _Messages
from rtstream.rpc.server import ServerConfig
from rtstream.wire.failures import read_failure
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from tests.rpc.calls import audio, config, failure, recognize, until
from tests.rpc.conftest import running

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def stub(served):
    async with grpc.aio.insecure_channel(served.target) as channel:
        yield SpeechServiceStub(channel)


def kinds(responses):
    return [response.WhichOneof("event") for response in responses]


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "request"),
        ([audio()], "request"),
        ([pb.RecognizeRequest()], "request"),
        ([config(), config()], "request"),
        ([config(), audio(), config()], "request"),
        ([config(), audio(), pb.RecognizeRequest()], "request"),
        ([config(sample_rate=999)], "config.sample_rate"),
        ([config(sample_rate=768_001)], "config.sample_rate"),
        ([config(channels=257)], "config.channels"),
        ([config(encoding=pb.AUDIO_ENCODING_WAV), pb.RecognizeRequest(audio=b"RIFF but no WAVE")], "audio"),
        ([config(encoding=pb.AUDIO_ENCODING_OGG), pb.RecognizeRequest(audio=b"fLaC" + bytes(100))], "audio"),
        ([config(encoding=pb.AUDIO_ENCODING_OGG), pb.RecognizeRequest(audio=b"OggS" + bytes(100))], "audio"),
        ([config(encoding=pb.AUDIO_ENCODING_FLAC), pb.RecognizeRequest(audio=b"f")], "audio"),
        ([config(encoding=99)], "config.encoding"),
        ([config(chunk=Duration(seconds=1))], "config.chunk"),
        ([config(chunk=Duration(nanos=-1))], "config.chunk"),
        ([config(phrases=["Grafana", "x=abc"])], "config.phrases"),
        ([config(phrases=["Grafana=9"])], "config.phrases"),
        ([config(phrases=["C++"])], "config.phrases"),
        ([config(languages=["spanish"])], "config.languages"),
        ([config(languages=["en", "auto"])], "config.languages"),
        ([config(silence_ms=99)], "config.silence_ms"),
        ([config(silence_ms=5001)], "config.silence_ms"),
        ([config(), pb.RecognizeRequest(flush=pb.Flush()), config()], "request"),
        ([pb.RecognizeRequest(flush=pb.Flush())], "request"),
        ([config(phrases=["word" + "abcdefghij"[n % 10] * (n // 10 + 1) for n in range(501)])], "config.phrases"),
        ([config(chunk=Duration(nanos=320_000_000))], "config"),  # what the service itself refuses
        ([config(), pb.RecognizeRequest(audio=b"odd")], "audio"),
        ([config(encoding=pb.AUDIO_ENCODING_F32LE), pb.RecognizeRequest(audio=b"\0\0\xc0\x7f")], "audio"),  # NaN
        ([config(encoding=pb.AUDIO_ENCODING_F32LE), pb.RecognizeRequest(audio=b"\xff" * 3)], "audio"),
    ],
)
async def test_malformed_stream_is_told_which_field_is_wrong(served, stub, requests, field):
    code, told = await failure(stub.Recognize(iter(requests)))
    assert code is INVALID
    assert told.reason == "INVALID_REQUEST"
    assert told.metadata == {"field": field}
    assert str(told).startswith(field)
    await until(lambda: not served.hub.open_streams)


async def test_events_of_good_audio(stub):
    responses = await recognize(stub, [config(), audio(0.7), audio(0.8), pb.RecognizeRequest(audio=b"")])
    assert kinds(responses) == ["partial", "final", "final"]
    assert responses[1].final.end == Duration(seconds=1)
    assert responses[2].final.end == Duration(seconds=1, nanos=500_000_000)
    assert not responses[2].final.HasField("position")


@pytest.mark.parametrize("encoding", ["S16LE", "WAV", "OGG", "FLAC"])
async def test_stream_without_audio_gives_nothing(stub, encoding):
    assert await recognize(stub, [config(encoding=f"AUDIO_ENCODING_{encoding}")]) == []


FILES = {
    "AUDIO_ENCODING_WAV": ("WAV", "PCM_24", 16_000),
    "AUDIO_ENCODING_OGG": ("OGG", "OPUS", 48_000),
    "AUDIO_ENCODING_FLAC": ("FLAC", "PCM_16", 22_050),
}


def recording(encoding, seconds):
    kind, subtype, rate = FILES[encoding]
    file = io.BytesIO()
    tone = 0.5 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate)
    soundfile.write(file, np.stack([tone, tone], axis=1), rate, format=kind, subtype=subtype)
    return file.getvalue()


def pieces(data, size=1000):
    return [pb.RecognizeRequest(audio=data[begin : begin + size]) for begin in range(0, len(data), size)]


@pytest.mark.parametrize("encoding", FILES)
async def test_files_are_decoded_as_they_come_whatever_their_rate_and_channels(served, stub, encoding):
    data = recording(encoding, 3.5)
    call = stub.Recognize()
    await call.write(config(encoding=encoding, no_partials=True))
    for request in pieces(data[:-2000]):
        await call.write(request)
    finals = [(await call.read()).final for _ in range(2)]  # while the rest is still to come
    for request in pieces(data[-2000:]):
        await call.write(request)
    await call.done_writing()
    while (response := await call.read()) is not grpc.aio.EOF:
        finals.append(response.final)
    assert [final.end.ToMilliseconds() for final in finals] == [1000, 2000, 3000, 3500]
    assert all(float(final.text) == pytest.approx(0.5 * 2 / np.pi, abs=0.02) for final in finals)
    await until(lambda: not served.hub.open_streams)


@pytest.mark.parametrize("encoding", FILES)
async def test_files_may_follow_one_another_and_be_cut_anywhere(stub, encoding):
    data = 2 * recording(encoding, 1.0)
    responses = await recognize(stub, [config(encoding=encoding, no_partials=True), *pieces(data, 77)])
    assert [response.final.end.ToMilliseconds() for response in responses] == [1000, 2000]


@pytest.mark.parametrize("encoding", FILES)
async def test_decoder_of_a_client_that_leaves_ends(served, stub, encoding):
    def decoders():
        return [thread for thread in threading.enumerate() if thread.name == "client's file"]

    call = stub.Recognize()
    await call.write(config(encoding=encoding))
    await call.write(pieces(recording(encoding, 2.0), 5000)[0])
    await until(decoders)
    call.cancel()
    await until(lambda: not decoders() and not served.hub.open_streams)


async def test_what_was_said_before_a_damaged_block_has_its_final_before_the_error(stub):
    data = bytearray(recording("AUDIO_ENCODING_FLAC", 3.0))
    data[len(data) // 2 :] = bytes(len(data) // 2)
    call = stub.Recognize(iter([config(encoding="AUDIO_ENCODING_FLAC", no_partials=True), *pieces(bytes(data))]))
    assert (await call.read()).final.end == Duration(seconds=1)
    code, told = await failure(call)
    assert (code, told.metadata) == (INVALID, {"field": "audio"})


@pytest.mark.parametrize("encoding", FILES)
async def test_transcribe_takes_files(stub, encoding):
    request = pb.TranscribeRequest(config=pb.RecognitionConfig(encoding=encoding), audio=recording(encoding, 1.5))
    response = await stub.Transcribe(request)
    assert [final.end.ToMilliseconds() for final in response.finals] == [1000, 1500]
    assert response.duration.ToMilliseconds() == 1500


async def test_transcribe_translates_where_it_is_asked_to(stub):
    request = pb.TranscribeRequest(config=pb.RecognitionConfig(translate=True), audio=bytes(64_000))
    response = await stub.Transcribe(request)
    assert [final.language for final in response.finals] == ["es", "es"]
    assert [(made.segment, made.text, made.language, made.final) for made in response.translations] == [
        (0, "0.000 in English", "en", True),
        (1, "0.000 in English", "en", True),
    ]


@pytest.mark.parametrize("size", [1, 3, 4097, 1_000_000])
async def test_events_do_not_depend_on_how_the_audio_is_cut(stub, size):
    data = bytes(range(256)) * 500
    cut = [pb.RecognizeRequest(audio=data[begin : begin + size]) for begin in range(0, len(data), max(size, 97))]
    if size == 1:
        cut = [pb.RecognizeRequest(audio=data[:1]), pb.RecognizeRequest(audio=data[1:])]
    elif size == 3:
        cut = [pb.RecognizeRequest(audio=data[begin : begin + 999]) for begin in range(0, len(data), 999)]
    whole = await recognize(stub, [config(sample_rate=22_050), pb.RecognizeRequest(audio=data)])
    assert await recognize(stub, [config(sample_rate=22_050), *cut]) == whole


async def test_low_rate_in_a_large_message_is_taken_in_pieces(served, stub):
    responses = await recognize(stub, [config(sample_rate=1000, no_partials=True), audio(10)])  # 160 s of audio
    assert kinds(responses) == ["final"] * 160
    assert not served.hub.open_streams


async def test_eight_clients_at_once_and_the_ninth_is_told_why_not(served, stub):
    calls = []
    for _ in range(8):
        call = stub.Recognize()
        await call.write(config())
        await call.write(audio(2))
        calls.append(call)
    await until(lambda: len(served.hub.open_streams) == 8)
    code, told = await failure(stub.Recognize(iter([config(), audio()])))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert told.reason == "TOO_MANY_STREAMS"
    assert told.metadata == {"scope": "recognition"}

    async def finish(call):
        await call.done_writing()
        responses = []
        while (response := await call.read()) is not grpc.aio.EOF:
            responses.append(response)
        return kinds(responses)

    assert await asyncio.gather(*map(finish, calls)) == [["partial", "final"] * 2] * 8
    await until(lambda: not served.hub.open_streams)
    assert len(await recognize(stub, [config(), audio()])) == 2  # there is room again


async def test_client_that_goes_half_way_frees_its_stream(served, stub):
    call = stub.Recognize()
    await call.write(config())
    await call.write(audio(3))
    await call.read()
    assert len(served.hub.open_streams) == 1
    call.cancel()
    await until(lambda: not served.hub.open_streams)


async def test_deadline_of_the_client_ends_the_stream(served, stub):
    async def talk():
        yield config()
        await asyncio.Event().wait()

    call = stub.Recognize(talk(), timeout=3)
    await until(lambda: served.hub.settings)
    code, _ = await failure(call)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not served.hub.open_streams)


async def test_stream_that_sends_nothing_is_ended():
    async with running(ServerConfig(idle_seconds=0.2)) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = SpeechServiceStub(channel)
        silent, stalled = stub.Recognize(), stub.Recognize()
        await stalled.write(config())
        for call in (silent, stalled):
            code, told = await failure(call)
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert told.reason == "IDLE"
        assert not served.hub.open_streams


FLOATS = np.full(24_000, 0.25, "<f4").tobytes()


@pytest.mark.parametrize(
    ("encoding", "requests", "field"),
    [
        (pb.AUDIO_ENCODING_F32LE, [FLOATS + np.float32("nan").tobytes() + FLOATS], "audio"),
        (pb.AUDIO_ENCODING_F32LE, [FLOATS, np.float32("-inf").tobytes()], "audio"),
        (pb.AUDIO_ENCODING_F32LE, [FLOATS, np.float32(3000).tobytes()], "audio"),
        (pb.AUDIO_ENCODING_F32LE, [FLOATS + b"\0\0\0"], "audio"),
        (pb.AUDIO_ENCODING_S16LE, [bytes(48_000) + b"\0"], "audio"),
        (pb.AUDIO_ENCODING_S16LE, [bytes(48_000), pb.RecognitionConfig()], "request"),
        (pb.AUDIO_ENCODING_S16LE, [bytes(48_000), None], "request"),
    ],
)
async def test_what_was_said_before_a_wrong_request_has_its_finals_before_the_error(stub, encoding, requests, field):
    call = stub.Recognize()
    ending = Ending(call)
    await call.write(config(encoding=encoding))
    for request in requests:
        of = "config" if isinstance(request, pb.RecognitionConfig) else "audio"
        await call.write(pb.RecognizeRequest(**({} if request is None else {of: request})))
    await call.done_writing()
    responses = [await call.read() for _ in range(3)]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    error = await ending.error(raised.value)
    assert kinds(responses) == ["partial", "final", "final"]
    assert responses[-1].final.end == Duration(seconds=1, nanos=500_000_000)
    assert error.code() is INVALID
    assert read_failure(error.trailing_metadata()).metadata == {"field": field}


async def test_flush_brings_the_final_of_what_was_said_and_says_when_it_has(stub):
    call = stub.Recognize()
    await call.write(config(no_partials=True))
    for number in range(3):
        await call.write(audio(0.25))
        await call.write(pb.RecognizeRequest(flush=pb.Flush()))
        responses = [await call.read() for _ in range(2)]
        assert kinds(responses) == ["final", "flushed"]
        assert responses[0].final.end.ToMilliseconds() == 250 * (number + 1)
    await call.write(pb.RecognizeRequest(flush=pb.Flush()))
    assert kinds([await call.read()]) == ["flushed"]  # nothing was said
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_stream_says_when_speech_starts_and_ends_only_if_asked_to(served, stub):
    assert kinds(await recognize(stub, [config(no_partials=True), audio(0.5)])) == ["final"]
    asked = config(no_partials=True, speech_events=True, silence_ms=300)
    responses = await recognize(stub, [asked, audio(0.5)])
    assert kinds(responses) == ["speech", "final"]
    assert responses[0].speech.state == pb.SPEECH_STATE_STARTED
    assert [settings.silence_ms for settings in served.hub.settings] == [None, 300]


@pytest.mark.parametrize("scale", [1, 1 << 15])
@pytest.mark.parametrize("size", [100, 4096, 10**6])
async def test_floats_may_have_the_scale_of_integers_and_channels_may_be_inverted(stub, scale, size):
    tone = np.sign(np.sin(np.arange(16_000) / 5)) * 0.25 * scale
    data = np.stack((tone, -tone), axis=1).astype("<f4").tobytes()
    cut = [pb.RecognizeRequest(audio=data[begin : begin + size]) for begin in range(0, len(data), size)]
    first = config(encoding=pb.AUDIO_ENCODING_F32LE, channels=2, no_partials=True)
    (response,) = await recognize(stub, [first, *cut])
    assert response.final.text == "0.250"
    assert response.final.end == Duration(seconds=1)


async def test_stream_that_is_held_open_without_audio_gets_its_final_after_the_pause_and_goes_on():
    config_ = ServerConfig(pause_seconds=0.2)
    async with running(config_) as served, grpc.aio.insecure_channel(served.target) as channel:
        call = SpeechServiceStub(channel).Recognize()
        await call.write(config(no_partials=True))
        for number in range(2):
            await call.write(audio(0.5))
            await call.write(pb.RecognizeRequest(audio=b""))  # is no audio
            response = await call.read()
            assert response.final.segment == number
            assert response.final.end.ToMilliseconds() == 500 * (number + 1)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


class Patient(_Messages):
    """Has as much patience as a test wants, from the next message on."""

    seconds = 3_600.0

    @property
    def _idle(self):
        return self.seconds

    @_idle.setter
    def _idle(self, _):
        pass


async def test_idle_stream_gets_its_final_before_it_is_ended(monkeypatch):
    monkeypatch.setattr("rtstream.rpc.recognizing._Messages", Patient)
    monkeypatch.setattr(Patient, "seconds", Patient.seconds)
    config_ = ServerConfig(pause_seconds=3_600)
    async with running(config_) as served, grpc.aio.insecure_channel(served.target) as channel:
        call = SpeechServiceStub(channel).Recognize()
        await call.write(config(no_partials=True))
        await call.write(audio(0.5))
        await until(lambda: served.hub.samples_heard)
        monkeypatch.setattr(Patient, "seconds", 0.2)
        await call.write(pb.RecognizeRequest(audio=b""))  # from here on
        assert (await call.read()).final.end == Duration(nanos=500_000_000)
        code, told = await failure(call)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert told.reason == "IDLE"
        assert not served.hub.open_streams


async def test_stream_that_reads_nothing_is_ended(monkeypatch):
    monkeypatch.setattr("rtstream.rpc.recognizing._Messages", Patient)
    async with running(ServerConfig(idle_seconds=0.3)) as served, grpc.aio.insecure_channel(served.target) as channel:
        served.hub.padding = "x" * 100_000  # soon more than HTTP/2 lets wait

        async def talk():
            yield config()
            while True:
                yield audio(10)

        call = SpeechServiceStub(channel).Recognize(talk())
        await until(lambda: served.hub.settings)
        await until(lambda: not served.hub.open_streams)
        call.cancel()  # only now is what waits for it let go of
        await until(lambda: not served.server.streams)


async def test_model_that_is_not_loaded_is_unavailable(served, stub):
    served.hub.ready = False
    for call in (stub.Recognize(iter([config(), audio()])), stub.Transcribe(pb.TranscribeRequest(audio=b"\0\0"))):
        code, told = await failure(call)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert told.reason == "NOT_READY"


async def test_error_of_the_daemon_is_internal_and_tells_nothing_else(served, stub):
    served.hub.broken = True
    code, told = await failure(stub.Recognize(iter([config(), audio()])))
    assert code is grpc.StatusCode.INTERNAL
    assert told.reason == "INTERNAL"
    assert "ZeroDivisionError" not in str(told)


def wav(seconds, rate=8000, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(b"\0" * round(seconds * rate) * 2 * width)
    return file.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
async def test_transcribe_takes_wav_files(stub, width):
    request = pb.TranscribeRequest(
        config=pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_WAV), audio=wav(2.5, width=width)
    )
    response = await stub.Transcribe(request)
    assert [final.segment for final in response.finals] == [0, 1, 2]
    assert response.duration == Duration(seconds=2, nanos=500_000_000)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not a wav file at all", wav(1)[:44], wav(1)[:20], wav(0)])
async def test_transcribe_of_what_is_no_wav_file_with_audio_is_refused(stub, data):
    request = pb.TranscribeRequest(config=pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_WAV), audio=data)
    code, told = await failure(stub.Transcribe(request))
    assert code is INVALID
    assert told.metadata == {"field": "audio"}


def floats(*samples):
    return np.concatenate([np.full(8000, 0.25, "<f4"), np.array(samples, "<f4"), np.full(8000, 0.25, "<f4")]).tobytes()


@pytest.mark.parametrize(
    ("encoding", "data", "why"),
    [
        (pb.AUDIO_ENCODING_WAV, wav(2.5)[: 44 + 4 * 4000], "truncated"),
        (pb.AUDIO_ENCODING_F32LE, floats(float("nan")), "nan"),
        (pb.AUDIO_ENCODING_F32LE, floats(float("inf"), 0), "inf"),
        (pb.AUDIO_ENCODING_S16LE, bytes(16_001), "middle of a frame"),
    ],
)
async def test_transcribe_of_what_is_damaged_gives_what_is_before_it_and_says_so(served, stub, encoding, data, why):
    request = pb.TranscribeRequest(config=pb.RecognitionConfig(encoding=encoding), audio=data)
    response = await stub.Transcribe(request)
    assert [final.end.ToMilliseconds() for final in response.finals] == [500]
    assert response.duration.ToMilliseconds() == 500
    assert response.fault.code == "AUDIO_DAMAGED"
    assert why in response.fault.message
    assert not served.hub.open_streams


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 1000])
async def test_transcribe_takes_the_sizes_in_a_wav_file_for_hints(stub, size):
    data = bytearray(wav(2))
    data[40:44] = size.to_bytes(4, "little")
    request = pb.TranscribeRequest(config=pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_WAV), audio=bytes(data))
    response = await stub.Transcribe(request)
    assert response.duration == Duration(seconds=2)
    assert not response.HasField("fault")


async def test_transcribe_of_nothing_gives_nothing(stub):
    assert await stub.Transcribe(pb.TranscribeRequest()) == pb.TranscribeResponse(duration=Duration())


async def test_transcribe_refuses_what_is_too_long():
    async with running(ServerConfig(longest_seconds=5)) as served, grpc.aio.insecure_channel(served.target) as channel:
        call = SpeechServiceStub(channel).Transcribe(pb.TranscribeRequest(audio=audio(6).audio))
        code, told = await failure(call)
        assert code is INVALID
        assert told.reason == "AUDIO_TOO_LONG"


durations = st.builds(Duration, seconds=st.integers(-2, 2), nanos=st.sampled_from([0, 1, -1, 320_000_000, 640_000_000]))
configs = st.builds(
    pb.RecognitionConfig,
    encoding=st.integers(-1, 5),
    sample_rate=st.sampled_from([0, 1, 1000, 8000, 16_000, 44_100, 768_000, 2**32 - 1]),
    channels=st.sampled_from([0, 1, 2, 256, 257, 2**32 - 1]),
    no_partials=st.booleans(),
    words=st.booleans(),
    chunk=st.none() | durations,
)
messages = st.one_of(
    st.builds(pb.RecognizeRequest, config=configs),
    st.builds(pb.RecognizeRequest, audio=st.binary(max_size=70)),
    st.builds(pb.RecognizeRequest, audio=st.integers(0, 40_000).map(bytes)),
    st.just(pb.RecognizeRequest()),
)
streams = st.one_of(
    st.lists(messages, max_size=6),
    st.tuples(st.builds(pb.RecognizeRequest, config=st.just(pb.RecognitionConfig())), messages, messages).map(list),
)
CLEAR = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}


class Fuzzed:
    """A server on a loop of its own, since hypothesis calls plain functions."""

    def __enter__(self):
        self.runner = asyncio.Runner()
        self.context = running(ServerConfig(idle_seconds=30))
        self.served = self.runner.run(self.context.__aenter__())
        self.channel = self.runner.run(self._channel())
        self.stub = SpeechServiceStub(self.channel)
        return self

    async def _channel(self):
        return grpc.aio.insecure_channel(self.served.target)

    def __exit__(self, *error):
        self.runner.run(self.channel.close())
        self.runner.run(self.context.__aexit__(*error))
        self.runner.close()

    def outcome(self, requests, serializer=None):
        return self.runner.run(self._outcome(requests, serializer))

    def at_rest(self):
        return self.runner.run(until(lambda: not self.served.server.streams and not self.served.hub.open_streams))

    async def _outcome(self, requests, serializer):
        if serializer is None:
            call = self.stub.Recognize(iter(requests))
        else:
            call = self.channel.stream_stream("/rtstream.v1.SpeechService/Recognize", serializer)(iter(requests))
        ending = Ending(call)
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as early:
            error = await ending.error(early)
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""


@pytest.fixture(scope="module")
def fuzzed():
    with Fuzzed() as made:
        yield made


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams)
def test_any_sequence_of_messages_gets_a_clear_status_and_leaves_nothing(fuzzed, requests):
    code, details = fuzzed.outcome(requests)
    assert code in CLEAR, details
    fuzzed.at_rest()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_bytes_that_are_no_messages_leave_nothing(fuzzed, requests):
    code, details = fuzzed.outcome(requests, serializer=bytes)
    assert code in CLEAR, details
    fuzzed.at_rest()
