"""TLS, mTLS and bearer tokens with real certificates and a real server."""

import datetime as dt
import errno
import os

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from rtstream.client import ClientTls, ServerError
from rtstream.client.samples import SampleClient
from rtstream.errors import ConfigError
from rtstream.rpc.security import ServerTls, Tokens
from rtstream.rpc.server import ServerConfig
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from tests.publish.finals import final
from tests.rpc.calls import failure, until
from tests.rpc.conftest import running

TOKEN, OTHER = "0123456789abcdef-one", "0123456789abcdef-two"


class Authority:
    """Certificates as PEM files."""

    def __init__(self, folder, name="ca"):
        self._ca, self._folder = trustme.CA(), folder
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name, **options):
        made = self._ca.issue_cert("127.0.0.1", "localhost", **options)
        return self.write(made, self._folder / f"{name}.pem", self._folder / f"{name}.key")

    @staticmethod
    def write(made, certificate, key):
        made.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        return certificate, key


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def expired():
    return {"not_after": dt.datetime.now(dt.UTC) - dt.timedelta(days=1)}


async def refused(client):
    with pytest.raises(ServerError) as told:
        await client.status()
    await client.close()
    return told.value


async def test_tls_lets_in_who_trusts_the_authority_and_nobody_else(authority, tmp_path):
    certificate, key = authority.issue("server")
    async with running(ServerConfig(tls=ServerTls(certificate, key))) as served:
        async with served.client(tls=ClientTls(ca=authority.file)) as client:
            assert await client.status()
        stranger = Authority(tmp_path, "stranger")
        assert (await refused(served.client(tls=ClientTls(ca=stranger.file)))).code is grpc.StatusCode.UNAVAILABLE
        assert "TLS" in str(await refused(served.client()))  # unencrypted


async def test_mtls_lets_in_whose_certificate_the_authority_signed(authority, tmp_path):
    certificate, key = authority.issue("server")
    mine, my_key = authority.issue("client")
    stranger, strange_key = Authority(tmp_path, "strangers").issue("stranger")
    late, late_key = authority.issue("late", **expired())
    async with running(ServerConfig(tls=ServerTls(certificate, key, client_ca=authority.file))) as served:
        async with served.client(tls=ClientTls(authority.file, mine, my_key)) as client:
            assert await client.status()
        for tls in (
            ClientTls(authority.file),
            ClientTls(authority.file, stranger, strange_key),
            ClientTls(authority.file, late, late_key),
        ):
            assert (await refused(served.client(tls=tls))).code is grpc.StatusCode.UNAVAILABLE


async def test_expired_certificate_is_refused_until_it_is_renewed_without_a_restart(authority):
    certificate, key = authority.issue("server", **expired())
    async with running(ServerConfig(tls=ServerTls(certificate, key))) as served:
        error = await refused(served.client(tls=ClientTls(ca=authority.file)))
        assert error.code is grpc.StatusCode.UNAVAILABLE
        authority.issue("server")
        async with served.client(tls=ClientTls(ca=authority.file)) as client:
            assert await client.status()
        certificate.write_text("rubbish")  # what cannot be used leaves the last good one in place
        async with served.client(tls=ClientTls(ca=authority.file)) as client:
            assert await client.status()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda certificate, _: certificate.unlink(), "there is no file"),
        (lambda _, key: key.write_text("rubbish"), "are not a PEM certificate and its key"),
        (lambda certificate, _: certificate.write_text(""), "are not a PEM certificate and its key"),
    ],
)
def test_unusable_pem_files_are_named(authority, spoil, message):
    certificate, key = authority.issue("server")
    spoil(certificate, key)
    with pytest.raises(ConfigError, match=message):
        ServerTls(certificate, key).credentials()


def test_key_of_another_certificate_is_told(authority):
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    with pytest.raises(ConfigError, match="belong together"):
        ServerTls(certificate, key).credentials()


def test_client_certificate_without_its_key_is_told(authority):
    certificate, _ = authority.issue("client")
    with pytest.raises(ConfigError, match="go together"):
        SampleClient("127.0.0.1:1", tls=ClientTls(certificate=certificate))
    with pytest.raises(ConfigError, match="nowhere"):
        SampleClient("127.0.0.1:1", tls=ClientTls(ca=authority.file.with_name("nowhere.pem")))


# Tokens


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# for the kitchen\n{TOKEN}\n\n")
    path.chmod(0o600)
    return path


