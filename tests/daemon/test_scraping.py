"""Metrics over HTTP: bounded, and for who asks properly."""

import asyncio
import ssl
import threading

import pytest
import trustme
from prometheus_client import CollectorRegistry, Gauge

from rtstream.config import Config, Metrics, Server
from rtstream.daemon.exits import UnavailableError
from rtstream.daemon.scraping import CONNECTIONS, MetricsServer
from rtstream.daemon.settings import check_settings
from rtstream.errors import ConfigError
from rtstream.rpc.security import Address, ServerTls


@pytest.fixture
async def server():
    registry = CollectorRegistry()
    Gauge("spoken_words", "Words", registry=registry).set(7)
    made = MetricsServer(registry)
    await made.start(Address(host="127.0.0.1"))
    yield made
    await made.stop()


async def ask(server, request, context=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_metrics_are_given_as_text_and_as_openmetrics(server):
    head, body = (await ask(server, GET)).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"spoken_words 7.0\n" in body
    wanted = GET[:-2] + b"Accept: application/openmetrics-text; version=1.0.0\r\n\r\n"
    answer = await ask(server, wanted)
    assert b"Content-Type: application/openmetrics-text" in answer
    assert answer.endswith(b"# EOF\n")
    assert (await ask(server, GET.replace(b"GET", b"HEAD"))).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", 200),
        (b"GET /favicon.ico HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics HTTP/9\r\n\r\n", 505),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_each_request_has_its_status(server, request_, status):
    assert (await ask(server, request_)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_half_requests_take_no_thread_and_hold_up_nobody(server):
    threads = threading.active_count()
    half = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(300)]
    for _, writer in half:
        writer.write(b"GET /metrics HTTP/1.1\r\n")
    assert b"spoken_words 7.0" in await ask(server, GET)
    # Fewer is no fault: a worker of an earlier test may just have ended.
    assert threading.active_count() <= threads
    assert len(server._open) <= CONNECTIONS
    for _, writer in half:
        writer.close()


async def test_half_request_ends_by_itself(server, monkeypatch):
    monkeypatch.setattr("rtstream.daemon.scraping.SECONDS", 0.05)
    assert await ask(server, b"GET /met") == b""


async def test_port_in_use_is_told(server):
    with pytest.raises(UnavailableError, match=r"metrics\.listen"):
        await MetricsServer(CollectorRegistry()).start(Address(host="127.0.0.1", port=server.port))


async def test_tls_is_the_server_s_and_is_renewed(tmp_path):
    authority = trustme.CA()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue():
        made = authority.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(key)
        made.cert_chain_pems[0].write_to_path(certificate)
        return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    async def shown():
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port, ssl=context)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(GET)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        return found

    context = ssl.create_default_context()
    authority.configure_trust(context)
    first = issue()
    made = MetricsServer(CollectorRegistry())
    await made.start(Address(host="127.0.0.1"), ServerTls(certificate, key))
    assert await shown() == first
    second = issue()
    assert await shown() == second != first
    await made.stop()


@pytest.mark.parametrize(
    ("listen", "server", "told"),
    [
        ("127.0.0.1:9660", Server(), None),
        ("[::1]:9660", Server(), None),
        ("0.0.0.0:9660", Server(), "other machines could listen in"),
        ("pi.local:9660", Server(), "other machines could listen in"),
        ("0.0.0.0:9660", Server(insecure_public=True), None),
        ("0.0.0.0:99999", Server(), "is not possible"),
        ("unix:/x:1", Server(), "give HOST:PORT"),
    ],
)
def test_address_obeys_the_rule_of_the_grpc_ones(listen, server, told):
    config = Config(metrics=Metrics(listen=listen), server=server)
    if told is None:
        check_settings(config)
    else:
        with pytest.raises(ConfigError, match=rf"metrics\.listen: .*{told}"):
            check_settings(config)
