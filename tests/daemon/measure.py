"""Measures a daemon of its own with the shipped model, on a machine that does nothing else. For maintainers:

    .venv/bin/python -m tests.daemon.measure latency
    .venv/bin/python -m tests.daemon.measure cpu
    .venv/bin/python -m tests.daemon.measure memory
    .venv/bin/python -m tests.daemon.measure resident --model tiny
    .venv/bin/python -m tests.daemon.measure load
    .venv/bin/python -m tests.daemon.measure fuzz
    .venv/bin/python -m tests.daemon.measure siege

The audio is the recorded speech of tests/data, over and over, with a second of silence between the clips.
"""

import asyncio
import os
import resource
import signal
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from pathlib import Path

import click
import grpc
import numpy as np

from rtstream.cli.bench import recorded_speech
from rtstream.client.samples import SampleClient
from rtstream.client.server_error import ServerError
from rtstream.events import SAMPLE_RATE, Final, Partial, Translation
from rtstream.publish.items import Published
from tests.daemon.served import Daemon
from tests.vad.recordings import read_clip

PIECE = SAMPLE_RATE // 50
SPEECH_DB = 35.0
"""A clip's speech ends with the last 20 ms that are no further below its loudest 20 ms."""
LONGEST_END = 1.5
"""Seconds from the end of speech to that of its segment; a longer one was cut for another reason."""


