"""Home Assistant's own integration of Wyoming, as its wheel has it, against the server.

All of Home Assistant needs a newer Python and hundreds of packages: of what the integration imports only its own
modules and those of speech to text are real.
"""

import asyncio
import os
import re
import sys
import types
import typing
import zipfile
from unittest.mock import MagicMock

import pytest

from rtstream.events import Final, Speech
from tests.adapters.wyoming_served import scripted, speech, until, wyoming

WHEEL = os.environ.get("RTSTREAM_HOME_ASSISTANT", "")
REAL = ("stt.const", "stt.models", "wyoming.const", "wyoming.error", "wyoming.data", "wyoming.stt")
ELSE = ("components", "const", "core", "exceptions", "helpers", "helpers.entity_platform", "util", "util.hass_dict")
pytestmark = pytest.mark.skipif(
    not WHEEL,
    reason="RTSTREAM_HOME_ASSISTANT=FILE.whl runs it, with what "
    "'pip download --no-deps --ignore-requires-python homeassistant==2026.11.0' gets, 68 MB",
)


@pytest.fixture
def assist(monkeypatch):
    """The modules of the integration: ``data``, ``stt``; and ``speech``, of Home Assistant's speech to text."""
    monkeypatch.setattr(typing, "override", lambda function: function, raising=False)
    root = types.ModuleType("homeassistant")
    monkeypatch.setitem(sys.modules, "homeassistant", root)
    for name in ELSE:
        monkeypatch.setitem(sys.modules, f"homeassistant.{name}", MagicMock())
    sys.modules["homeassistant.exceptions"].HomeAssistantError = RuntimeError
    for name in ("stt", "wyoming"):
        package = types.ModuleType(f"homeassistant.components.{name}")
        package.__path__ = []
        monkeypatch.setitem(sys.modules, package.__name__, package)
    speech_to_text = sys.modules["homeassistant.components.stt"]
    speech_to_text.SpeechToTextEntity = object
    sys.modules["homeassistant.components"].stt = speech_to_text
    monkeypatch.setitem(sys.modules, "homeassistant.components.wyoming.models", MagicMock())
    with zipfile.ZipFile(WHEEL) as wheel:
        for name in REAL:
            full = f"homeassistant.components.{name}"
            source = wheel.read(f"{full.replace('.', '/')}.py").decode()
            # Python 3.14 evaluates no annotations, and wants no brackets here.
            source = "from __future__ import annotations\n" + re.sub(
                r"except (\w+(?:, \w+)+):", r"except (\1):", source
            )
            module = types.ModuleType(full)
            module.__package__ = full.rpartition(".")[0]
            monkeypatch.setitem(sys.modules, full, module)
            exec(compile(source, full, "exec"), module.__dict__)  # noqa: S102 - Home Assistant's
            if name.startswith("stt."):
                vars(speech_to_text).update({key: value for key, value in vars(module).items() if key[0].isupper()})
    parts = (sys.modules[f"homeassistant.components.wyoming.{name}"] for name in ("data", "stt"))
    return types.SimpleNamespace(**dict(zip(("data", "stt"), parts, strict=True)), speech=speech_to_text)


async def provider_of(assist, served):
    service = await assist.data.WyomingService.create("127.0.0.1", served.port)
    assert service.platforms == [sys.modules["homeassistant.const"].Platform.STT]
    assert service.get_name() == "rtstream"
    return assist.stt.WyomingSttProvider(MagicMock(entry_id="entry"), service)


async def recognized(assist, provider, *pieces, language="en"):
    """The result for audio, which goes on for ever where the last of ``pieces`` is None."""

    async def stream():
        for piece in pieces:
            if piece is None:
                await asyncio.Event().wait()
            yield piece

    about = assist.speech
    metadata = about.SpeechMetadata(
        language,
        about.AudioFormats.WAV,
        about.AudioCodecs.PCM,
        about.AudioBitRates.BITRATE_16,
        about.AudioSampleRates.SAMPLERATE_16000,
        about.AudioChannels.CHANNEL_MONO,
    )
    async with asyncio.timeout(120):
        result = await provider.async_process_audio_stream(metadata, stream())
    return result.result.value, result.text


async def test_it_finds_speech_to_text_and_recognises_commands(assist):
    async with wyoming() as served:
        provider = await provider_of(assist, served)
        assert provider.supported_languages == ["en"]
        assert provider.audio_processing.requires_external_vad
        for _ in range(2):
            assert await recognized(assist, provider, speech(0.25), speech(0.25)) == ("success", "0.500")


async def test_what_cannot_be_recognised_is_an_error_to_it(assist):
    async with wyoming(limit=1) as served:
        provider = await provider_of(assist, served)
        assert await recognized(assist, provider, speech(0.5), language="de") == ("error", None)
        async with served.client() as other:
            await other.write_event(assist.stt.AudioStart(16_000, 2, 1).event())
            await other.write_event(assist.stt.AudioChunk(16_000, 2, 1, speech(0.1)).event())
            await until(lambda: served.hub.open_streams)
            assert await recognized(assist, provider, speech(0.5)) == ("error", None)
        await until(lambda: not served.hub.open_streams)
        assert await recognized(assist, provider, speech(0.5)) == ("success", "0.500")


async def test_a_turn_that_ends_by_itself_ends_it_while_audio_still_comes(assist):
    async with wyoming(external_vad=False) as served:
        provider = await provider_of(assist, served)
        assert not provider.audio_processing.requires_external_vad
        scripted(served, 0.5, Speech(0, 4000, "started"), 1.5, Final(0, 4000, 16000, "Turn on the lights."))
        assert await recognized(assist, provider, speech(2.0), None) == ("success", "Turn on the lights.")
