"""The HTTP adapter in a real service."""

import asyncio
import json
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest

from rtstream.daemon.exits import ExitCode
from tests.audio.sound_server import until

SPEECH = Path(__file__).parent.parent / "data" / "lj-high-wall.flac"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def test_service_transcribes_a_file_over_http_and_ends_well(serve, tmp_path):
    port = free_port()
    daemon = serve("--source", f"fifo:{tmp_path}/pcm?create=1", settings=f'[http]\nlisten = ["127.0.0.1:{port}"]\n')
    daemon.ready()
    assert json.loads(get(f"http://127.0.0.1:{port}/health")[1])["status"] == "ok"
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", timeout=180) as api:
        found = await api.audio.transcriptions.create(model="whisper-1", file=SPEECH, response_format="verbose_json")
    assert found.duration == pytest.approx(9.0, abs=4.0)
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: daemon.status().subscribers == 1, "subscribed", 60)
        assert await asyncio.to_thread(daemon.stop) == ExitCode.STOPPED


def test_address_in_use_is_told(serve, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = serve("--source", f"fifo:{tmp_path}/pcm?create=1", settings=f'[http]\nlisten = ["{listen}"]\n')
        assert daemon.wait() == ExitCode.UNAVAILABLE
    assert any(f"http.listen = '{listen}'" in entry.get("text", "") for entry in daemon.log)


WITHOUT = "import sys; sys.modules['aiohttp'] = None; from rtstream.cli.main import main; sys.exit(main())"


def test_missing_package_is_told_and_nothing_is_imported_where_it_is_off(serve, tmp_path):
    program = [sys.executable, "-c", WITHOUT]
    source = f"fifo:{tmp_path}/pcm?create=1"
    daemon = serve("--source", source, program=program, settings='[http]\nlisten = ["127.0.0.1:0"]\n')
    assert daemon.wait() == ExitCode.CONFIG
    assert any("pip install 'rtstream[http]'" in entry.get("text", "") for entry in daemon.log)
    daemon.kill()
    assert serve("--source", source, program=program).ready().stop() == ExitCode.STOPPED
