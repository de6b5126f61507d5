"""Months in a day: hours of audio at speed through a service, with clients that come and go. For maintainers:

    make soak                               # 2 hours of audio with each engine
    make soak HOURS=24 PLOT=docs/soak.png   # a day, and its plot

The service listens to the recorded speech of tests/data as fast as it recognises it; a second thread recognises what
clients send meanwhile. Beside a subscriber that stays there are some that come and go by gRPC, HTTP and MQTT, one that
returns with its last number, and clients with audio of their own by gRPC, Wyoming and HTTP; the MQTT broker is started
anew now and then. What must hold is said at the end, and is the exit code; memory and cost only of an hour and more.
"""

import asyncio
import random
import sys
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import aiohttp
import aiomqtt
import click
import numpy as np
import soundfile

from rtstream.client.samples import SampleClient
from rtstream.client.server_error import ServerError
from rtstream.events import SAMPLE_RATE
from rtstream.publish.items import Gap, Published
from tests.adapters.mosquitto import Mosquitto
from tests.daemon.measure import Track, cpu_seconds, daemon, end_what_was_started, slope
from tests.daemon.measure_adapters import (
    TURN_SECONDS,
    Heard,
    by_events,
    by_grpc,
    by_mqtt,
    turn_by_grpc,
    turn_by_realtime,
    turn_by_wyoming,
)
from tests.daemon.siege import _free_port

VISITORS = 8
SPEED = 20.0
"""Times real time, at which clients send."""
ROWS = 120
LEAST_HOURS = 1.0
"""Of audio, of which memory and cost are judged."""
SLOPE, COST = 1.0, 0.02
"""Most MB that an hour may add, and share by which the last hour may cost more than the first."""
COLUMNS = {"memory, MB": 1, "files": 3, "threads": 4}


class Counting(Heard):
    """A subscriber that minds nothing but which finals it is told."""

    def __init__(self, name):
        super().__init__(name, None)

    def note(self, kind, end, number=None):  # noqa: ARG002 - as the one above
        if kind == "final":
            self.numbers.append(number)

    @property
    def holes(self):
        """Places at which a final does not follow the one before."""
        return sum(after != before + 1 for before, after in pairwise(self.numbers))