class Track:
    """The clips as one recording: ``pcm``, and where in it speech ends, in samples."""

    def __init__(self):
        parts, self.speech_ends, length = [], [], 0
        for name in recorded_speech():
            clip = read_clip(name)
            frames = clip[: len(clip) // PIECE * PIECE].reshape(-1, PIECE)
            level = 10 * np.log10((frames**2).mean(1) + 1e-12)
            spoken = np.flatnonzero(level > level.max() - SPEECH_DB)[-1] + 1
            self.speech_ends.append(length + int(spoken) * PIECE)
            clip = np.concatenate([clip, np.zeros(SAMPLE_RATE + -len(clip) % PIECE, np.float32)])
            parts.append(clip)
            length += len(clip)
        self.pcm = np.round(np.concatenate(parts) * 32767).astype("<i2")

    def speech_end_before(self, position):
        """The last one at or before a position, in the track played over and over; None if there is none."""
        rounds, rest = divmod(position, len(self.pcm))
        index = bisect_right(self.speech_ends, rest) - 1
        if index >= 0:
            return rounds * len(self.pcm) + self.speech_ends[index]
        return (rounds - 1) * len(self.pcm) + self.speech_ends[-1] if rounds else None


class Playing:
    """The track (or silence) at the speed of sound; knows when each sample was given."""

    def __init__(self, track, *, offset=0):
        self.pcm = None if track is None else np.roll(track.pcm, -offset)
        self._given = []

    async def pieces(self, seconds):
        began = time.monotonic()
        for number in range(int(seconds * SAMPLE_RATE / PIECE)):
            await asyncio.sleep(max(0.0, began + (number + 1) * PIECE / SAMPLE_RATE - time.monotonic()))
            self._given.append(time.monotonic())
            at = 0 if self.pcm is None else number * PIECE % len(self.pcm)
            yield bytes(2 * PIECE) if self.pcm is None else self.pcm[at : at + PIECE].tobytes()

    async def write(self, fifo, seconds):
        descriptor = os.open(fifo, os.O_WRONLY)
        try:
            async for piece in self.pieces(seconds):
                os.write(descriptor, piece)
        finally:
            os.close(descriptor)

    def since(self, position):
        """Seconds since the audio before ``position`` was given."""
        return time.monotonic() - self._given[min(-(-position // PIECE), len(self._given)) - 1]


class Latencies:
    """Of the events of one stream, in seconds."""

    def __init__(self, track, playing):
        self.partials, self.finals, self.spoken = [], [], []
        self.partial_translations, self.final_translations = [], []
        self._track, self._playing = track, playing

    def note(self, event):
        if isinstance(event, Partial):
            self.partials.append(self._playing.since(event.end))
        elif isinstance(event, Final):
            self.finals.append(self._playing.since(event.end))
            end = self._track.speech_end_before(event.end) if self._track else None
            if end is not None and event.start < end and event.end - end < LONGEST_END * SAMPLE_RATE:
                self.spoken.append(self._playing.since(end))
        elif isinstance(event, Translation):
            (self.final_translations if event.final else self.partial_translations).append(
                self._playing.since(event.end)
            )


def show(name, seconds):
    if not seconds:
        click.echo(f"{name:<58} none")
        return
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    click.echo(f"{name:<58} p50 {p50:.3f}  p95 {p95:.3f}  p99 {p99:.3f} s  of {len(seconds)}")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wake_ups(pid):
    """How often its threads, and those of the processes that it has started, have waited for something so far."""
    tasks = [*Path(f"/proc/{pid}/task").iterdir()]
    started = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    own = sum(
        int((task / "status").read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for task in tasks
    )
    return own + sum(map(wake_ups, started))


def end_what_was_started():
    """Let SIGTERM end this program as an error would, so that services and brokers that it has started end too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def daemon(source=None, settings=""):
    """A daemon that is ready, and the FIFO that it listens to unless another source is named."""
    with tempfile.TemporaryDirectory() as name:
        fifo = Path(name) / "pcm"
        os.mkfifo(fifo)
        running = Daemon(Path(name), "--source", source or f"fifo:{fifo}", settings=settings)
        try:
            yield running.ready(), fifo
        finally:
            running.kill()


async def listen(client, latencies, events=None):
    async for item in client.subscribe():
        if events is not None:
            events.append(time.monotonic())
        if isinstance(item, Published):
            latencies.note(item.event)


def slope(rows):
    """By how much the second of two columns grows for one of the first, without the first 12th of it."""
    later = np.array([row for row in rows if row[0] > rows[-1][0] / 12] or rows)
    return np.polyfit(*later.T, 1)[0] if len(later) > 1 else float("nan")


def translated(languages):
    """The settings of a daemon that translates into ``languages``, with commas between them."""
    return f"[translation]\nlanguages = {languages.split(',')}\n" if languages else ""


translate_option = click.option("--translate", "languages", default="", help="Translate into these, as in es,fr.")


@click.group()
def main():
    """Measure a daemon with the shipped model."""
    end_what_was_started()


@main.command()
@click.option("--minutes", default=10.0, show_default=True)
@translate_option
def latency(minutes, languages):
    """From audio to its partial and final at a subscriber."""
    track = Track()

    async def run(running, fifo):
        playing = Playing(track)
        latencies = Latencies(track, playing)
        async with SampleClient(f"unix:{running.socket}") as client:
            listening = asyncio.ensure_future(listen(client, latencies))
            await playing.write(fifo, 60 * minutes)
            await asyncio.sleep(3.0)
            listening.cancel()
        return latencies

    with daemon(settings=translated(languages)) as (running, fifo):
        heard = asyncio.run(run(running, fifo))
    show("end of a chunk's audio -> partial", heard.partials)
    show("end of a segment's audio -> final", heard.finals)
    show("end of speech -> final, the silence that ends it included", heard.spoken)
    if languages:
        show("end of a chunk's audio -> partial's translation", heard.partial_translations)
        show("end of a segment's audio -> final's translation", heard.final_translations)


@main.command()
@click.option("--seconds", default=120.0, show_default=True)
@click.option("--silent", is_flag=True, help="Silence alone.")
@translate_option
def cpu(seconds, silent, languages):
    """Share of a core while there is silence, and while somebody speaks; how often the process wakes."""
    with daemon(settings=translated(languages)) as (running, fifo):
        for name, track in [("silence", None)] + [("speech", Track())] * (not silent):
            before, slept = cpu_seconds(running.process.pid), wake_ups(running.process.pid)
            asyncio.run(Playing(track).write(fifo, seconds))
            used = cpu_seconds(running.process.pid) - before
            woken = (wake_ups(running.process.pid) - slept) / seconds
            rss = running.status().rss_bytes / 1e6
            share = 100 * used / seconds
            click.echo(
                f"{name:<8} {share:6.1f} % of a core, {used:.2f} s in {seconds:.0f} s, {woken:.0f} wake-ups a second; "
                f"memory {rss:.1f} MB"
            )


@main.command()
@click.option("--hours", default=1.0, show_default=True, help="Of audio, as fast as it is recognised.")
def memory(hours):
    """Resident memory after the start and while audio runs, and how it grows."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/track.wav", Track().pcm, SAMPLE_RATE)
        with daemon() as (running, _):
            click.echo(f"ready, nothing heard yet {running.status().rss_bytes / 1e6:8.1f} MB")
        with daemon(f"wav:{folder}/track.wav?speed=max&loop=1") as (running, _):
            rows = []
            for minute in count(1):
                while (heard := running.status().counters["recognised_samples"] / SAMPLE_RATE) < 60 * minute:
                    time.sleep(0.05)
                if heard > 3600 * hours and rows:
                    break
                rows.append((heard / 3600, running.status().rss_bytes / 1e6))
                if minute in {1, 5} or minute % 10 == 0:
                    click.echo(f"after {heard / 60:5.1f} min of audio  {rows[-1][1]:8.1f} MB")
    highest = max(row[1] for row in rows)
    click.echo(f"highest {highest:.1f} MB, slope {slope(rows):+.2f} MB per hour of audio, without its first 12th")


def look(pid):
    """Memory in MiB: resident, and of that its own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
    return sizes.get("Rss:", 0), sizes.get(
        "Private_Dirty:", 0
    )  # clean pages are files', which the system can take back


def say(name, rss, own):
    click.echo(f"{name:<12} {rss:6.1f} MiB resident, {own:6.1f} its own")


@main.command()
@click.option("--model", default="base", show_default=True)
def first_start(model):
    """Memory of a first start, resident and of that its own: until it is ready (looked at all the time), and then."""
    with tempfile.TemporaryDirectory() as folder:
        fifo = Path(folder) / "pcm"
        os.mkfifo(fifo)
        options = ("--source", f"fifo:{fifo}", "--model", model)
        running = Daemon(Path(folder), *options, environment={"CACHE_DIRECTORY": f"{folder}/cache"})
        try:
            looks = []
            while "READY=1" not in running.told and running.process.poll() is None:
                looks.append(look(running.process.pid))
                time.sleep(0.002)
            running.ready()
            say("starting", *np.max(looks, axis=0))
            click.echo(f"{cpu_seconds(running.process.pid):.2f} s of computing")
            time.sleep(2.0)
            say("ready", *look(running.process.pid))
        finally:
            running.kill()


@main.command()
@click.option("--model", default="base", show_default=True)
@click.option("--seconds", default=100.0, show_default=True, help="Of speech, at twice its speed.")
def resident(model, seconds):
    """Memory, resident and of that its own: ready, in speech (looked at ten times a second), ten seconds after it."""
    pcm = Track().pcm
    with tempfile.TemporaryDirectory() as folder:
        fifo = Path(folder) / "pcm"
        os.mkfifo(fifo)
        running = Daemon(Path(folder), "--source", f"fifo:{fifo}", "--model", model)
        try:
            running.ready()
            time.sleep(2.0)
            say("ready", *look(running.process.pid))
            computed = cpu_seconds(running.process.pid)
            looks, piece = [], 2 * SAMPLE_RATE // 10
            with fifo.open("wb", buffering=0) as stream:
                began = time.monotonic()
                for number in range(int(5 * seconds)):
                    time.sleep(max(0.0, began + number / 10 - time.monotonic()))
                    stream.write(np.take(pcm, range(number * piece, (number + 1) * piece), mode="wrap").tobytes())
                    looks.append(look(running.process.pid))
                for _ in range(100):
                    time.sleep(0.1)
                    looks.append(look(running.process.pid))
            say("in speech", *np.max(looks, axis=0))
            say("after it", *looks[-1])
            click.echo(f"{cpu_seconds(running.process.pid) - computed:.2f} s of computing for {seconds:.0f} s")
        finally:
            running.kill()


@main.command()
@click.option("--streams", default=8, show_default=True)
@click.option("--subscribers", default=200, show_default=True)
@click.option("--minutes", default=3.0, show_default=True)
def load(streams, subscribers, minutes):
    """Many Recognize streams and subscribers at a time, and the stream past the limit."""
    track = Track()
    calls = subscribers + streams + 8
    limits = f"[server]\nmax_calls = {calls}\nmax_calls_per_client = {calls}\n[recognition]\nmax_streams = {streams}\n"
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    async def recognize(client, latencies, playing):
        async for event in client.recognize(playing.pieces(60 * minutes)):
            latencies.note(event)

    async def run(running, fifo):
        events, own = [], Playing(track)
        heard = [Latencies(track, own) for _ in range(subscribers)]
        sent = [Playing(track, offset=number * len(track.pcm) // (streams + 1)) for number in range(streams)]
        recognised = [Latencies(None, playing) for playing in sent]
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(SampleClient(f"unix:{running.socket}"))
            subscribed = [asyncio.ensure_future(listen(client, latencies, events)) for latencies in heard]
            while (await client.status()).subscribers < subscribers:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.1)
            before, began = cpu_seconds(running.process.pid), time.monotonic()
            calls = [recognize(client, *pair) for pair in zip(recognised, sent, strict=True)]
            talking = asyncio.gather(own.write(fifo, 60 * minutes), *calls)
            await asyncio.sleep(60 * minutes / 2)
            try:
                async for _ in client.recognize(Playing(track).pieces(1.0)):
                    pass
                refused = "was taken"
            except ServerError as error:
                refused = f"{error.code.name} {error.reason}: {error}"
            status = await client.status()
            await talking
            seconds = time.monotonic() - began
            used = (cpu_seconds(running.process.pid) - before) / seconds
            for task in subscribed:
                task.cancel()
        click.echo(f"{status.subscribers} subscribers, {status.streams} streams, {seconds:.0f} s")
        click.echo(f"{len(events) / seconds:.0f} events/s at the subscribers, {100 * used:.0f} % of a core")
        click.echo(
            f"memory {status.rss_bytes / 1e6:.1f} MB; behind by {status.counters['behind_samples'] / SAMPLE_RATE:.1f} s"
        )
        show("subscribers: end of a chunk's audio -> partial", [s for each in heard for s in each.partials])
        show("subscribers: end of a segment's audio -> final", [s for each in heard for s in each.finals])
        show("streams: end of a chunk's audio -> partial", [s for each in recognised for s in each.partials])
        show("streams: end of a segment's audio -> final", [s for each in recognised for s in each.finals])
        click.echo(f"the next stream: {refused}")

    with daemon(settings=limits) as (running, fifo):
        click.echo(f"memory before {running.status().rss_bytes / 1e6:.1f} MB")
        asyncio.run(run(running, fifo))


@main.command()
@click.option("--streams", default=10_000, show_default=True)
def fuzz(streams):
    """Malformed Recognize streams: their statuses, and what is left of them."""
    from hypothesis import HealthCheck, given, settings

    from tests.rpc import test_recognizing

    statuses = Counter()
    with daemon() as (running, _):
        stub = running.stub()

        @settings(max_examples=streams, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(test_recognizing.streams)
        def send(requests):
            try:
                for _ in stub.Recognize(iter(requests)):
                    pass
                statuses["OK"] += 1
            except grpc.RpcError as error:
                statuses[error.code().name] += 1

        before = running.status().rss_bytes
        send()
        status = running.status()
        click.echo(", ".join(f"{name} {number}" for name, number in statuses.most_common()))
        click.echo(
            f"memory {before / 1e6:.1f} MB before, {status.rss_bytes / 1e6:.1f} MB after; {status.streams} streams"
        )
        click.echo(f"errors in the daemon's log: {sum(entry.get('level') == 'error' for entry in running.log)}")


@main.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--model", default="tiny", show_default=True)
def siege(minutes, model):
    """All that ever took the service down, at once, while it listens."""
    from rtstream.bundle.default import model_path
    from tests.daemon.siege import Siege

    with tempfile.TemporaryDirectory() as folder:
        report = Siege(Path(folder), model_path(Path(model)), Track().pcm).run(60 * minutes)
    right = sum(heard == wanted for heard, wanted in zip(report.heard, report.expected, strict=False))
    click.echo(f"exit code {report.code}, {report.stop_seconds:.1f} s after SIGTERM")
    click.echo(
        f"finals: {len(report.expected)} expected, {len(report.heard)} heard, {right} the same, "
        f"{report.stored} stored; gaps: {report.gaps}; {report.lost / SAMPLE_RATE:.1f} s of audio lost"
    )
    rss = np.array(report.rss) / 1e6
    tenths = " ".join(f"{part.min():.0f}-{part.max():.0f}" for part in np.array_split(rss, 10))
    click.echo(f"memory {rss[0]:.0f} MB at first; in each tenth of the time {tenths}")
    click.echo(f"files at most {max(report.files)}, threads at most {max(report.threads)}")
    show("GetStatus", report.answers)
    click.echo(f"the subscriber returned after: {Counter(report.returns)}")
    click.echo(f"not answered: {Counter(report.unanswered)}; rounds: {report.rounds}; errors: {report.errors}")


if __name__ == "__main__":
    main()
