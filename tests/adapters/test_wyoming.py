"""The Wyoming server seen by the wyoming package's own client; what is recognised is scripted."""

import asyncio
import json

import numpy as np
import pytest
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.info import Describe, Info, SelectProgram
from wyoming.ping import Ping

from rtstream.adapters.wyoming.request import TurnRequest
from rtstream.events import AudioBlock, Fault, Final, Partial, Speech
from tests.adapters.wyoming_served import RATE, error, heard, say, scripted, shown, speech, text, types, until, wyoming


async def test_it_says_what_it_can_do():
    async with wyoming() as served, served.client() as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        [program] = info.asr
        assert program.installed
        assert program.supports_transcript_streaming
        assert program.requires_external_vad
        assert [model.languages for model in program.models] == [["en"]]
        assert [model.name for model in program.models] == ["tiny"]
        assert info.mic == []


async def test_it_says_where_the_turns_end_by_themselves():
    async with wyoming(external_vad=False) as served, served.client() as client:
        await client.write_event(Describe().event())
        assert not Info.from_event(await client.read_event()).asr[0].requires_external_vad


async def test_a_turn_is_recognised_and_shown_while_it_is_spoken():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(2.5), language="en")
        events = await heard(client)
        assert types(events)[0] == "transcript-start"
        assert types(events)[-2:] == ["transcript", "transcript-stop"]
        assert text(events) == "0.500 0.500 0.500"
        assert Transcript.from_event(events[-2]).language == "en"
        assert "transcript-chunk" in types(events)


async def test_chunks_concatenate_to_the_text_where_finals_extend_partials():
    async with wyoming() as served, served.client() as client:
        scripted(
            served,
            Partial(0, 0, 1, "Turn"),
            Partial(0, 0, 2, "Turn on the"),
            Partial(0, 0, 2, "Turn on the"),
            Final(0, 0, 3, "Turn on the lights."),
            Partial(1, 4, 5, "And the"),
            Final(1, 4, 6, "And the radio."),
        )
        await say(client, speech(1.0))
        events = await heard(client)
        chunks = [event.data["text"] for event in events if event.type == "transcript-chunk"]
        assert chunks == ["Turn", " on the", " lights.", " And the", " radio."]
        assert shown(events) == text(events) == "Turn on the lights. And the radio."


async def test_what_was_shown_is_not_taken_back_but_the_transcript_is_right():
    async with wyoming() as served, served.client() as client:
        scripted(
            served,
            Partial(0, 0, 1, "Turn of the"),
            Final(0, 0, 3, "Turn off the lights."),
            Partial(1, 4, 5, "uh"),
            Final(1, 4, 5, ""),  # in another language
            Final(2, 6, 7, "Please."),
        )
        await say(client, speech(1.0))
        events = await heard(client)
        assert shown(events) == "Turn of the uh Please."
        assert text(events) == "Turn off the lights. Please."


async def test_silence_has_an_empty_transcript():
    async with wyoming() as served, served.client() as client:
        scripted(served)
        await say(client, speech(1.0, 0.0))
        events = await heard(client)
        assert types(events) == ["transcript-start", "transcript", "transcript-stop"]
        assert text(events) == ""


async def test_turns_follow_one_another_on_a_connection():
    async with wyoming() as served, served.client() as client:
        for level in (0.25, 0.5):
            await say(client, speech(1.0, level))
            assert text(await heard(client)) == f"{level:.3f}"
        assert not served.hub.open_streams


async def test_a_turn_that_begins_ends_the_one_before():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(1.0, 0.25), stop=False)
        await say(client, speech(1.0, 0.5))
        assert text(await heard(client)) == "0.250"
        assert text(await heard(client)) == "0.500"


async def test_audio_without_a_beginning_begins_a_turn():
    async with wyoming() as served, served.client() as client:
        await client.write_event(AudioChunk(RATE, 2, 1, speech(0.5)).event())
        await client.write_event(AudioStop().event())
        assert text(await heard(client)) == "0.500"


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
async def test_samples_may_have_any_width_and_channels(width, channels):
    async with wyoming() as served, served.client() as client:
        await say(client, speech(1.0, 0.5, width=width, channels=channels), width=width, channels=channels)
        assert text(await heard(client)) == "0.500"


async def test_another_rate_is_resampled():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(9.0), rate=48_000)  # three seconds of it
        assert len(text(await heard(client)).split()) == 3