class Soak:
    """The clients of one service. ``rows``: hours of audio, MB, CPU seconds, open files and threads at each."""

    def __init__(self, running, track, url, wyoming, broker):
        self.rows, self.done, self.problems = [], {}, []
        self.own, self.returning = Counting("gRPC Subscribe"), Counting("returning")
        self._running, self._track, self._url, self._wyoming, self._broker = running, track, url, wyoming, broker
        self._random = random.Random(0)
        self._texts = {}
        self._over = False

    async def run(self, hours):
        staying = asyncio.ensure_future(by_grpc(self._running.socket, self.own))
        clients = [self.return_again, self.restart_broker, self.recognize, self.recognize_elsewhere]
        clients += [lambda kind=kind: self.visit(kind) for kind in ("grpc", "http", "mqtt") for _ in range(VISITORS)]
        tasks = [asyncio.ensure_future(self._repeat(client)) for client in clients]
        await self._watch(hours)
        self._over = True
        await asyncio.gather(*tasks)
        while (await asyncio.to_thread(self._running.status)).streams:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)
        await asyncio.sleep(5.0)  # connections that were closed are let go of
        status = await asyncio.to_thread(self._running.status)
        last = status.counters
        while not self.own.numbers or self.own.numbers[-1] < last["finals"]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        await self.return_again(last["finals"])
        self.rows.append(self._look(self.rows[-1][0], status))
        assert not staying.done(), staying
        staying.cancel()
        return last

    async def _repeat(self, client):
        while not self._over:
            try:
                await client()
            except (aiohttp.ClientError, aiomqtt.MqttError, OSError, ServerError) as error:
                self.problems.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._random.uniform(0.1, 2.0))

    async def _watch(self, hours):
        while not self.rows or self.rows[-1][0] < hours:
            status = await asyncio.to_thread(self._running.status)
            heard = status.counters["recognised_samples"] / SAMPLE_RATE / 3600
            if not self.rows or heard - self.rows[-1][0] >= hours / ROWS:
                self.rows.append(self._look(heard, status))
            await asyncio.sleep(0.25)

    def _look(self, hours, status):
        pid = self._running.process.pid
        files, threads = (len(list(Path(f"/proc/{pid}/{name}").iterdir())) for name in ("fd", "task"))
        return hours, status.rss_bytes / 1e6, cpu_seconds(pid), files, threads

    def _count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    async def visit(self, kind):
        """A subscriber that goes after a while without a word."""
        heard = Counting(kind)
        call = {
            "grpc": lambda: self._subscribe(heard),
            "http": lambda: by_events(self._url, heard, ""),
            "mqtt": lambda: by_mqtt(self._broker.port, heard),
        }[kind]()
        with suppress(TimeoutError):
            await asyncio.wait_for(call, self._random.uniform(1.0, 15.0))
        if heard.holes and kind != "mqtt":  # whose broker goes away
            self.problems.append(f"{kind}: {heard.holes} holes in a visit")
        self._count(f"visits by {kind}")

    async def _subscribe(self, heard):
        async with SampleClient(f"unix:{self._running.socket}") as client:
            async for item in client.subscribe():
                if isinstance(item, Published) and item.position:
                    heard.note("final", item.event.end, item.position.sequence)

    async def return_again(self, until=None):
        """Go on after the last final that it was told, for some of them, or up to one."""
        left = self._random.randint(1, 30)
        async with SampleClient(f"unix:{self._running.socket}") as client:
            after = getattr(self.returning, "position", None)
            if until is not None and after is not None and after.sequence >= until:
                return
            async for item in client.subscribe(resume_after=after, from_start=after is None, partials=False):
                if isinstance(item, Gap):
                    self.problems.append(f"returning: {item}")
                if not isinstance(item, Published) or not item.position:
                    continue
                self.returning.position = item.position
                self.returning.note("final", item.event.end, item.position.sequence)
                left -= 1
                if self._over if until is None else item.position.sequence >= until:
                    return
                if until is None and not left:
                    break
        self._count("returns")

    async def restart_broker(self):
        await asyncio.sleep(30.0)
        await asyncio.to_thread(self._broker.stop)
        await asyncio.to_thread(self._broker.start)
        self._count("restarts of the broker")

    async def recognize(self):
        """Have one of a few recordings recognised, which gives the same text each time."""
        number = self._random.randrange(10)
        finals = []
        await turn_by_grpc(self._running.socket, self._recording(number), SPEED, finals)
        if self._texts.setdefault(number, finals) != finals:
            self.problems.append(f"another text: {finals} where it was {self._texts[number]}")
        self._count("Recognize")

    async def recognize_elsewhere(self):
        await turn_by_wyoming(self._wyoming, self._recording(self._random.randrange(10)), SPEED)
        self._count("Wyoming")
        await turn_by_realtime(self._url, self._recording(self._random.randrange(10)), SPEED)
        self._count("realtime")

    def _recording(self, number):
        length = round(TURN_SECONDS * SAMPLE_RATE)
        return np.roll(self._track.pcm, -number * length)[:length]


def costs(rows):
    """CPU seconds a second of audio between rows, and in the first and the last hour, or third if that is less."""
    table = np.array(rows)
    part = min(1.0, (table[-1, 0] - table[0, 0]) / 3)
    first = table[table[:, 0] <= table[0, 0] + part]
    last = table[table[:, 0] >= table[-1, 0] - part]
    between = np.diff(table[:, 2]) / np.diff(table[:, 0]) / 3600
    return between, *((side[-1, 2] - side[0, 2]) / (side[-1, 0] - side[0, 0]) / 3600 for side in (first, last))


