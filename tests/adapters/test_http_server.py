"""The HTTP server around its routes: who may come in, and what those find who mean harm."""

import asyncio
import json
import ssl
from dataclasses import replace

import aiohttp
import openai
import pytest
import trustme

from rtstream.config import Config, Http, Server
from rtstream.daemon.settings import check_settings, http_config
from rtstream.errors import ConfigError
from rtstream.rpc.security import ServerTls
from tests.adapters.http_served import multipart, serving, unread
from tests.adapters.test_http_transcriptions import PATH, recording_bytes
from tests.rpc.calls import until

TOKEN = "correct-horse-battery"  # noqa: S105
OTHER = "staple-horse-battery"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def get(served, path, status=200, **options):
    async with served.session.get(path, **options) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def raw(served, request, *, end=False):
    """All that comes for these bytes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request)
    if end:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_health_tells_whether_it_recognises():
    async with serving() as served:
        assert await get(served, "/health") == {"status": "ok", "phase": "ready"}
        status = served.hub.status
        served.hub.status = lambda: replace(status(), phase="loading")
        assert await get(served, "/health", 503) == {"status": "loading", "phase": "loading"}


async def test_openai_s_client_finds_the_model():
    async with serving() as served, openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="x") as api:
        assert [model.id async for model in api.models.list()] == ["tiny"]
        assert (await api.models.retrieve("tiny")).owned_by == "rtstream"
        assert (await api.models.retrieve("tiny")).languages == ["en"]
        with pytest.raises(openai.NotFoundError, match="no model 'nope'"):
            await api.models.retrieve("nope")


async def test_what_is_not_there_is_told():
    async with serving() as served:
        assert "nothing at /nope" in (await get(served, "/nope", 404))["error"]["message"]
        async with served.session.get(PATH) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"


async def test_token_is_needed_for_all_but_health(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    async with serving(tokens=tokens) as served:
        assert (await get(served, "/v1/models", 401))["error"]["code"] == "token_missing"
        assert (await get(served, "/v1/models", 401, headers=bearer(OTHER)))["error"]["code"] == "token_wrong"
        assert (await get(served, "/events", 401))["error"]["type"] == "invalid_request_error"
        assert (await get(served, "/health"))["status"] == "ok"
        assert (await get(served, "/v1/models", headers=bearer(TOKEN)))["data"]
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=OTHER, max_retries=0) as api:
            with pytest.raises(openai.AuthenticationError, match="not one that this service knows"):
                await api.models.list()
        async with served.session.post(PATH, data=multipart(bytes(8 << 20))) as answer:
            assert answer.status == 401  # and not a byte of it was kept
        assert not served.hub.settings


async def test_revoked_token_ends_its_streams(tmp_path, monkeypatch):
    monkeypatch.setattr("rtstream.rpc.guarded.LOOK_SECONDS", 0.05)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n{OTHER}\n")
    async with serving(tokens=tokens) as served:
        mine = await served.session.get("/events", headers=bearer(TOKEN))
        other = await served.session.get("/events", headers=bearer(OTHER))
        assert served.broker.subscribers == 2
        replaced = tmp_path / "new"
        replaced.write_text(f"{OTHER}\n")
        replaced.replace(tokens)
        await until(lambda: served.broker.subscribers == 1)
        with pytest.raises(aiohttp.ClientError):
            await mine.read()
        assert b"service" in await other.content.readline() + await other.content.readline()
        other.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:80"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "captions.home:7680"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "https://captions.home"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://[x"}, 400),
        ({"Host": "[x"}, 400),
    ],
)
async def test_no_other_web_page_may_have_a_browser_listen(headers, status):
    async with serving(hosts=("captions.home",)) as served:
        await get(served, "/v1/models", status, headers=headers)


async def test_mute_is_for_all_and_no_other_web_page_may_do_it(tmp_path):
    async with serving() as served:
        assert await get(served, "/mute") == {"muted": False}
        async with served.session.put("/mute") as answer:
            assert await answer.json() == {"muted": True}
        assert served.hub.muted
        async with served.session.delete("/mute", headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
        assert await get(served, "/mute") == {"muted": True}
        async with served.session.delete("/mute") as answer:
            assert await answer.json() == {"muted": False}
        async with served.session.post("/mute") as answer:
            assert answer.status == 405
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    async with serving(tokens=tokens) as served:
        async with served.session.put("/mute") as answer:
            assert answer.status == 401
        assert not served.hub.muted
    async with serving(mute=False) as served:
        async with served.session.put("/mute") as answer:
            assert "rtstream mute" in (await answer.json())["error"]["message"]
        assert not served.hub.muted


async def test_name_that_leads_here_is_enough_with_a_token(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    async with serving(tokens=tokens) as served:
        await get(served, "/v1/models", headers={**bearer(TOKEN), "Host": "any.example"})


async def test_tls_is_the_server_s(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with serving(tls=ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem")) as served:
        url = served.url.replace("http:", "https:")
        async with served.session.get(f"{url}/health", ssl=context) as answer:
            assert answer.status == 200
        # Who says nothing of TLS, or nothing at all, gets nothing.
        assert b"200" not in await raw(served, b"GET /health HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
)
async def test_nonsense_is_refused_and_the_next_one_is_served(request_):
    async with serving(head_seconds=1.0) as served:
        answer = await raw(served, request_, end=True)
        assert b" 200 " not in answer[:15]
        assert (await get(served, "/health"))["status"] == "ok"


async def test_a_body_is_never_inflated():
    async with serving() as served:
        head = {"Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"}
        async with served.session.post(PATH, data=b"\x1f\x8b" + bytes(100), headers=head) as answer:
            assert answer.status == 400


async def test_connections_that_say_nothing_or_half_of_something_end():
    async with serving(head_seconds=0.2, connections_per_client=64) as served:
        halves = [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"] * 10
        assert not any(await asyncio.gather(*(raw(served, half) for half in halves)))
        await until(lambda: not len(served.server.connections))


async def test_who_asks_for_much_and_reads_nothing_is_sent_away():
    async with serving(head_seconds=0.5) as served:
        slow = await unread(served, b"GET /captions.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000)
        await until(lambda: not len(served.server.connections))
        slow.close()
        assert (await get(served, "/health"))["status"] == "ok"


async def test_flood_of_idle_connections_leaves_room_for_who_asks():
    async with serving(connections=16, connections_per_client=8) as served:
        flood = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(100)]
        for _ in range(5):
            assert (await get(served, "/health"))["status"] == "ok"
        assert len(served.server.connections) <= 8
        assert served.server.connections.refused >= 92
        for _, writer in flood:
            writer.close()


async def test_connections_that_are_in_use_are_not_closed_for_others():
    async with serving(connections_per_client=4) as served:
        streams = [await served.session.get("/events") for _ in range(4)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await served.session.get("/health")
        assert served.broker.subscribers == 4
        streams[0].close()
        await until(lambda: served.broker.subscribers == 3)
        assert (await get(served, "/health"))["status"] == "ok"
        for stream in streams[1:]:
            stream.close()


async def test_many_requests_at_once_are_all_answered():
    async with serving(limit=8, connections_per_client=64) as served:

        async def ask(number):
            async with served.session.post(PATH, data=multipart(recording_bytes(0.5), f"{number}")) as answer:
                return answer.status

        assert set(await asyncio.gather(*(ask(number) for number in range(30)))) == {200}
        await until(lambda: not served.hub.open_streams)


async def test_stopping_ends_what_is_open_and_leaves_nothing():
    async with serving() as served:
        stream = await served.session.get("/events")
        served.broker.close()
        body = (await stream.read()).decode()
        assert json.loads(body.rpartition("data: ")[2])["error"]["code"] == "stopping"


@pytest.mark.parametrize(
    ("http", "server", "told"),
    [
        ({"listen": ("127.0.0.1:7680", "unix:/run/x")}, {}, None),
        ({"listen": ("0.0.0.0:7680",)}, {}, r"http\.listen: 0\.0\.0\.0:7680: other machines"),
        ({"listen": ("0.0.0.0:7680",)}, {"insecure_public": True}, None),
        ({"listen": ("127.0.0.1:99999",)}, {}, r"http\.listen: .*is not possible"),
    ],
)
def test_addresses_obey_the_rules_of_the_grpc_ones(http, server, told):
    config = Config(http=Http(**http), server=Server(**server))
    if told is None:
        check_settings(config)
        assert http_config(config).upload_bytes == 32 << 20
    else:
        with pytest.raises(ConfigError, match=told):
            check_settings(config)


def test_it_is_off_by_default():
    assert http_config(Config()) is None
