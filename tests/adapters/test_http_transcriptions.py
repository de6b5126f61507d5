"""POST /v1/audio/transcriptions, as OpenAI's own client asks and as one that means harm does."""

import asyncio
import io
import json
import subprocess
from contextlib import suppress
from pathlib import Path

import aiohttp
import openai
import pytest

from rtstream.adapters.http import prompt
from rtstream.adapters.http.language import NAMES
from rtstream.adapters.http.prompt import phrases_of
from rtstream.adapters.http.transcript import Transcript
from rtstream.adapters.http.transcriptions import in_english
from rtstream.events import SAMPLE_RATE, Final, Translation
from tests.adapters.http_served import multipart, recording, serving, unread
from tests.rpc.calls import until

DATA = Path(__file__).parent.parent / "data"
PATH = "/v1/audio/transcriptions"
HALF = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nhalf'


@pytest.fixture
async def served():
    async with serving() as made:
        yield made


@pytest.fixture
def wav(tmp_path):
    return recording(tmp_path / "talk.wav")


def client(served, key="none"):
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=key, timeout=120, max_retries=0)


async def post(served, form, status=200, **options):
    async with served.session.post(PATH, data=form, **options) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json() if answer.content_type == "application/json" else await answer.text()


async def test_openai_s_client_gets_the_text(served, wav):
    async with client(served) as api:
        found = await api.audio.transcriptions.create(model="whisper-1", file=wav)
    assert found.text == "0.500 0.500 0.500"
    assert found.usage.type == "duration"
    assert found.usage.seconds == 3


async def test_openai_s_client_gets_the_english_of_what_is_said_in_another_language(served, wav):
    async with client(served) as api:
        found = await api.audio.translations.create(model="whisper-1", file=wav)
        verbose = await api.audio.translations.create(model="whisper-1", file=wav, response_format="verbose_json")
        captions = await api.audio.translations.create(model="whisper-1", file=wav, response_format="srt")
    assert found.text == verbose.text == " ".join(["0.500 in English"] * 3)
    assert verbose.language == "english"
    assert [segment.text.strip() for segment in verbose.segments] == ["0.500 in English"] * 3
    assert captions.count("0.500 in English") == 3


async def test_what_is_said_in_english_is_its_own_translation_and_what_has_none_is_left_out():
    async def events():
        yield Final(0, 0, 1, "yes", language="en")
        yield Final(1, 1, 2, "a medias", language="es")
        yield Translation(1, 1, 2, "", "en", final=True)
        yield Final(2, 2, 3, "no", language="es")
        yield Translation(2, 2, 3, "no", "en", final=True)

    assert [final.text async for final in in_english(events()) if final.text] == ["yes", "no"]


async def test_openai_s_client_gets_each_form(served, wav):
    async with client(served) as api:
        forms = {
            form: await api.audio.transcriptions.create(model="any", file=wav, response_format=form)
            for form in ("text", "srt", "vtt")
        }
    assert forms["text"] == "0.500 0.500 0.500\n"
    assert forms["srt"].startswith("1\n00:00:00,000 --> 00:00:0")
    assert forms["vtt"].startswith("WEBVTT\n\n00:00:00.000 --> 00:00:0")
    assert not any(settings.partials for settings in served.hub.settings)


async def test_openai_s_client_gets_times_of_segments(served, wav):
    async with client(served) as api:
        found = await api.audio.transcriptions.create(model="any", file=wav, response_format="verbose_json")
    assert found.language == "english"
    assert found.duration == 2.5
    assert [(s.id, s.start, s.end) for s in found.segments] == [(0, 0.0, 1.0), (1, 1.0, 2.0), (2, 2.0, 2.5)]
    assert "".join(segment.text for segment in found.segments) == found.text
    assert found.words is None
    # What programs look at to leave out segments.
    assert all(s.no_speech_prob == 0 and s.avg_logprob <= 0 and s.compression_ratio > 0 for s in found.segments)


async def test_openai_s_client_gets_times_of_words_and_those_of_segments_where_it_asks_for_both(served, wav):
    async def words_and_segments(*granularities):
        async with client(served) as api:
            found = await api.audio.transcriptions.create(
                model="any", file=wav, response_format="verbose_json", timestamp_granularities=list(granularities)
            )
        words = None if found.words is None else [(word.word, word.start, word.end) for word in found.words]
        return words, None if found.segments is None else len(found.segments)

    times = [("0.500", 0.0, 1.0), ("0.500", 1.0, 2.0), ("0.500", 2.0, 2.5)]
    assert await words_and_segments("word") == (times, None)
    assert await words_and_segments("word", "segment") == (times, 3)
    assert await words_and_segments("segment") == (None, 3)


async def test_openai_s_client_gets_deltas_that_add_up_to_the_text(served, wav):
    async with client(served) as api:
        events = [event async for event in await api.audio.transcriptions.create(model="a", file=wav, stream=True)]
    assert [event.type for event in events] == ["transcript.text.delta"] * 3 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == "0.500 0.500 0.500"


