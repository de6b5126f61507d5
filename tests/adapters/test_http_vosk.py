"""/vosk, as the sample client that Vosk's server comes with uses it, and as one that means harm does."""

import json
import wave

import pytest
import websockets

from rtstream.adapters.http import vosk
from rtstream.wire.values import StreamSettings
from tests.adapters.http_served import recording, serving, to_the_end
from tests.rpc.calls import until


@pytest.fixture
async def served():
    async with serving() as made:
        yield made


def uri(served):
    return served.url.replace("http:", "ws:") + "/vosk"


async def sample_client(uri, file, **config):
    """test.py of alphacep/vosk-server, which prints what is given here."""
    told = []
    async with websockets.connect(uri) as websocket:
        with wave.open(str(file), "rb") as wf:
            await websocket.send(json.dumps({"config": {"sample_rate": wf.getframerate(), **config}}))
            buffer_size = int(wf.getframerate() * 0.2)
            while data := wf.readframes(buffer_size):
                await websocket.send(data)
                told.append(json.loads(await websocket.recv()))
        await websocket.send('{"eof" : 1}')
        told.append(json.loads(await websocket.recv()))
    return told


async def test_sample_client_gets_partials_and_results(served, tmp_path):
    told = await sample_client(uri(served), recording(tmp_path / "talk.wav", 2.5))
    assert len(told) == 14  # an answer for each message
    assert all({"partial"} == set(answer) or {"result", "text"} == set(answer) for answer in told)
    assert [word["word"] for answer in told for word in answer.get("result", [])] == ["0.500"] * 3
    assert told[-1]["result"][-1] == {"conf": 0.5, "start": 2.0, "end": 2.5, "word": "0.500"}
    assert " ".join(filter(None, (answer.get("text") for answer in told))) == "0.500 0.500 0.500"
    await until(lambda: not served.hub.open_streams)


async def test_what_the_client_configures_is_taken(served, tmp_path):
    talk = recording(tmp_path / "talk.wav", 1.5, rate=8_000)
    told = await sample_client(uri(served), talk, words=False, phrase_list=["Ada Lovelace", "oh one two"], model="x")
    assert told[-1] == {"text": told[-1]["text"]}
    [settings] = served.hub.settings
    assert not settings.words
    assert settings.phrases == ("Ada Lovelace", "oh one two")


async def test_end_without_audio_is_answered(served):
    async with websockets.connect(uri(served)) as websocket:
        await websocket.send('{"eof" : 1}')
        assert json.loads(await websocket.recv()) == {"text": ""}
    assert not served.hub.settings


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("nonsense", "JSON object"),
        ("[" * 100_000, "JSON object"),
        ("[]", "JSON object"),
        ('{"config": {"sample_rate": "fast"}}', "sample_rate"),
        ('{"config": {"sample_rate": 1e300}}', "sample_rate"),
        ('{"config": {"sample_rate": NaN}}', "sample_rate"),
        ('{"config": {"phrase_list": 7}}', "phrase_list"),
    ],
)
async def test_what_is_wrong_is_the_reason_of_the_end(served, message, told):
    async with websockets.connect(uri(served)) as websocket:
        await websocket.send(message)
        await websocket.send(bytes(100))  # with which it begins
        _, end = await to_the_end(websocket)
        assert end.code == 1008
        assert told in end.reason


async def test_what_was_said_before_something_wrong_is_told(served):
    async with websockets.connect(uri(served)) as websocket:
        await websocket.send('{"config": {"sample_rate": 16000}}')
        await websocket.send((b"\x00\x40" * 16_000) * 2)
        await websocket.send("nonsense")
        messages, _ = await to_the_end(websocket)
        assert " ".join(filter(None, (message.get("text") for message in messages))) == "0.500 0.500"


async def test_finals_of_a_long_message_are_all_told_in_its_answer(served):
    async with websockets.connect(uri(served)) as websocket:
        await websocket.send('{"config": {"sample_rate": 16000}}')
        told = []
        while len(told) < 3 or "partial" not in told[-1]:  # what a message ends may be told with the next one
            await websocket.send((b"\x00\x40" * 16_000) * 4 if len(told) < 2 else bytes(2))
            told.append(json.loads(await websocket.recv()))
        texts = [answer["text"] for answer in told if answer.get("text")]
        assert len(texts) <= 3
        assert " ".join(texts) == " ".join(["0.500"] * 8)


async def test_of_what_is_configured_only_what_is_known_is_kept(monkeypatch):
    kept = []
    monkeypatch.setattr(vosk, "_settings", lambda config: kept.append(config) or StreamSettings())
    async with serving() as served, websockets.connect(uri(served)) as websocket:
        for number in range(100):
            await websocket.send(json.dumps({"config": {"words": False, f"x{number}": "y" * 10_000}}))
        await websocket.send(bytes(100))
        await websocket.recv()
    assert kept == [{"words": False}]


async def test_when_all_streams_are_taken_it_is_told_and_silence_ends_it():
    async with serving(limit=0, idle_seconds=0.3) as served:
        for audio, told in ((bytes(100), "streams are in use"), (None, "nothing came")):
            async with websockets.connect(uri(served)) as websocket:
                if audio:
                    await websocket.send(audio)
                _, end = await to_the_end(websocket)
                assert end.code == 1013
                assert told in end.reason


async def test_client_that_goes_away_frees_its_stream(served):
    async with websockets.connect(uri(served)) as websocket:
        await websocket.send(bytes(1000))
        await until(lambda: served.hub.open_streams)
        websocket.transport.abort()
    await until(lambda: not served.hub.open_streams)
