"""The server around the service: addresses, limits, health, and clients that misbehave below gRPC."""

import asyncio
import os
import resource
import socket
import stat
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2

from rtstream.client import ServerError
from rtstream.client.connection import KEEPALIVE_SECONDS
from rtstream.client.samples import SampleClient
from rtstream.errors import ConfigError
from rtstream.events import DeviceState, Fault
from rtstream.publish.broker import Broker
from rtstream.rpc.connections import client_of, room_for
from rtstream.rpc.interceptor import HEALTH_CALLS_PER_CLIENT
from rtstream.rpc.security import Address
from rtstream.rpc.server import SERVICE, ServerConfig, serve
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from tests.publish.finals import final
from tests.rpc.calls import audio, config, failure, until
from tests.rpc.conftest import running
from tests.rpc.hubs import ScriptedHub

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def channel(served):
    async with grpc.aio.insecure_channel(served.target) as made:
        yield made


def port_of(served):
    return served.server.addresses[0].port


async def works(served):
    async with served.client() as client:
        return (await client.status()).version == "1.2.3"


# Addresses


@pytest.mark.parametrize(
    "text",
    ["", "unix:", ":80", "host", "host:", "host:x", "host:65536", "unix:" + "x" * 108, "http://127.0.0.1:80", "a b:80"],
)
def test_impossible_address_is_named(text):
    with pytest.raises(ConfigError, match="is not possible"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("127.0.0.1:1", False),
        ("127.8.8.8:1", False),
        ("localhost:1", False),
        ("[::1]:1", False),
        ("unix:/run/x", False),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("192.168.1.2:1", True),
        ("pi.local:1", True),
    ],
)
def test_which_addresses_are_public(text, public):
    assert Address.parse(text).public is public
    assert str(Address.parse(text)) == text


async def test_public_address_without_tls_needs_an_explicit_word():
    hub = ScriptedHub(Broker())
    everywhere = [Address(host="0.0.0.0")]  # noqa: S104 - that is the point
    with pytest.raises(ConfigError, match="insecure_public"):
        await serve(hub, ServerConfig(listen=everywhere))
    server = await serve(hub, ServerConfig(listen=everywhere, insecure_public=True))
    async with SampleClient(f"127.0.0.1:{server.addresses[0].port}") as client:
        assert await client.status()
    await server.stop(0)
    hub.broker.close()


async def test_port_in_use_is_an_error_and_not_shared(served):
    with pytest.raises(ConfigError, match="cannot listen"):
        await serve(ScriptedHub(served.broker), ServerConfig(listen=served.server.addresses))


async def test_unix_socket_has_its_mode_and_goes_with_the_server(tmp_path):
    path = tmp_path / "socket"
    before = os.umask(0)
    try:
        async with running(ServerConfig(listen=[Address(path=str(path))], unix_mode=0o600)) as served:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await works(served)
            with pytest.raises(ConfigError, match="another service"):
                await serve(served.hub, ServerConfig(listen=[Address(path=str(path))]))
            assert await works(served)
    finally:
        os.umask(before)
    assert not path.exists()


async def test_socket_left_by_a_killed_daemon_is_taken_over(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with running(ServerConfig(listen=[Address(path=str(path))])) as served:
        assert await works(served)


@pytest.mark.parametrize("left", ["somebody whose queue is full", "somebody of another kind"])
async def test_socket_at_which_somebody_may_be_is_not_taken_over(tmp_path, left):
    path = tmp_path / "socket"
    full = left == "somebody whose queue is full"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if full else socket.SOCK_DGRAM) as there:
        there.bind(str(path))
        waiting = []
        if full:
            there.listen(0)
            with suppress(BlockingIOError):
                while True:
                    waiting.append(socket.socket(socket.AF_UNIX))
                    waiting[-1].settimeout(0)
                    waiting[-1].connect(str(path))
        with pytest.raises(ConfigError, match="another service may listen there"):
            await serve(ScriptedHub(Broker()), ServerConfig(listen=[Address(path=str(path))]))
        assert path.is_socket()
        for each in waiting:
            each.close()