async def test_deltas_come_while_the_recording_is_recognised(served):
    heard = asyncio.Event()
    original = served.hub.open_stream

    async def slow(settings):
        stream = await original(settings)
        push, pushed = stream.push, []

        async def pushing(samples):
            await push(samples)
            pushed.append(len(samples))
            if sum(pushed) >= 32_000:
                await heard.wait()  # no more is recognised until the first delta has come

        stream.push = pushing
        return stream

    served.hub.open_stream = slow
    form = multipart(recording_bytes(5), stream="true")
    async with served.session.post(PATH, data=form) as answer:
        assert answer.content_type == "text/event-stream"
        assert (await answer.content.readline()) == b"event: transcript.text.delta\n"
        heard.set()
        rest = (await answer.text()).split("\n\n")
    assert json.loads(rest[-2].partition("data: ")[2])["text"] == " ".join(["0.500"] * 5)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF"])
async def test_any_file_that_replay_reads(served, kind):
    found = await post(served, multipart(recording_bytes(1.0, kind=kind, rate=16_000), "a"))
    assert found["text"]


async def test_prompt_becomes_phrases(served, wav):
    prompt = "Grafana, Wren Hollow; the following is a long sentence about nothing.\nKubernetes"
    await post(served, multipart(wav.read_bytes(), prompt=prompt))
    assert served.hub.settings[0].phrases == ("Grafana", "Wren Hollow", "Kubernetes")


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", ()),
        ("ok, x, 123, Zürich.", ("Zürich",)),
        ("Dr. Smith", ("Smith",)),
        ("Anna, Anna", ("Anna",)),
        ("a=b=c, " + "y" * 100, ()),
        (", ".join(f"word{'a' * (n % 7)}{chr(97 + n % 26)}" for n in range(2000)), None),
    ],
)
def test_prompt_is_a_hint_and_never_an_error(text, phrases):
    found = phrases_of(text)
    assert len(found) <= 500
    assert phrases is None or found == phrases


def test_of_a_prompt_without_end_only_some_is_read(monkeypatch):
    read = []
    monkeypatch.setattr(prompt, "parse_phrase", read.append)
    text = ", ".join(f"w{number}" for number in range(1_000_000))
    assert phrases_of(text) == tuple(f"w{number}" for number in range(500))
    assert len(read) == 500
    assert phrases_of(",".join(["a b c d e"] * 100_000) + ",Anna") == ()


@pytest.mark.parametrize("language", ["en", "en-GB", "English", ""])
async def test_language_of_the_model_may_be_named(served, wav, language):
    assert (await post(served, multipart(wav.read_bytes(), language=language)))["text"]


@pytest.mark.parametrize(
    ("asked", "wanted", "name"),
    [("", None, "english"), ("auto", (), ""), ("es", ("es",), "spanish"), ("Spanish", ("es",), "spanish")],
)
async def test_language_that_is_asked_for_is_recognised_and_told(served, wav, asked, wanted, name):
    served.hub.recognized_languages = ("en", "es")
    found = await post(served, multipart(wav.read_bytes(), language=asked, response_format="verbose_json"))
    assert served.hub.settings[-1].languages == wanted
    if name:
        assert found["language"] == name
        assert {NAMES[segment["language"]] for segment in found["segments"]} == {name}