def soak(engine, model, hours, track):
    """Run one; what was looked at, and whether all held that must."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder))
        soundfile.write(f"{folder}/track.wav", track.pcm, SAMPLE_RATE)
        http, wyoming = _free_port(), _free_port()
        settings = (
            f'[http]\nlisten = ["127.0.0.1:{http}"]\n[wyoming]\nlisten = "tcp://127.0.0.1:{wyoming}"\n'
            f'[mqtt]\nbroker = "mqtt://127.0.0.1:{broker.port}"\ndevice = "measured"\npartials = true\n'
            f'[recognition]\nengine = "{engine}"\nmodel = "{model}"\nworkers = 2\n'
        )
        try:
            with daemon(f"wav:{folder}/track.wav?speed=max&loop=1", settings=settings) as (running, _):
                clients = Soak(running, track, f"http://127.0.0.1:{http}", wyoming, broker)
                began = time.monotonic()
                counters = asyncio.run(clients.run(hours))
                seconds = time.monotonic() - began
                code = running.stop()
        finally:
            broker.stop()
    *rows, gone = clients.rows
    _, first, last = costs(rows)
    growth = slope([row[:2] for row in rows])
    missing = {each.name: each.wrong(counters["finals"]) for each in (clients.own, clients.returning)}
    lost = sum(counters[name] for name in ("behind_samples", "overflow_samples", "finals_lost"))
    click.echo(f"{engine}, {model}: {rows[-1][0]:.2f} hours of audio in {seconds / 60:.1f} minutes; {clients.done}")
    click.echo(
        f"memory {rows[0][1]:.1f} MB at first, {max(row[1] for row in rows):.1f} at most, {gone[1]:.1f} when all are "
        f"gone, slope {growth:+.2f} MB per hour of audio, without its first 12th"
    )
    click.echo(f"CPU seconds a second of audio: {first:.4f} in the first hour or third, {last:.4f} in the last")
    for name, column in list(COLUMNS.items())[1:]:
        third = -(-len(rows) // 3)
        thirds = ", ".join(str(max(row[column] for row in part)) for part in (rows[:third], rows[-third:]))
        click.echo(f"{name} at most in the first and the last third: {thirds}; when all are gone {gone[column]}")
    click.echo(
        f"finals {counters['finals']}; missing, twice or out of order: {missing}; lost: {lost}; exit code {code}"
    )
    click.echo(f"problems: {len(clients.problems)} {clients.problems[:5]}")
    held = not (any(missing.values()) or lost) and code in {0, 75}
    held = held and not [each for each in clients.problems if "holes" in each or "another" in each or "Gap" in each]
    if hours >= LEAST_HOURS:
        held = held and abs(growth) <= SLOPE and last <= first * (1 + COST)
    click.echo("held" if held else "NOT held")
    return rows, held


def draw(runs, target):
    """Memory, cost, files and threads over the hours of audio, as a PNG."""
    from matplotlib.figure import Figure

    from rtstream.training.core.plots import write_png

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 2).flat
    for engine, rows in runs.items():
        table = np.array(rows)
        for panel, (name, column) in zip(axes[:3], COLUMNS.items(), strict=True):
            panel.plot(table[:, 0], table[:, column], label=engine)
            panel.set_ylabel(name)
        axes[3].plot(table[1:, 0], costs(rows)[0], label=engine)
    axes[3].set_ylabel("CPU seconds a second of audio")
    for panel in axes:
        panel.set_ylim(bottom=0)
        panel.set_xlabel("hours of audio")
        panel.grid(visible=True, alpha=0.3)
    axes[0].legend()
    write_png(figure, target)


@click.command()
@click.option("--hours", default=2.0, show_default=True, help="Of audio, with each engine.")
@click.option("--engine", "engines", multiple=True, default=["onnx", "torch"], show_default=True)
@click.option("--model", default="base", show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it into this PNG.")
def main(hours, engines, model, plot):
    """Hours of audio at speed, with clients that come and go."""
    end_what_was_started()
    track = Track()
    runs = {engine: soak(engine, model, hours, track) for engine in engines}
    if plot is not None:
        draw({engine: rows for engine, (rows, _) in runs.items()}, plot)
    sys.exit(not all(held for _, held in runs.values()))


if __name__ == "__main__":
    main()