async def test_file_that_is_no_socket_stays(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        await serve(ScriptedHub(Broker()), ServerConfig(listen=[Address(path=str(path))]))
    assert path.read_text() == "mine"
    with pytest.raises(ConfigError, match="no folder"):
        await serve(ScriptedHub(Broker()), ServerConfig(listen=[Address(path=str(tmp_path / "no" / "socket"))]))


async def test_several_addresses_at_once(tmp_path):
    addresses = [Address(path=str(tmp_path / "socket")), Address(host="127.0.0.1")]
    async with running(ServerConfig(listen=addresses)) as served:
        for address in served.server.addresses:
            async with SampleClient(str(address)) as client:
                assert await client.status()


# Health, reflection


async def test_health_follows_the_daemon_for_each_service(served, channel):
    stub = HealthStub(channel)

    async def check(service):
        return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status

    assert await check("") == await check(SERVICE) == SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watch.read()).status == SERVING
    await served.server.set_serving(False)
    assert (await watch.read()).status == NOT_SERVING
    assert await check("") == await check(SERVICE) == NOT_SERVING
    await served.server.set_serving(service="rtstream.capture", serving=True)
    assert await check("rtstream.capture") == SERVING
    assert await check("") == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
        await check("no such service")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services(channel, version):
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    response = await call.read()
    names = {service.name for service in response.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", f"grpc.reflection.{version}.ServerReflection"} <= names
    for name in names:
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
        (proto, *_) = (await call.read()).file_descriptor_response.file_descriptor_proto
        file = descriptor_pb2.FileDescriptorProto.FromString(proto)
        assert name in [f"{file.package}.{service.name}" for service in file.service]
    call.cancel()


# Limits


async def test_large_message_is_refused_and_the_connection_lives():
    async with running(ServerConfig(message_bytes=100_000)) as served, grpc.aio.insecure_channel(served.target) as ch:
        stub = SpeechServiceStub(ch)
        code, told = await failure(stub.Transcribe(pb.TranscribeRequest(audio=bytes(200_000))))
        assert (code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "AUDIO_TOO_LONG")
        assert "Recognize" in str(told)
        requests = [config(), pb.RecognizeRequest(audio=bytes(64_000)), pb.RecognizeRequest(audio=bytes(200_000))]
        call = stub.Recognize(iter(requests))
        heard = [(await call.read()).WhichOneof("event") for _ in range(4)]
        assert heard == ["partial", "final"] * 2  # what was sent before
        code, told = await failure(call)
        assert (code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "AUDIO_TOO_LONG")
        code, _ = await failure(stub.Transcribe(pb.TranscribeRequest(audio=bytes(500_000))))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED  # gRPC's own
        async with served.client() as client:
            with pytest.raises(ServerError, match="smaller pieces") as raised:
                await client.transcribe_short(bytes(500_000))
            assert raised.value.reason == "AUDIO_TOO_LONG"
        assert await stub.GetStatus(pb.GetStatusRequest())
        await until(lambda: not served.hub.open_streams)


@pytest.mark.parametrize(("limits", "scope"), [({"streams": 3}, "all"), ({"streams_per_client": 3}, "client")])
async def test_stream_past_the_limit_is_refused_until_another_ends(limits, scope):
    async with running(ServerConfig(**limits)) as served, grpc.aio.insecure_channel(served.target) as channel:
        stub = SpeechServiceStub(channel)
        calls = [stub.Subscribe(pb.SubscribeRequest()) for _ in range(3)]
        for call in calls:
            assert (await call.read()).WhichOneof("event") == "heartbeat"
        for call in (stub.Subscribe(pb.SubscribeRequest()), stub.Recognize(iter([]))):
            code, told = await failure(call)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert told.reason == "TOO_MANY_STREAMS"
            assert told.metadata == {"scope": scope}
        assert await stub.GetStatus(pb.GetStatusRequest())  # what is answered at once is not counted
        calls[0].cancel()
        await until(lambda: served.server.streams == 2)
        again = stub.Subscribe(pb.SubscribeRequest())
        assert await again.read()


async def test_health_watches_have_places_of_their_own_which_are_counted_for_each_client():
    async with running(ServerConfig(streams=3)) as served, grpc.aio.insecure_channel(served.target) as channel:
        watches = [HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(HEALTH_CALLS_PER_CLIENT)]
        for watch in watches:
            assert (await watch.read()).status == SERVING
        code, told = await failure(HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
        assert (code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
        assert told.metadata == {"scope": "client"}
        calls = [SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest()) for _ in range(3)]
        for call in calls:
            assert (await call.read()).WhichOneof("event") == "heartbeat"


async def test_request_that_never_comes_holds_up_nobody_and_loses_its_place(monkeypatch):
    async with running() as served, grpc.aio.insecure_channel(served.target) as channel:
        open_calls = served.server._gate._small.open
        method = channel.stream_unary("/rtstream.v1.SpeechService/GetStatus")
        monkeypatch.setattr("rtstream.rpc.interceptor.SMALL_SECONDS", 3_600.0)
        held = [method() for _ in range(20)]
        await until(lambda: open_calls.total() == 20)
        assert await works(served)
        monkeypatch.setattr("rtstream.rpc.interceptor.SMALL_SECONDS", 0.2)  # of those that come now
        for call in [method() for _ in range(10)]:
            code, told = await failure(call)
            assert (code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "IDLE")
        await until(lambda: open_calls.total() == 20)
        for call in held:
            call.cancel()
        await until(lambda: not open_calls)


@pytest.mark.parametrize("method", ["GetStatus", "ListDevices", "Subscribe", "Recognize"])
async def test_request_that_is_larger_than_any_can_be_is_refused(channel, method):
    call = channel.stream_stream(f"/rtstream.v1.SpeechService/{method}")(iter([bytes(1 << 20)]))
    code, told = await failure(call)
    assert (code, told.metadata) == (grpc.StatusCode.INVALID_ARGUMENT, {"field": "request"})


async def test_large_requests_wait_at_their_clients_while_others_are_held():
    async with running(limit=100) as served, grpc.aio.insecure_channel(served.target) as channel:
        served.hub.closing_seconds = 0.05
        stub = SpeechServiceStub(channel)
        most = 0

        async def watch():
            nonlocal most
            while True:
                most = max(most, len(served.hub.open_streams))
                await asyncio.sleep(0.001)

        watching = asyncio.ensure_future(watch())
        request = pb.TranscribeRequest(audio=bytes((4 << 20) - 100))
        answers = await asyncio.gather(*(stub.Transcribe(request) for _ in range(24)))
        watching.cancel()
        assert len(answers) == 24
        assert 0 < most <= 8
        assert not served.server._gate._large.open


async def test_devices_that_cannot_be_listed_are_no_error_of_the_service(served, channel):
    served.hub.sound = "the sound system does not answer"
    code, told = await failure(SpeechServiceStub(channel).ListDevices(pb.ListDevicesRequest()))
    assert (code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_DEVICES")
    assert str(told) == served.hub.sound


# Connections

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def connect(address, source=None):
    """A connection that says hello and nothing more."""
    if address.path:
        made = socket.socket(socket.AF_UNIX)
        made.connect(address.path)
    else:
        made = socket.create_connection((address.host, address.port), source_address=source and (source, 0))
    made.sendall(HELLO)
    made.settimeout(0)
    return made


def is_open(connection):
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_idle_connections_are_bounded_and_calls_go_on_and_new_clients_come_in(tmp_path):
    addresses = [Address(path=str(tmp_path / "socket")), Address(host="127.0.0.1")]
    settings = ServerConfig(listen=addresses, connections=200, connections_per_client=20)
    async with running(settings) as served:
        unix, port = served.server.addresses
        async with served.client() as first, SampleClient(str(port)) as second:
            listening = [client.subscribe() for client in (first, second)]
            items = [asyncio.ensure_future(anext(each)) for each in listening]
            await until(lambda: served.broker.subscribers == 2)
            before = files()
            idle = [connect(port, f"127.0.0.{1 + number % 5}") for number in range(150)]
            idle += [connect(unix) for _ in range(50)]
            await until(lambda: sum(map(is_open, idle)) <= 40)
            assert sum(map(is_open, idle)) >= 30  # it closes what is too many, and no more
            await until(lambda: files() - len(idle) <= before + 50)
            async with SampleClient(str(port)) as third:
                assert await third.status()
            served.broker.publish(final(1))
            for item in items:
                assert (await item).event.segment == 1
            assert served.server.connections_refused >= 150
        for each in idle:
            each.close()


async def test_connections_of_all_clients_are_bounded_before_they_are_accepted():
    async with running(ServerConfig(connections=40, connections_per_client=40)) as served:
        (port,) = served.server.addresses
        idle = [connect(port) for _ in range(100)]
        await until(lambda: sum(map(is_open, idle)) <= 30)
        assert await works(served)
        for each in idle:
            each.close()
        assert await works(served)


@pytest.mark.parametrize(
    ("soft", "hard", "room", "set_to"),
    [
        (1024, 524_288, 512, 1152),
        (1024, 1024, 448, 1024),
        (100, 100, 8, 100),
        (4096, 4096, 512, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 512, None),
        (1024, resource.RLIM_INFINITY, 512, 1152),
    ],
)
def test_room_for_connections_leaves_files_for_all_else(monkeypatch, soft, hard, room, set_to):
    made = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda _, limits: made.append(limits))
    assert room_for(512, 2) == room
    assert made == ([] if set_to is None else [(set_to, hard)])


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_who_is_one_client(host, client):
    assert client_of(host) == client


async def test_clients_that_left_are_forgotten(served, channel):
    for _ in range(20):
        call = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest())
        await call.read()
        call.cancel()
    await until(lambda: not served.server.streams and not served.broker.subscribers)
    assert not served.server._gate._streams.open


# Subscribe


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SubscribeRequest(from_start=True, resume_after=pb.Position(epoch="e", sequence=1)), "from_start"),
        (pb.SubscribeRequest(resume_after=pb.Position(sequence=1)), "resume_after"),
        (pb.SubscribeRequest(resume_after=pb.Position(epoch="e" * 101)), "resume_after"),
        (pb.SubscribeRequest(resume_after=pb.Position(epoch="e", sequence=2**63)), "resume_after"),
        (pb.SubscribeRequest(max_age=Duration(seconds=-1)), "max_age"),
        (pb.SubscribeRequest(max_age=Duration(seconds=1), from_start=True), "max_age"),
        (pb.SubscribeRequest(kinds=[pb.EVENT_KIND_UNSPECIFIED]), "kinds"),
        (pb.SubscribeRequest(kinds=[77]), "kinds"),
        (pb.SubscribeRequest(heartbeat_interval=Duration()), "heartbeat_interval"),
        (pb.SubscribeRequest(heartbeat_interval=Duration(seconds=-5)), "heartbeat_interval"),
        (pb.SubscribeRequest(heartbeat_interval=Duration(seconds=601)), "heartbeat_interval"),
    ],
)
async def test_impossible_subscription_is_told_why(channel, request_, field):
    code, told = await failure(SpeechServiceStub(channel).Subscribe(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told.metadata == {"field": field}


async def test_new_subscriber_learns_the_state_of_the_source_and_what_is_broken_after_the_first_heartbeat(
    served, channel
):
    told = [DeviceState("mic", "stalled", time=1_796_019_757.25), Fault("DISK_FULL", "full")]
    for event in (*told, final(1)):
        served.broker.publish(event)
    await until(lambda: served.broker.last.sequence == 1)
    call = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest(from_start=True))
    got = [await call.read() for _ in range(4)]
    assert [message.WhichOneof("event") for message in got] == ["heartbeat", "device_state", "fault", "final"]
    assert got[1].device_state.time.ToMilliseconds() == 1_796_019_757_250
    call = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest(from_start=True, kinds=[pb.EVENT_KIND_FINAL]))
    assert [(await call.read()).WhichOneof("event") for _ in range(2)] == ["heartbeat", "final"]