def test_recording_is_in_the_language_in_which_most_is_said():
    transcript = Transcript(["fr"])
    assert transcript.language == "fr"
    for language, seconds in (("en", 3), ("es", 4), ("en", 2), ("", 9)):
        transcript.add(Final(0, 0, seconds * SAMPLE_RATE, "text", language=language))
    assert transcript.language == "en"


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"language": "de"}, "language", "only en"),
        ({"language": "?"}, "language", "no language"),
        ({"response_format": "diarized_json"}, "response_format", "choose json, text, srt, vtt, verbose_json"),
        ({"timestamp_granularities[]": "letter"}, "timestamp_granularities", "word or segment"),
        ({"stream": "maybe"}, "stream", "neither true nor false"),
        ({"prompt": "x" * 70_000}, "prompt", "65536 bytes"),
    ],
)
async def test_wrong_field_is_named(served, wav, fields, param, told):
    error = (await post(served, multipart(wav.read_bytes(), **fields), 400))["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert told in error["message"]


async def test_what_is_no_audio_or_no_form_is_told(served):
    message = (await post(served, multipart(b"hello" * 100, "notes.txt"), 400))["error"]["message"]
    assert message.startswith("notes.txt: ")
    assert (await post(served, multipart(b""), 400))["error"]["param"] == "file"
    form = multipart(b"")
    form._fields.pop()
    form.add_field("model", "x")
    assert "there is none" in (await post(served, form, 400))["error"]["message"]
    assert "multipart" in (await post(served, b"abc", 400))["error"]["message"]
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "no multipart form" in (await post(served, HALF, 400, headers=head))["error"]["message"]
    assert (await post(served, b"", 400, headers={"Content-Type": "multipart/form-data"}))["error"]["code"]


async def test_recording_that_is_cut_short_gives_what_is_there_and_says_so(served, tmp_path):
    data = recording(tmp_path / "a.flac", 10.0).read_bytes()
    found = await post(served, multipart(data[: len(data) // 2]))
    assert found["text"].startswith("0.500 0.500")
    assert found["fault"]["code"] == "audio_damaged"
    async with served.session.post(PATH, data=multipart(data[: len(data) // 2], response_format="srt")) as answer:
        assert answer.status == 200
        assert answer.headers["X-Rtstream-Fault"].startswith("AUDIO_DAMAGED: talk.wav: ")
        assert (await answer.text()).startswith("1\n")


async def test_recording_that_is_too_long_gives_its_begin_and_says_so():
    async with serving(longest_seconds=2.0) as served:
        found = await post(served, multipart(recording_bytes(60)))
        assert found["text"] == "0.500 0.500"
        assert found["fault"]["code"] == "audio_too_long"


async def test_file_that_is_too_large_is_refused_whether_or_not_it_says_so():
    async with serving(upload_bytes=1 << 20) as served:
        error = (await post(served, multipart(bytes(4 << 20)), 413))["error"]
        assert "1048576 bytes" in error["message"]

        async def pieces():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(64):
                yield bytes(1 << 16)
            yield b"\r\n--x--\r\n"

        head = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (await post(served, pieces(), 413, headers=head))["error"]["code"] == "audio_too_long"
        assert (await post(served, multipart(recording_bytes(1))))["text"]


async def test_all_places_taken_and_a_model_that_is_not_loaded_are_told(wav):
    async with serving(limit=0) as served:
        async with client(served) as api:
            with pytest.raises(openai.RateLimitError, match="streams are in use"):
                await api.audio.transcriptions.create(model="a", file=wav)
        served.hub.ready = False
        async with client(served) as api:
            with pytest.raises(openai.InternalServerError, match="being loaded"):
                await api.audio.transcriptions.create(model="a", file=wav)


def hold(hub):
    """Have the hub recognise nothing, and never end."""
    original = hub.open_stream

    async def push(_):
        await asyncio.Event().wait()

    async def stuck(settings):
        stream = await original(settings)
        stream.push = push
        return stream

    hub.open_stream = stuck


async def test_no_more_files_are_in_memory_than_may_be():
    async with serving(uploads=1, idle_seconds=3.0) as served:  # long enough for the first one to come
        hold(served.hub)
        asking = asyncio.ensure_future(post(served, multipart(recording_bytes(1))))
        await until(lambda: served.hub.open_streams)
        error = (await post(served, multipart(recording_bytes(1)), 429))["error"]
        assert error["type"] == "rate_limit_error"
        assert uploads_in_memory() <= 1
        asking.cancel()


async def test_who_sends_too_slowly_is_sent_away():
    async with serving(idle_seconds=0.2) as served:
        answered = asyncio.Event()

        async def slow():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            while not answered.is_set():
                yield b"x"
                await asyncio.sleep(0.01)

        head = {"Content-Type": "multipart/form-data; boundary=x"}
        async with served.session.post(PATH, data=slow(), headers=head) as answer:
            assert answer.status == 408
            answered.set()


async def test_client_that_goes_away_frees_its_stream_and_its_memory(served):
    hold(served.hub)
    asking = asyncio.ensure_future(post(served, multipart(recording_bytes(1))))
    await until(lambda: served.hub.open_streams)
    asking.cancel()
    await until(lambda: not served.hub.open_streams)
    await until(lambda: not uploads_in_memory())


async def test_client_that_does_not_read_frees_its_stream_and_its_memory():
    async with serving(idle_seconds=1.0) as served:
        served.hub.padding = "x" * (4 << 20)
        body = aiohttp.FormData()
        body.add_field("file", recording_bytes(30), filename="talk.wav")
        body.add_field("stream", "true")
        payload = body()
        writer = Written()
        await payload.write(writer)
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {payload.headers['Content-Type']}\r\n"
        slow = await unread(served, f"{head}Content-Length: {len(writer.data)}\r\n\r\n".encode() + writer.data)
        await until(lambda: served.hub.settings)
        await until(lambda: not served.hub.open_streams)
        await until(lambda: not uploads_in_memory())
        await until(lambda: not len(served.server.connections))
        slow.close()


class Written:
    """What a form is as bytes."""

    def __init__(self):
        self.data = b""

    async def write(self, data):
        self.data += data


async def test_error_of_the_service_is_told_without_its_details(served, wav):
    served.hub.broken = True
    error = (await post(served, multipart(wav.read_bytes()), 500))["error"]
    assert error["message"] == "an error of the service; its log has the details"


async def test_curl_gets_captions(served, wav):
    run = await asyncio.to_thread(
        subprocess.run,
        ["curl", "-sS", f"{served.url}{PATH}", "-F", f"file=@{wav}", "-F", "response_format=srt"],
        capture_output=True,
        check=True,
    )
    assert run.stdout.startswith(b"1\n00:00:00,000 -->")


def recording_bytes(seconds, kind="WAV", rate=16_000):
    buffer = io.BytesIO()
    recording(buffer, seconds, rate=rate, kind=kind)
    return buffer.getvalue()


def uploads_in_memory():
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += "memfd:upload" in str(descriptor.readlink())
    return found