async def test_token_lets_in_and_its_absence_or_another_does_not(tokens):
    async with running(ServerConfig(tokens=tokens)) as served:
        async with served.client(token=TOKEN) as client:
            assert await client.status()
            assert [event async for event in client.recognize([bytes(32_000)])]
        missing = await refused(served.client())
        assert (missing.code, missing.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        for wrong in (OTHER, "", TOKEN[:-1], TOKEN + "x", "# for the kitchen"):
            error = await refused(served.client(token=wrong))
            assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_WRONG")
            assert TOKEN not in str(error)


async def test_every_method_asks_for_the_token_but_health(tokens):
    async with running(ServerConfig(tokens=tokens)) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = SpeechServiceStub(channel)
        for call in (
            stub.Subscribe(pb.SubscribeRequest()),
            stub.Recognize(),
            stub.Transcribe(pb.TranscribeRequest()),
            stub.GetStatus(pb.GetStatusRequest()),
            stub.ListDevices(pb.ListDevicesRequest()),
            channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")(),
        ):
            code, told = await failure(call)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert told.reason == "TOKEN_MISSING"
        assert await HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert not served.hub.open_streams
        assert not served.server.streams


async def test_wrong_token_is_not_tried_again_for_ever(tokens):
    async with running(ServerConfig(tokens=tokens)) as served, served.client(token=OTHER) as client:
        with pytest.raises(ServerError) as told:
            await anext(client.subscribe(wait=True))
        assert told.value.reason == "TOKEN_WRONG"


async def test_nothing_of_a_message_is_read_before_the_token_is_checked(tokens):
    async with running(ServerConfig(tokens=tokens)) as served, grpc.aio.insecure_channel(served.target) as channel:
        call = channel.stream_unary("/rtstream.v1.SpeechService/Transcribe")()  # which never sends its message
        code, told = await failure(call)
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert told.reason == "TOKEN_MISSING"


async def test_token_that_is_taken_back_ends_its_calls_and_no_others(tokens, monkeypatch):
    monkeypatch.setattr("rtstream.rpc.guarded.LOOK_SECONDS", 0.05)
    tokens.write_text(f"{TOKEN}\n{OTHER}\n")
    async with running(ServerConfig(tokens=tokens)) as served, grpc.aio.insecure_channel(served.target) as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()

        def calls(token):
            stub, metadata = SpeechServiceStub(channel), (("authorization", f"Bearer {token}"),)
            return stub.Subscribe(pb.SubscribeRequest(), metadata=metadata), stub.Recognize(metadata=metadata)

        ended, going = calls(TOKEN), calls(OTHER)
        for subscription, _ in (ended, going):
            assert (await subscription.read()).WhichOneof("event") == "heartbeat"
        tokens.write_text(f"{OTHER}\n")
        for call in ended:
            code, told = await failure(call)
            assert (code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_WRONG")
        await until(lambda: served.server.streams == 3)
        assert served.broker.subscribers == 1
        assert not any(call.done() for call in (*going, watch))
        served.broker.publish(final(1))
        assert (await going[0].read()).WhichOneof("event") == "final"


def test_token_file_that_cannot_be_read_for_a_moment_keeps_its_tokens(tokens, monkeypatch):
    checked = Tokens(tokens)
    ask = [("authorization", f"Bearer {TOKEN}")]
    os.utime(tokens, (1, 1))
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.read_text", lambda *_: fail())
        assert checked.check(ask)
    tokens.write_text(OTHER)
    assert checked.clients() == {checked.check([("authorization", f"Bearer {OTHER}")])}


def test_file_that_is_just_being_written_keeps_its_tokens_and_one_that_stays_empty_does_not(tokens):
    checked = Tokens(tokens)
    ask = [("authorization", f"Bearer {TOKEN}")]
    tokens.write_text("")
    assert checked.check(ask)
    os.utime(tokens, (1, 1))
    with pytest.raises(Exception, match="not one that"):
        checked.check(ask)


def fail():
    raise OSError(errno.EMFILE, "Too many open files")


def test_scheme_must_be_bearer(tokens):
    checked = Tokens(tokens)
    assert checked.check([("authorization", f"bearer {TOKEN}")])
    for header in (f"Basic {TOKEN}", TOKEN, "Bearer", ""):
        with pytest.raises(Exception, match="not one that this service knows"):
            checked.check([("authorization", header)])


def test_changed_file_counts_at_once_and_an_unreadable_one_lets_nobody_in(tokens):
    checked = Tokens(tokens)
    ask = [("authorization", f"Bearer {OTHER}")]
    with pytest.raises(Exception, match="not one that"):
        checked.check(ask)
    new = tokens.with_suffix(".new")
    new.write_text(OTHER)
    new.replace(tokens)
    assert checked.check(ask)
    tokens.unlink()
    with pytest.raises(Exception, match="not one that"):
        checked.check(ask)
    tokens.write_text(f"{TOKEN}\n{OTHER}\n")
    assert checked.check(ask)
    assert checked.check(ask) != checked.check([("authorization", f"Bearer {TOKEN}")])


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"short\n", b"\xff\xfe\0"])
def test_useless_token_file_is_told(tokens, content):
    tokens.write_bytes(content)
    with pytest.raises(ConfigError, match="tokens"):
        Tokens(tokens)


def test_missing_token_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        Tokens(tmp_path / "nowhere")