async def test_heartbeats_say_where_to_resume(served, channel):
    request = pb.SubscribeRequest(heartbeat_interval=Duration(seconds=1), kinds=[pb.EVENT_KIND_FAULT])
    call = SpeechServiceStub(channel).Subscribe(request)
    first = await call.read()
    assert first.heartbeat.position.sequence == 0
    for number in range(7):
        served.broker.publish(final(number))
    while (beat := await call.read()).heartbeat.position.sequence < 7:
        assert beat.WhichOneof("event") == "heartbeat"  # the finals were not wanted
    assert beat.heartbeat.position.epoch == served.broker.last.epoch


async def test_subscriber_that_does_not_read_is_ended_and_costs_nobody_else():
    async with running(broker=Broker(queue_size=50)) as served, grpc.aio.insecure_channel(served.target) as channel:
        stuck = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest())
        await stuck.read()
        async with served.client() as client:
            items = client.subscribe()
            reading = asyncio.ensure_future(anext(items))
            await until(lambda: served.broker.subscribers == 2)
            got = []
            for number in range(400):  # 8 MB: more than HTTP/2 lets wait
                served.broker.publish(final(number, "x" * 20_000))
                got.append(await reading)
                reading = asyncio.ensure_future(anext(items))
            reading.cancel()
        assert [item.event.segment for item in got] == list(range(400))
        await until(lambda: served.broker.subscribers_ended == 1)
        last = 0
        try:
            while (response := await stuck.read()) is not grpc.aio.EOF:
                last = response.final.position.sequence
        except grpc.aio.AioRpcError:
            pass  # looked at below
        code, told = await failure(stuck)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert told.reason == "SLOW_SUBSCRIBER"
        assert told.metadata["epoch"] == served.broker.last.epoch
        assert 0 < int(told.metadata["sequence"]) <= last < 400
        await until(lambda: not served.server.streams)