async def test_names_and_terms_are_phrases_and_what_nobody_can_say_is_left_out():
    async with wyoming() as served, served.client() as client:
        names = ["Wren Hollow", "Lamp 2", "書斎", "wren hollow", "a=b", "x", *[f"name {c}ab" for c in "abcdefghijkl"]]
        await say(client, speech(0.5), transcript_names=names, transcript_terms=["dimmer"])
        await heard(client)
        [settings] = served.hub.settings
        assert len(settings.phrases) == 10  # no more than there is room for
        assert settings.phrases[:2] == ("Wren Hollow", "name aab")


async def test_terms_come_behind_names():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(0.5), transcript_names=["Wren Hollow"], transcript_terms=["dimmer"])
        await heard(client)
        assert served.hub.settings[0].phrases == ("Wren Hollow", "dimmer")


@pytest.mark.parametrize("language", ["en", "en-US", "en_GB", "EN", "auto", None])
async def test_a_language_that_the_model_knows_is_taken(language):
    async with wyoming() as served, served.client() as client:
        await say(client, speech(0.5), language=language)
        assert text(await heard(client)) == "0.500"


async def test_language_that_is_asked_for_is_recognised_and_told():
    async with wyoming() as served, served.client() as client:
        served.hub.recognized_languages = ("en", "es")
        await say(client, speech(0.5), language="es-MX")
        events = await heard(client)
        assert served.hub.settings[-1].languages == ("es",)
        told = [event.data["language"] for event in events if event.type in {"transcript-start", "transcript"}]
        assert told == ["es", "es"]


@pytest.mark.parametrize("language", ["de", "de-DE", "klingon", "x" * 1000])
async def test_another_language_is_refused_while_its_audio_comes(language):
    async with wyoming() as served, served.client() as client:
        await say(client, speech(2.0), language=language)
        events = await heard(client)
        assert error(events) == "language-unsupported"
        assert "en" in events[-1].data["text"]
        assert len(events[-1].data["text"]) < 200
        assert await client.read_event() is None  # so that clients which pass over errors do not wait for ever
        assert served.hub.settings == []


async def test_it_is_said_when_no_turn_can_be_recognised():
    async with wyoming(limit=0) as served, served.client() as client:
        await say(client, speech(0.5))
        assert error(await heard(client)) == "too-many-streams"
    async with wyoming() as served, served.client() as client:
        served.hub.ready = False
        await say(client, speech(0.5))
        assert error(await heard(client)) == "not-ready"


async def test_a_fault_of_recognition_is_told_where_there_is_no_text():
    async with wyoming() as served, served.client() as client:
        scripted(served, Fault("RECOGNITION_FAILED", "a segment was dropped"))
        await say(client, speech(0.5))
        assert error(await heard(client)) == "recognition-failed"


async def test_what_was_said_before_wrong_audio_gets_its_transcript():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(1.0), stop=False)
        await client.write_event(AudioChunk(48_000, 2, 1, speech(1.0)).event())
        await client.write_event(AudioStop().event())
        events = await heard(client, "error")
        assert text(events) == "0.500"
        assert error(events) == "audio-format"


async def test_half_a_frame_at_the_end_takes_nothing_away():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(1.0, channels=2) + b"\1\2", channels=2)
        events = await heard(client, "error")
        assert text(events) == "0.500"
        assert error(events) == "audio-format"


async def test_where_turns_end_by_themselves_the_transcript_comes_before_audio_stop():
    async with wyoming(external_vad=False) as served, served.client() as client:
        scripted(
            served,
            0.5,
            Speech(0, 4000, "started"),
            Partial(0, 4000, 8000, "Turn on"),
            1.5,
            Speech(0, 16000, "ended"),
            Final(0, 4000, 16000, "Turn on the lights."),
            Final(1, 30000, 40000, "Never said."),
        )
        await say(client, speech(2.0), stop=False, vad_sensitivity="aggressive")
        events = await heard(client)
        assert text(events) == "Turn on the lights."
        assert [e.data["timestamp"] for e in events if e.type.startswith("voice")] == [250, 1000]
        [settings] = served.hub.settings
        assert settings.speech
        assert settings.silence_ms == 250
        # What still comes is passed over, and the next turn is heard.
        await client.write_event(AudioChunk(RATE, 2, 1, speech(1.0)).event())
        await client.write_event(AudioStop().event())
        scripted(served, 0.5, Final(0, 0, 1, "Next."))
        await say(client, speech(1.0), stop=False)
        assert text(await heard(client)) == "Next."


async def test_where_turns_end_by_themselves_nobody_is_waited_for_without_end():
    async with wyoming(external_vad=False) as served, served.client() as client:
        scripted(served, 1.0, Speech(0, 0, "started"), 2.0, Speech(0, 32000, "ended"))  # noise
        await say(client, speech(16.0, 0.0), stop=False)
        assert text(await heard(client)) == ""


