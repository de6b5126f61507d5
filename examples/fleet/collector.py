"""Write the finals of many devices into a SQLite file, each once, whoever breaks down when.

pip install paho-mqtt
python collector.py finals.sqlite --host broker.example --ca ca.pem --username collector --password-file password

A final is acknowledged to the broker when it is on the disk, so it comes again if this program or its machine fails
before that; device, epoch and sequence are its key, so it is written once all the same. The broker keeps what comes
meanwhile, as long as its limits allow (README.md). Several collectors share the work with --share: each its own --name.
"""

from __future__ import annotations

import argparse
import json
import queue
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

INSERT = "INSERT INTO finals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
RETRY_SECONDS = 2.0
BATCH, BATCH_SECONDS = 500, 0.1
"""Finals that are written at a time, and for how long the first of them may wait for others."""
TABLES = """
CREATE TABLE IF NOT EXISTS finals (
    device TEXT, epoch TEXT, sequence INTEGER,
    time TEXT, start REAL, "end" REAL, confidence REAL, text TEXT, received REAL,
    PRIMARY KEY (device, epoch, sequence)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (device TEXT, missed INTEGER, reason TEXT, received REAL);
"""


class Collector:
    """Takes messages on the client's thread, writes them on the caller's: see :meth:`run`."""

    def __init__(self, file: Path, client: mqtt.Client, topic: str) -> None:
        self.counts: Counter[str] = Counter()
        self._database = sqlite3.connect(file)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(TABLES)
        self._queue: queue.Queue[tuple[int, mqtt.MQTTMessage, float]] = queue.Queue()
        self._connections = 0
        self._stopping = threading.Event()
        self._client, self._topic = client, topic
        client.on_connect = self._connected
        client.on_subscribe = lambda *_: print("collector: subscribed", file=sys.stderr, flush=True)
        client.on_message = lambda _, __, message: self._queue.put((self._connections, message, time.time()))

    def stop(self, *_: object) -> None:
        """Write what has come, and end."""
        self._stopping.set()

    def run(self) -> None:
        """Write until :meth:`stop`."""
        while not self._stopping.is_set():
            batch = self._batch()
            if batch and self._stored(batch):
                for connection, message, _ in batch:
                    if connection == self._connections:  # else the broker sends it again
                        self._client.ack(message.mid, message.qos)
        self._client.disconnect()
        self._database.close()

    def _stored(self, batch: list[tuple[int, mqtt.MQTTMessage, float]]) -> bool:
        """Write these, as often as the disk wants; False if it did not until :meth:`stop`."""
        while not self._stopping.is_set():
            try:
                with self._database:
                    done = Counter(self._write(message, received) for _, message, received in batch)
            except sqlite3.OperationalError as error:
                print(f"collector: cannot write, trying again: {error}", file=sys.stderr, flush=True)
                self._stopping.wait(RETRY_SECONDS)
            else:
                self.counts += done
                return True
        return False

    def _connected(self, client: mqtt.Client, _: object, __: object, reason: ReasonCode, ___: object) -> None:
        self._connections += 1
        if reason.is_failure:
            print(f"collector: the broker refuses: {reason}; trying again", file=sys.stderr, flush=True)
        client.subscribe(self._topic, qos=1)

    def _batch(self) -> list[tuple[int, mqtt.MQTTMessage, float]]:
        found: list[tuple[int, mqtt.MQTTMessage, float]] = []
        until = time.monotonic() + BATCH_SECONDS
        while len(found) < BATCH and (left := until - time.monotonic()) > 0:
            try:
                found.append(self._queue.get(timeout=left))
            except queue.Empty:
                break
        return found

    def _write(self, message: mqtt.MQTTMessage, received: float) -> str:
        """Write one, and say what it was."""
        device = message.topic.split("/")[-2]
        try:
            event = json.loads(message.payload)
            if event["event_type"] == "gap":
                gap = (device, event["missed"], event["reason"], received)
                self._database.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", gap)
                return "gaps"
            row = (device, event["epoch"], event["sequence"], event.get("time"), event["start"], event["end"])
            done = self._database.execute(INSERT, (*row, event.get("confidence"), event["text"], received))
        except sqlite3.OperationalError:
            raise
        except (ValueError, TypeError, LookupError, RecursionError, sqlite3.Error) as error:
            # Acknowledged all the same: it would come for ever.
            print(f"collector: {message.topic}: no final: {error}", file=sys.stderr, flush=True)
            return "refused"
        return "written" if done.rowcount else "doubles"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--topic", default="rtstream/+/final")
    parser.add_argument("--share", help="name of a group that shares the messages")
    parser.add_argument("--name", default="collector", help="of its session at the broker: one that is its own")
    parser.add_argument("--ca", help="PEM file: who signs the broker's certificate; with it TLS is used")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    options = parser.parse_args()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=options.name, clean_session=False, manual_ack=True)
    if options.ca:
        client.tls_set(options.ca)
    if options.username:
        password = options.password_file.read_text().strip() if options.password_file else None
        client.username_pw_set(options.username, password)
    topic = f"$share/{options.share}/{options.topic}" if options.share else options.topic
    collector = Collector(options.file, client, topic)
    signal.signal(signal.SIGTERM, collector.stop)
    signal.signal(signal.SIGINT, collector.stop)
    client.connect_async(options.host, options.port or (8883 if options.ca else 1883))
    client.loop_start()
    collector.run()
    print(json.dumps(collector.counts))


if __name__ == "__main__":
    main()
