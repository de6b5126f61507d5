"""Everything that ever took the service down, at once, for as long as is wanted, while it listens to a live source."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from rtstream.engine.open import load_bundle
from rtstream.events import SAMPLE_RATE, AudioBlock, Final
from rtstream.publish.store import Store, StoreError
from rtstream.recognizer.pipeline import Pipeline
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.wire.convert import samples
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from tests.daemon.served import PROGRAM, Daemon

OURS, THEIRS, PASSING = (f"0123456789abcdef-{name}" for name in ("ours", "theirs", "passing"))
FILES = 1024
"""That the service may open, as most systems have it."""
LIMITED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
from rtstream.cli.main import main
sys.exit(main())
"""
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
PIECE = SAMPLE_RATE // 50
PARTIALS = "ctc"


@dataclass
class Report:
    """What came of it. ``returns``: why the subscriber had to subscribe again. ``rss``: bytes at each second;
    ``answers``: seconds that each GetStatus took.
    """

    code: int | None = None
    stop_seconds: float = 0.0
    heard: list = field(default_factory=list)
    expected: list = field(default_factory=list)
    stored: int = 0
    gaps: list = field(default_factory=list)
    returns: list = field(default_factory=list)
    lost: int = 0
    rss: list = field(default_factory=list)
    files: list = field(default_factory=list)
    threads: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    unanswered: list = field(default_factory=list)
    rounds: dict = field(default_factory=dict)
    errors: list = field(default_factory=list)


