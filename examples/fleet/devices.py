"""Simulate devices: each with the service's own publisher, and a recorded stream of events instead of a model.

python devices.py --devices 1000 --seconds 300 --port 1883 --state FOLDER

Each hears heard.jsonl (half a minute of speech, recognised by "rtstream replay --format jsonl"), then silence, and both
again, from a moment of its own on. At the end it waits until the broker has all, and writes what each has said: device,
epoch, finals, and how many of them the broker has not taken in time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from rtstream.adapters.mqtt.config import MqttConfig
from rtstream.adapters.mqtt.publisher import MqttPublisher
from rtstream.events import SAMPLE_RATE, DeviceState, Fault, Final, Partial, Speech, Word
from rtstream.publish.broker import Broker
from rtstream.publish.lines import read_position
from rtstream.wire.values import Status

HEARD = Path(__file__).parent / "heard.jsonl"
LAST_SECONDS = 120.0
"""To publish what was said last."""


class Device:
    """A service without a model; what :class:`MqttPublisher` asks of one."""

    languages = ()

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.muted = name, False
        self.broker = Broker()
        self.faults = 0
        self._pause = options.pause
        self._state = options.state / name
        self._state.write_text(f"{self.broker.last.epoch}:0\n")  # so that no final is said before it publishes
        config = MqttConfig("127.0.0.1", options.port, name, name, state=self._state)
        self.publisher = MqttPublisher(self, config, self._fault)  # type: ignore[arg-type] # as much as it asks for

    def status(self) -> Status:
        """How it is."""
        return Status("0", "ready", device=DeviceState("simulated", "capturing"), audio_age_seconds=0.1)

    def mute(self, muted: bool) -> None:  # noqa: FBT001
        """Be muted, or not."""
        self.muted = muted

    def _fault(self, fault: Fault) -> None:
        self.faults += not fault.recovered

    async def hear(self, heard: list[Partial | Final], seconds: float) -> None:
        """Say for ``seconds`` what was ``heard``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        length = heard[-1].end / SAMPLE_RATE + self._pause
        began = loop.time() - random.uniform(0, length)
        segments = 1 + max(event.segment for event in heard)
        turn = 0
        while True:
            speaking = -1
            for event in heard:
                at = began + turn * length + event.end / SAMPLE_RATE
                if at > until:
                    return
                if at < loop.time() - 1.0 and turn == 0:
                    continue  # it came in the middle
                await asyncio.sleep(max(0.0, at - loop.time()))
                said = (event.end - event.start) / SAMPLE_RATE
                event = replace(event, segment=turn * segments + event.segment, time=time.time() - said)  # noqa: PLW2901
                if speaking != event.segment:
                    speaking = event.segment
                    self.broker.publish(Speech(event.segment, event.start, "started", time=event.time))
                self.broker.publish(event)
                if isinstance(event, Final):
                    self.broker.publish(Speech(event.segment, event.end, "ended", time=time.time()))
            turn += 1

    async def finish(self) -> dict[str, Any]:
        """Publish what is left, and tell what was said."""
        until = time.monotonic() + LAST_SECONDS
        while (unsent := self.broker.last.sequence - self._taken()) and time.monotonic() < until:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.5)
        self.broker.close()
        await self.publisher.stop(1.0)
        last = self.broker.last
        told = {"device": self.name, "epoch": last.epoch, "finals": last.sequence}
        return {**told, "unsent": unsent, "faults": self.faults}

    def _taken(self) -> int:
        """The number of the last final that the broker has, as the publisher remembers it."""
        position = read_position(self._state.read_text().strip())
        return 0 if position is None else position.sequence


def read_heard(file: Path) -> list[Partial | Final]:
    """Read the lines of ``rtstream replay --format jsonl``."""

    def samples(seconds: float) -> int:
        return round(seconds * SAMPLE_RATE)

    events: list[Partial | Final] = []
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        place = entry["segment"], samples(entry["start"]), samples(entry["end"]), entry["text"]
        if entry["type"] == "partial":
            events.append(Partial(*place))
        elif entry["type"] == "final":
            words = tuple(
                Word(word["word"], samples(word["start"]), samples(word["end"]), word["confidence"])
                for word in entry["words"]
            )
            events.append(Final(*place, words, confidence=entry["confidence"]))
    return events


async def simulate(options: argparse.Namespace) -> None:
    """Start the devices, a hundred a second, let them hear, and write what they said."""
    heard = read_heard(HEARD)
    devices, hearing = [], []
    for number in range(options.devices):
        device = Device(f"device-{options.first + number}", options)
        devices.append(device)
        hearing.append(asyncio.ensure_future(device.hear(heard, options.seconds)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*hearing)
    for told in await asyncio.gather(*(device.finish() for device in devices)):
        print(json.dumps(told))


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=60, help="seconds of silence between half minutes of speech")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--state", type=Path, required=True, help="folder for what each device remembers")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection each
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    asyncio.run(simulate(options))


if __name__ == "__main__":
    main()
