"""A real service in a process of its own, with what a test needs around it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import grpc

from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.v1.rtstream_pb2_grpc import SpeechServiceStub
from tests.audio.sound_server import until

PROGRAM = [sys.executable, "-c", "import sys; from rtstream.cli.main import main; sys.exit(main())"]


class Daemon:
    """``rtstream serve`` on a Unix socket; ``told`` is what systemd would hear, ``log`` its log so far."""

    def __init__(self, folder, *options, environment=None, stdin=subprocess.DEVNULL, settings="", program=PROGRAM):
        self.socket = folder / "rtstream.sock"
        self.config = folder / "rtstream.toml"
        self.config.write_text(settings)
        self.told = []
        self.log = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = folder / f"notify-{id(self)}"
        self._notify.bind(str(path))
        self.process = subprocess.Popen(
            [*program, "serve", "--config", self.config, "--listen", f"unix:{self.socket}", *options],
            env={**os.environ, "OMP_NUM_THREADS": "1", "NOTIFY_SOCKET": str(path), **(environment or {})},
            stdin=stdin,
            stderr=subprocess.PIPE,
        )
        threading.Thread(target=self._hear, daemon=True).start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ready(self):
        until(lambda: "READY=1" in self.told or self.process.poll() is not None, "ready", 600)
        assert self.process.poll() is None, self.log
        return self

    def stub(self):
        return SpeechServiceStub(grpc.insecure_channel(f"unix:{self.socket}"))

    def subscribe(self, **request):
        return Subscriber(self.stub().Subscribe(pb.SubscribeRequest(**request), wait_for_ready=True))

    def status(self):
        return self.stub().GetStatus(pb.GetStatusRequest(), wait_for_ready=True)

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """End it as systemd would; gives the exit code."""
        self.send(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(600)
        self._reader.join()
        return code

    def events(self, name):
        return [entry for entry in self.log if entry.get("event") == name]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._notify.close()

    def _hear(self):
        while True:
            try:
                self.told += self._notify.recv(4096).decode().split("\n")
            except OSError:
                return

    def _read(self):
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"text": line.decode()})


class Subscriber:
    """Collects what it is sent, in a thread."""

    def __init__(self, call):
        self.events = []
        self.ended = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.events or self.ended, "subscribed", 180)

    def of(self, kind):
        return [getattr(event, kind) for event in list(self.events) if event.WhichOneof("event") == kind]

    def _run(self):
        try:
            for event in self._call:
                self.events.append(event)
            self.ended = "end"
        except grpc.RpcError as error:
            self.ended = error.code()