class Siege:
    """A service with the model in ``bundle`` that listens to ``pcm`` (16 kHz, int16), over and over."""

    def __init__(self, folder, bundle, pcm):
        self.folder, self.bundle, self.pcm = folder, bundle, pcm
        self.fifo, self.store, self.tokens = folder / "pcm", folder / "finals.db", folder / "tokens"
        self.port, self.metrics = _free_port(), _free_port()
        self.report = Report()
        self._over = threading.Event()
        self._stopping = False
        self._ours, self._theirs, self._passing = (
            (("authorization", f"Bearer {token}"),) for token in (OURS, THEIRS, PASSING)
        )

    def run(self, seconds):
        """All of it. The report still has to be looked at."""
        os.mkfifo(self.fifo)
        self.tokens.write_text(f"{OURS}\n{THEIRS}\n")
        self.tokens.chmod(0o600)
        settings = (
            f'[recognition]\npartials = "{PARTIALS}"\n[server]\ntokens = "{self.tokens}"\n'
            f'[publish]\nstore = "{self.store}"\nqueue_size = 10000\n[service]\ndrain_seconds = 60\n'
        )
        self.daemon = Daemon(
            self.folder,
            *("--model", str(self.bundle), "--source", f"fifo:{self.fifo}?pause=3600"),
            *("--listen", f"127.0.0.1:{self.port}", "--metrics", f"127.0.0.1:{self.metrics}"),
            settings=settings,
            program=[sys.executable, "-c", LIMITED],
        ).ready()
        try:
            asyncio.run(self._run(seconds))
        finally:
            self.daemon.kill()
        self._compare()
        return self.report

    async def _run(self, seconds):
        writer = threading.Thread(target=self._write, args=(seconds,), daemon=True)
        target = f"unix:{self.daemon.socket}"
        async with grpc.aio.insecure_channel(target, _OWN) as ours, grpc.aio.insecure_channel(target, _OWN) as theirs:
            self.stub, self.their_stub = SpeechServiceStub(ours), SpeechServiceStub(theirs)
            listening = asyncio.ensure_future(self._listen())
            await self._status()
            writer.start()
            watching = asyncio.ensure_future(self._watch())
            attacks = [asyncio.ensure_future(self._repeat(attack)) for attack in self._attacks()]
            on_store = asyncio.ensure_future(self._repeat(self.store_faults))
            await asyncio.to_thread(writer.join)
            async with asyncio.timeout(1_200):  # a slow machine is behind, and what waits is not to be given up
                while (await self._status()).counters["recognised_samples"] < self.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
            on_store.cancel()  # what was said last is to be stored
            await asyncio.wait({on_store})
            await self._repair()
            watching.cancel()
            self._stopping = True
            began = time.monotonic()
            self.report.code = await asyncio.to_thread(self.daemon.stop)  # under fire
            self.report.stop_seconds = time.monotonic() - began
            self._over.set()
            await asyncio.wait([listening], timeout=10)
            for task in attacks:
                task.cancel()
            await asyncio.gather(*attacks, return_exceptions=True)

    def _attacks(self):
        return [
            self.idle_connections,
            self.half_requests,
            self.big_calls_without_token,
            self.big_calls,
            self.device_lists,
            self.health_watches,
            self.greedy_streams,
            self.revoked_token,
            self.second_service,
            self.reloads,
        ]

    async def _repeat(self, attack):
        name = attack.__name__
        while not self._over.is_set():
            try:
                await attack()
                self.report.rounds[name] = self.report.rounds.get(name, 0) + 1
            except (grpc.aio.AioRpcError, OSError, TimeoutError):
                pass  # being refused is what is wanted
            except Exception as error:  # noqa: BLE001 - told at the end
                self.report.errors.append(f"{name}: {error!r}")
            await asyncio.sleep(0.5)

    # The attacks: each is one round.

    async def idle_connections(self):
        """1,100 HTTP/2 connections that say hello and nothing more, from ten addresses and over the socket."""
        with _Held(self.port, HELLO) as held:
            await asyncio.to_thread(held.open, 1_100)
            await asyncio.sleep(10)

    async def half_requests(self):
        """300 half requests to the metrics, and a whole one, which must be answered."""
        with _Held(self.metrics, b"GET /metrics HTTP/1.1\r\nHost") as held:
            await asyncio.to_thread(held.open, 300)
            text = await asyncio.to_thread(_get, f"http://127.0.0.1:{self.metrics}/metrics")
            assert b"rtstream_phase" in text
            await asyncio.sleep(3)

    async def big_calls_without_token(self):
        """3 connections x 100 Transcribe of 4 MiB less a byte."""
        await self._big_calls(3, 100, None)

    async def big_calls(self):
        """The same with a token, fewer of them: they are recognised."""
        await self._big_calls(1, 20, self._theirs)

    async def _big_calls(self, connections, calls, metadata):
        request = pb.TranscribeRequest(audio=bytes((4 << 20) - 40))
        for _ in range(connections):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", _OWN) as channel:
                stub = SpeechServiceStub(channel)
                sent = [stub.Transcribe(request, metadata=metadata, timeout=60) for _ in range(calls)]
                await asyncio.gather(*sent, return_exceptions=True)

    async def device_lists(self):
        """300 ListDevices at once."""
        request = pb.ListDevicesRequest()
        calls = [self.their_stub.ListDevices(request, metadata=self._theirs, timeout=30) for _ in range(300)]
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(5)

    async def health_watches(self):
        """256 Health.Watch without a token, from four addresses, beside which a subscription must still be possible."""
        async with contextlib.AsyncExitStack() as stack:
            watches = []
            for _ in range(4):
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", _OWN))
                watches += [HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(64)]
            await asyncio.gather(*(asyncio.wait_for(watch.read(), 5) for watch in watches), return_exceptions=True)
            call = self.their_stub.Subscribe(pb.SubscribeRequest(), metadata=self._theirs)
            assert (await asyncio.wait_for(call.read(), 60)).WhichOneof("event") == "heartbeat"
            call.cancel()
            await asyncio.sleep(3)

    async def greedy_streams(self):
        """4 Recognize streams whose clients send as fast as they can."""

        async def talk():
            yield pb.RecognizeRequest(config=pb.RecognitionConfig())
            began = time.monotonic()
            while time.monotonic() - began < 15:
                yield pb.RecognizeRequest(audio=self.pcm.tobytes()[: 1 << 20])

        async def one():
            async for _ in self.their_stub.Recognize(talk(), metadata=self._theirs, timeout=60):
                pass

        await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)

    async def revoked_token(self):
        """A subscription whose token is taken back, which must end it."""
        self.tokens.write_text(f"{OURS}\n{THEIRS}\n{PASSING}\n")
        call = self.their_stub.Subscribe(pb.SubscribeRequest(), metadata=self._passing)
        await asyncio.wait_for(call.read(), 60)
        self.tokens.write_text(f"{OURS}\n{THEIRS}\n")
        async with asyncio.timeout(60):
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await call.read() is not grpc.aio.EOF:
                    pass
        code, details = await call.code(), await call.details()
        if code is grpc.StatusCode.UNAVAILABLE and "the service ends" in details:
            return  # it was told to before it looked at the tokens again
        assert code is grpc.StatusCode.UNAUTHENTICATED, f"{code}: {details}"
        await asyncio.sleep(5)

    async def store_faults(self):
        """A disk without room, and a store that is a folder for a while."""
        pid = self.daemon.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        await asyncio.sleep(12)
        await self._repair()
        await asyncio.sleep(12)
        aside = self.store.with_suffix(".aside")
        self.store.rename(aside)
        self.store.mkdir()
        await asyncio.sleep(12)
        await self._repair()
        await asyncio.sleep(15)

    async def _repair(self):
        with contextlib.suppress(ProcessLookupError):
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE, unlimited)
        aside = self.store.with_suffix(".aside")
        if aside.exists():
            if self.store.is_dir():
                self.store.rmdir()
            aside.replace(self.store)

    async def second_service(self):
        """Another service at the same socket, which must not take it."""
        listen = f"unix:{self.daemon.socket}"
        other = await asyncio.create_subprocess_exec(
            *(*PROGRAM, "serve", "--source", "fifo:none", "--model", str(self.bundle), "--listen", listen),
            stderr=subprocess.DEVNULL,
        )
        try:
            assert await asyncio.wait_for(other.wait(), 300) == 69
        finally:
            if other.returncode is None:  # the first one has ended meanwhile, and this one has its place
                other.kill()
        await asyncio.sleep(20)

    async def reloads(self):
        """SIGHUP."""
        self.daemon.send(signal.SIGHUP)
        await asyncio.sleep(7)

    # Those who use the service.

    def _write(self, seconds):
        """Play the audio at the speed of sound, or as it is taken; between two rounds the FIFO is made anew."""
        self.written, self.rounds = 0, []
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            with self.fifo.open("wb", buffering=0) as fifo:
                start = time.monotonic()
                for at in range(0, len(self.pcm), PIECE):
                    fifo.write(self.pcm[at : at + PIECE].tobytes())
                    time.sleep(max(0.0, start + at / SAMPLE_RATE - time.monotonic()))
            self.written += len(self.pcm)
            self.rounds.append(self.written)
            self.fifo.unlink()
            os.mkfifo(self.fifo)

    async def _listen(self):
        """Subscribe to everything, and again after the last final if that ends.

        Not once the service is told to stop: a second one may take its place, and knows nothing of its finals.
        """
        request = pb.SubscribeRequest(from_start=True, kinds=[pb.EVENT_KIND_FINAL, pb.EVENT_KIND_AUDIO_LOST])
        while not self._stopping:
            try:
                async for event in self.stub.Subscribe(request, metadata=self._ours, wait_for_ready=True):
                    match event.WhichOneof("event"):
                        case "final":
                            final = event.final
                            self.report.heard.append((samples(final.start), samples(final.end), final.text))
                            request.from_start = False
                            request.resume_after.CopyFrom(final.position)
                        case "audio_lost":
                            self.report.lost += samples(event.audio_lost.duration)
                        case "gap":
                            self.report.gaps.append(str(event.gap))
            except grpc.aio.AioRpcError as error:
                self.report.returns.append(f"{error.code().name}: {error.details()}")
            await asyncio.sleep(0.1)

    async def _status(self):
        request = pb.GetStatusRequest()
        return await self.stub.GetStatus(request, metadata=self._ours, timeout=60, wait_for_ready=True)

    async def _watch(self):
        folder = Path(f"/proc/{self.daemon.process.pid}")
        while True:
            began = time.monotonic()
            try:
                self.report.rss.append((await self._status()).rss_bytes)
                self.report.answers.append(time.monotonic() - began)
            except grpc.aio.AioRpcError as error:
                self.report.unanswered.append(f"{error.code().name}: {error.details()}")
            with contextlib.suppress(OSError):
                self.report.files.append(len(list((folder / "fd").iterdir())))
                self.report.threads.append(len(list((folder / "task").iterdir())))
            await asyncio.sleep(1.0)

    def _compare(self):
        """What replay finds in the same audio, and what the store holds."""
        pipeline = Pipeline(Recognizer(load_bundle(self.bundle), RecognizerConfig(partials=PARTIALS)))
        events, position = [], 0
        block = self.pcm.astype(np.float32) / np.float32(32768)
        for _ in self.rounds:
            for at in range(0, len(block), SAMPLE_RATE):
                events += pipeline.push(AudioBlock(block[at : at + SAMPLE_RATE], position + at))
            events += pipeline.finish()
            position += len(block)
        self.report.expected = [(e.start, e.end, e.text) for e in events if isinstance(e, Final)]
        try:
            store = Store(self.store, max_age_seconds=1e6, max_bytes=1 << 26)
        except StoreError as error:
            self.report.errors.append(str(error))
            return
        finals = [item.event for item in store.after(0, 1 << 20)]
        stored = [(final.start, final.end, final.text) for final in finals]
        self.report.stored = sum(map(tuple.__eq__, stored, self.report.expected))
        store.close()


_OWN = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _get(url):
    return urlopen(url, timeout=30).read()  # noqa: S310 - the one above


class _Held:
    """Connections, from ten addresses of this machine, on which something is said and then nothing more."""

    def __init__(self, port, said):
        self._port, self._said, self._open = port, said, []

    def open(self, count):
        for number in range(count):
            source = (f"127.0.1.{number % 10}", 0)
            with contextlib.suppress(OSError):
                made = socket.create_connection(("127.0.0.1", self._port), timeout=1.0, source_address=source)
                self._open.append(made)
                made.send(self._said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self._open:
            each.close()