@pytest.mark.parametrize("why", ["queue overflows", "event is not taken in time"])
async def test_subscriber_that_never_reads_loses_its_place(why):
    overflowing = why == "queue overflows"
    settings = ServerConfig(streams=1, farewell_seconds=0.3, idle_seconds=60.0 if overflowing else 2.0)
    broker = Broker(queue_size=10 if overflowing else 100_000)
    async with running(settings, broker=broker) as served, grpc.aio.insecure_channel(served.target) as channel:
        stuck = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest())
        await stuck.read()  # it is in; then no more
        number = 0
        while served.server.streams:
            served.broker.publish(final(number, "x" * 20_000))
            number += 1
            await asyncio.sleep(0.005)
        assert not served.broker.subscribers
        async with served.client() as client:
            items = client.subscribe(from_start=True, reconnect=False)
            assert (await anext(items)).event.segment == 0
            assert served.server.streams == 1
            await items.aclose()
        code, told = await failure(stuck)  # behind what had been on its way
        assert (code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_SUBSCRIBER")


async def test_recognition_whose_client_reads_nothing_loses_its_place():
    async with (
        running(ServerConfig(streams=1, farewell_seconds=0.3, idle_seconds=0.5)) as served,
        grpc.aio.insecure_channel(served.target) as channel,
    ):
        served.hub.padding = "x" * 100_000

        async def talk():
            yield config()
            while True:
                yield audio(5.0)
                await asyncio.sleep(0.01)

        stuck = SpeechServiceStub(channel).Recognize(talk())
        await until(lambda: served.server.streams == 1)
        await until(lambda: not served.server.streams)
        assert not served.hub.open_streams
        assert await works(served)
        stuck.cancel()


async def test_end_of_the_daemon_ends_subscriptions_after_their_last_final(served, channel):
    call = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest())
    await call.read()
    served.broker.publish(final(1))
    await asyncio.to_thread(served.broker.close)
    assert (await call.read()).final.segment == 1
    code, told = await failure(call)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert told.reason == "STOPPING"


