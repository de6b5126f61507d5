"""examples/fleet with a few devices: nothing is lost, whoever breaks down when, and nothing is written twice."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from tests.adapters.mosquitto import Mosquitto, needs_mosquitto
from tests.audio.sound_server import until

ROOT = Path(__file__).parents[1]
FLEET = ROOT / "examples" / "fleet"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

pytestmark = needs_mosquitto


@pytest.fixture
def mosquitto(tmp_path):
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


class Collector:
    """The program, on a file of its own."""

    def __init__(self, folder, broker):
        self.file = folder / "finals.sqlite"
        self._command = [sys.executable, FLEET / "collector.py", self.file, "--port", str(broker.port)]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "subscribed" in self.process.stderr.readline()

    def rows(self, table="finals"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(self.file)) as opened:
            return opened.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
        return []

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate()
        return json.loads(out) if out else None, err


@pytest.fixture
def collector(tmp_path, mosquitto):
    made = Collector(tmp_path, mosquitto)
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture
def device(mosquitto):
    """A client that publishes as a device does, and waits until the broker has it."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()

    def publish(payload, name="kitchen"):
        text = payload if isinstance(payload, bytes) else json.dumps(payload)
        client.publish(f"rtstream/{name}/final", text, qos=1).wait_for_publish(120)

    yield publish
    client.disconnect()
    client.loop_stop()


def final(sequence, **more):
    return {"event_type": "final", "epoch": "e", "sequence": sequence, "start": 1.0, "end": 2.0, "text": "x", **more}


def test_each_final_is_written_once_also_across_a_kill(collector, device):
    for sequence in (1, 2, 2, 1, 3):
        device(final(sequence))
    until(lambda: len(collector.rows()) == 3, "written")
    collector.end(signal.SIGKILL)
    for sequence in (3, 4, 5):
        device(final(sequence))
    device(final(4), name="garden")
    collector.start()
    until(lambda: len(collector.rows()) == 6, "what came meanwhile is written")
    assert sorted(row[:3] for row in collector.rows()) == [
        ("garden", "e", 4),
        *(("kitchen", "e", n) for n in range(1, 6)),
    ]
    counts, _ = collector.end()
    assert counts["written"] == 3


def test_what_is_no_final_is_told_and_holds_up_nothing(collector, device):
    for payload in (b"", b"\xff", b"[" * 100_000, b"[]", b"7", {"event_type": "final"}, final({"a": 1}), final(1)):
        device(payload)
    device({"event_type": "gap", "missed": 7, "reason": "expired", "after": {}})
    until(lambda: collector.rows() and collector.rows("gaps"), "written")
    assert [row[:3] for row in collector.rows("gaps")] == [("kitchen", 7, "expired")]
    counts, told = collector.end()
    assert counts == {"written": 1, "gaps": 1, "refused": 7}, told
    assert told.count("no final: ") == 7
    assert "Traceback" not in told


@pytest.mark.slow
def test_nothing_is_lost_when_the_collector_is_killed_and_the_broker_restarted():
    run = subprocess.run(
        [sys.executable, FLEET / "measure.py", "--devices", "6", "--seconds", "60"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    assert "\nlost 0; " in run.stdout
    assert int(re.search(r"(\d+) finals", run.stdout)[1]) > 6
