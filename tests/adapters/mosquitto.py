"""A real mosquitto, and a client of its own that sees what is published."""

import shutil
import socket
import subprocess
import threading
from contextlib import suppress

import paho.mqtt.client as paho
import pytest

from tests.audio.sound_server import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_mosquitto = pytest.mark.skipif(not MOSQUITTO, reason="needs a broker: apt-get install mosquitto")


class Mosquitto:
    """A broker on a port that stays its own; ``settings`` are lines of its configuration."""

    def __init__(self, folder, settings="allow_anonymous true"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"user root\nlistener {self.port} 127.0.0.1\n{settings}\n")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens, "mosquitto listens")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def _listens(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Watcher:
    """What a subscriber of ``topic`` gets, in order, as (topic, text, qos, retained)."""

    def __init__(self, broker, topic="#", *, prepare=lambda _: None):
        self.got = []
        self._ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        prepare(self.client)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = lambda _, __, m: self.got.append((m.topic, m.payload.decode(), m.qos, m.retain))
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._ready.wait(120)

    def of(self, topic):
        return [text for name, text, _, _ in list(self.got) if name == topic]

    def last(self, topic):
        return (self.of(topic) or [None])[-1]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