def test_calls_have_put_everything_away_when_the_server_has_stopped_and_nothing_is_printed(tmp_path, capfd):
    address = Address(path=str(tmp_path / "socket"))
    silent = threading.Event()

    def requests():
        yield config()
        silent.wait(60)

    def recognise():
        with grpc.insecure_channel(str(address)) as channel, suppress(grpc.RpcError):
            list(SpeechServiceStub(channel).Recognize(requests()))

    async def serve_and_stop():
        hub = ScriptedHub(Broker())
        hub.closing_seconds = 0.2
        server = await serve(hub, ServerConfig(listen=[address]))
        clients = [threading.Thread(target=recognise) for _ in range(4)]
        for client in clients:
            client.start()
        await until(lambda: len(hub.open_streams) == len(clients))
        await asyncio.to_thread(hub.broker.close)
        await server.stop(0.1)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        return clients, [*left, *hub.open_streams]

    clients, left = asyncio.run(serve_and_stop())
    silent.set()
    for client in clients:
        client.join()
    assert not left  # what ends in the last round of the event loop is a traceback on the terminal
    assert "Traceback" not in capfd.readouterr().err


async def test_client_that_is_killed_frees_its_subscription(served):
    program = """
import asyncio, sys
from rtstream.client.connection import KEEPALIVE_SECONDS
from rtstream.client.samples import SampleClient
async def main():
    async with SampleClient(sys.argv[1]) as client:
        async for item in client.subscribe(from_start=True):
            print("in", flush=True)
asyncio.run(main())
"""
    served.broker.publish(final(1))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, served.target, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert await process.stdout.readline() == b"in\n"
        await until(lambda: served.broker.subscribers == 1)
    finally:
        process.kill()
        await process.wait()
    await until(lambda: not served.broker.subscribers and not served.server.streams)


# Below gRPC