async def test_where_the_client_ends_turns_its_sensitivity_changes_nothing():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(0.5), vad_sensitivity="aggressive")
        await heard(client)
        assert served.hub.settings[0].silence_ms is None
        assert not served.hub.settings[0].speech


async def test_a_client_that_leaves_within_a_turn_leaves_nothing_behind():
    async with wyoming() as served:
        async with served.client() as client:
            await say(client, speech(1.0), stop=False)
            await heard(client, "transcript-chunk")
            assert served.hub.open_streams
        await until(lambda: not served.hub.open_streams)


async def test_a_client_that_sends_all_and_half_closes_gets_its_transcript():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(1.0))
        client._writer.write_eof()
        assert text(await heard(client)) == "0.500"


async def test_many_clients_are_served_at_once():
    async with wyoming(limit=16) as served:

        async def turn(number):
            async with served.client() as client:
                await say(client, speech(1.0, number / 16))
                return text(await heard(client))

        assert await asyncio.gather(*(turn(n) for n in range(15))) == [f"{n / 16:.3f}" for n in range(15)]


async def test_pings_are_answered_and_programs_can_be_chosen():
    async with wyoming() as served, served.client() as client:
        await client.write_event(SelectProgram("rtstream").event())
        await client.write_event(Ping("there?").event())
        assert (await client.read_event()).data["text"] == "there?"
        await client.write_event(SelectProgram("whisper").event())
        assert error(await heard(client)) == "program-unknown"


async def test_a_model_of_another_name_is_refused_and_its_own_name_taken():
    async with wyoming() as served:
        async with served.client() as client:
            await say(client, speech(0.5), name="tiny")
            assert text(await heard(client)) == "0.500"
        async with served.client() as client:
            await say(client, speech(0.5), name="large-v3")
            assert error(await heard(client)) == "model-unknown"


async def test_the_microphone_is_heard_from_the_first_moment():
    async with wyoming(microphone=True) as served, served.client(1) as client:
        await client.write_event(Describe().event())
        [program] = Info.from_event(await client.read_event()).mic
        assert (program.mic_format.rate, program.mic_format.width, program.mic_format.channels) == (RATE, 2, 1)
        wave = np.array([0.0, 0.5, -1.0, 2.0], np.float32)
        served.audio.put(AudioBlock(wave, 32_000))
        served.audio.put(AudioBlock(wave / 2, 32_004))
        start = AudioStart.from_event(await client.read_event())
        assert (start.rate, start.width, start.channels, start.timestamp) == (RATE, 2, 1, 2000)
        chunks = [AudioChunk.from_event(await client.read_event()) for _ in range(2)]
        assert np.frombuffer(chunks[0].audio, "<i2").tolist() == [0, 16384, -32768, 32767]
        assert np.frombuffer(chunks[1].audio, "<i2").tolist() == [0, 8192, -16384, 32767]


async def test_the_microphone_is_not_among_the_programs_of_recognition():
    async with wyoming(microphone=True) as served, served.client() as client:
        await client.write_event(SelectProgram("rtstream-mic").event())
        assert error(await heard(client)) == "program-unknown"


async def test_who_hears_the_microphone_is_told_when_the_service_ends():
    async with wyoming(microphone=True) as served, served.client(1) as client:
        await client.write_event(Ping("in").event())
        await client.read_event()
        await served.server.stop(60)
        assert error(await heard(client)) == "stopping"


async def test_a_turn_that_is_open_when_the_service_ends_gets_its_transcript():
    async with wyoming() as served, served.client() as client:
        await say(client, speech(1.0), stop=False)
        await heard(client, "transcript-chunk")
        stopping = asyncio.ensure_future(served.server.stop(60))
        events = await heard(client, "error")
        assert text(events) == "0.500"
        assert error(events) == "stopping"
        await stopping


async def test_an_event_of_a_later_version_is_passed_over():
    async with wyoming() as served:
        reader, writer = await served.connect()
        writer.write(b'{"type": "teleport", "data": {"to": "mars"}, "payload_length": 3}\nabc{"type": "ping"}\n')
        assert json.loads(await reader.readline())["type"] == "pong"
        writer.close()


def test_phrases_are_counted_without_regard_to_case():
    request = TurnRequest(names=("Ada", "ADA", "Grace"), terms=("ada", "Linus"))
    assert request.phrases(2) == ("Ada", "Grace")
    assert request.phrases(0) == ()