class Proxy:
    """A network between client and server that can be cut without either hearing of it."""

    def __init__(self, port):
        self._to = port
        self._tasks = set()
        self.cut = False

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        for task in self._tasks:
            task.cancel()
        self._server.close()

    async def _accept(self, reader, writer):
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink in ((reader, other_writer), (other_reader, writer)):
            task = asyncio.ensure_future(self._copy(source, sink))
            self._tasks.add(task)

    async def _copy(self, source, sink):
        while data := await source.read(1 << 16):
            if not self.cut:  # else it is swallowed, as by a cable that was pulled
                sink.write(data)
                await sink.drain()


async def test_half_open_client_is_found_out_by_keepalive():
    config = ServerConfig(keepalive_seconds=0.3, keepalive_timeout_seconds=3.0)  # pings take time on a full machine
    async with running(config) as served, Proxy(port_of(served)) as proxy, SampleClient(proxy.target) as client:
        items = client.subscribe(from_start=True)
        served.broker.publish(final(1))
        await anext(items)
        await until(lambda: served.broker.subscribers == 1)
        proxy.cut = True
        await until(lambda: not served.broker.subscribers and not served.server.streams)
        await items.aclose()


async def test_half_open_server_is_found_out_by_missing_heartbeats(served):
    async with Proxy(port_of(served)) as proxy, SampleClient(proxy.target) as client:
        items = client.subscribe(from_start=True, heartbeat_seconds=1.0, reconnect=False)
        served.broker.publish(final(1))
        await anext(items)
        proxy.cut = True
        with pytest.raises(ServerError, match="taken for dead"):
            await anext(items)


async def test_own_clients_keepalive_is_allowed_by_the_server(served):
    # A client that pings as often as the server allows: it would be sent away for too many pings.
    options = [("grpc.keepalive_time_ms", 5000), ("grpc.http2.max_pings_without_data", 0)]
    async with grpc.aio.insecure_channel(served.target, options) as channel:
        call = SpeechServiceStub(channel).Subscribe(pb.SubscribeRequest())
        assert await call.read()
    assert ServerConfig().shortest_ping_seconds < KEEPALIVE_SECONDS


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 500,  # a TLS greeting
        bytes(range(256)) * 40,
        PREFACE + bytes(range(256)) * 40,
        PREFACE + SETTINGS + b"\xff\xff\xff\1\5\0\0\0\1" + b"\xff" * 1000,  # a frame of 16 MB
        PREFACE + SETTINGS + b"\0\0\x05\1\5\0\0\0\1" + b"\xff" * 5,  # a header that is none
        PREFACE + SETTINGS * 1000,
    ],
)
async def test_garbage_on_the_port_disturbs_nobody(served, data):
    async with served.client() as client:
        items = client.subscribe(from_start=True)
        served.broker.publish(final(0))
        await anext(items)
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(served))
            writer.write(data)
            writer.close()
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(served))
            writer.write(data)
            with suppress(OSError):
                writer.write_eof()
                await reader.read()  # to the end: the server closes
            writer.close()
        served.broker.publish(final(1))
        assert (await anext(items)).event.segment == 1
    assert await works(served)


async def test_connection_reset_disturbs_nobody(served):
    for _ in range(10):
        raw = socket.create_connection(("127.0.0.1", port_of(served)))
        raw.sendall(PREFACE + SETTINGS)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    assert await works(served)


async def test_requests_that_never_come_whole_take_no_place_and_disturb_nobody():
    async with (
        running(ServerConfig(streams=1)) as served,
        grpc.aio.insecure_channel(served.target) as channel,
        served.client() as client,
    ):
        # The headers of a call, and then nothing.
        held = [
            channel.stream_stream(f"/{SERVICE}/{method}")() for method in ("Subscribe", "Transcribe", "GetStatus") * 10
        ]
        await asyncio.gather(*[call.wait_for_connection() for call in held])
        items = client.subscribe(from_start=True)
        served.broker.publish(final(1))
        assert (await anext(items)).event.segment == 1
        assert await works(served)
        assert served.server.streams == 1
        await items.aclose()
        for call in held:
            call.cancel()


async def test_connections_that_say_hello_too_slowly_are_closed():
    async with running(ServerConfig(handshake_seconds=3)) as served:
        slow = [await asyncio.open_connection("127.0.0.1", port_of(served)) for _ in range(50)]
        for _, writer in slow:
            writer.write(PREFACE[:7])
        assert await works(served)
        for reader, writer in slow:
            with suppress(OSError):
                await reader.read()
            writer.close()
