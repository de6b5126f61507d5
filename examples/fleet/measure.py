"""Have a fleet of simulated devices, one mosquitto and a collector, break what can break, and tell what was lost.

python measure.py --devices 1000 --seconds 300 [--calm]

A third of the way the collector is killed (SIGKILL) and comes back 5 s later, at two thirds the broker is restarted
(SIGTERM, as "systemctl restart mosquitto" does); --calm: neither. Exit code 1 if a final was lost or written twice.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PROCESSES = 2
"""Among which the devices are."""
AWAY_SECONDS = 5.0
SETTLED_SECONDS = 2.0
PATIENCE_SECONDS = 120.0


class Program:
    """A program that may be killed and started again, and what all its lives took of the processor."""

    def __init__(self, *command: str | Path, **options: Any) -> None:  # noqa: ANN401 - subprocess's
        self._command, self._options = command, options
        self._before = 0.0
        self.largest = 0
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        self.process: Any = subprocess.Popen(self._command, **self._options)  # noqa: S603

    def look(self) -> float:
        """Seconds of the processor until now; notes its memory, in bytes, on the way."""
        with suppress(OSError, IndexError):
            proc = Path("/proc") / str(self.process.pid)
            fields = (proc / "stat").read_text().rpartition(")")[2].split()
            self._now = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            self.largest = max(self.largest, int((proc / "statm").read_text().split()[1]) * resource.getpagesize())
        return self._before + self._now

    def end(self, *, kill: bool = False) -> None:
        """End it."""
        self._before, self._now = self.look(), 0.0
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(PATIENCE_SECONDS)


def configure(folder: Path) -> int:
    """Write mosquitto.conf for a free port, as README.md has it for a fleet; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    user = "user root\n" if os.geteuid() == 0 else ""
    (folder / "mosquitto.conf").write_text(
        f"{user}listener {port} 127.0.0.1\nallow_anonymous true\n"
        f"persistence true\npersistence_location {folder}/\nautosave_interval 10\n"
        "max_queued_messages 1000000\nmax_inflight_messages 1000\n"
    )
    return port


def wait_for(port: int) -> None:
    """Until the broker listens."""
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("measure: error: mosquitto does not start")


def settle(database: Path, programs: list[Program]) -> None:
    """Until nothing more is written."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        with closing(sqlite3.connect(database)) as opened:
            now = opened.execute("SELECT count(*) FROM finals").fetchone()[0]
        if now != count:
            count, since = now, time.monotonic()
        for program in programs:
            program.look()
        time.sleep(0.2)


def judge(database: Path, said: list[dict[str, Any]]) -> tuple[int, int, list[float]]:
    """Finals that the broker took, those that were not written, and how long each that was took, in seconds."""
    with closing(sqlite3.connect(database)) as opened:
        written = Counter(dict(opened.execute("SELECT device || epoch, count(*) FROM finals GROUP BY 1")))
        rows = opened.execute('SELECT time, "end" - start, received FROM finals').fetchall()
    lost = sum(max(0, taken(entry) - written[entry["device"] + entry["epoch"]]) for entry in said)
    lags = [received - dt.datetime.fromisoformat(at).timestamp() - length for at, length, received in rows]
    return sum(map(taken, said)), lost, lags


def taken(entry: dict[str, Any]) -> int:
    """How many finals of a device the broker has said to have."""
    return int(entry["finals"] - entry["unsent"])


def main() -> int:  # noqa: PLR0915 - from the top to the bottom
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=60, help="seconds of silence between half minutes of speech")
    parser.add_argument("--calm", action="store_true", help="nothing breaks")
    options = parser.parse_args()
    if MOSQUITTO is None:
        raise SystemExit("measure: error: there is no mosquitto: apt-get install mosquitto")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database, state = folder / "finals.sqlite", folder / "state"
        state.mkdir()
        port = configure(folder)
        broker = Program(MOSQUITTO, "-c", folder / "mosquitto.conf", stderr=subprocess.DEVNULL)
        wait_for(port)
        write = (sys.executable, HERE / "collector.py", database, "--port", str(port))
        collector = Program(*write, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        collector.process.stderr.readline()  # it has subscribed
        fleet = []
        began = time.monotonic()
        for part in range(PROCESSES):
            first, last = (options.devices * n // PROCESSES for n in (part, part + 1))
            numbers = ("--devices", str(last - first), "--first", str(first), "--seconds", str(options.seconds))
            places = ("--pause", str(options.pause), "--port", str(port), "--state", state)
            with (folder / f"said-{part}").open("w") as out:
                fleet.append(
                    Program(
                        sys.executable, HERE / "devices.py", *numbers, *places, stdout=out, stderr=subprocess.DEVNULL
                    )
                )
        steps: list[tuple[float, Any]] = []
        if not options.calm:
            third = options.seconds / 3
            steps = [
                (third, lambda: collector.end(kill=True)),
                (third + AWAY_SECONDS, collector.start),
                (2 * third, broker.end),
                (2 * third + 1, broker.start),
            ]
        while any(part.process.poll() is None for part in fleet):
            for program in (broker, collector, *fleet):
                program.look()
            if steps and time.monotonic() - began >= steps[0][0]:
                steps.pop(0)[1]()
            time.sleep(0.2)
        took = time.monotonic() - began
        settle(database, [broker, collector])
        used = {"mosquitto": [broker], "collector": [collector], "devices": fleet}
        cpu = {name: sum(program.look() for program in programs) for name, programs in used.items()}
        collector.end()
        counts = json.loads(collector.process.stdout.read())
        said = [json.loads(line) for part in range(PROCESSES) for line in (folder / f"said-{part}").open()]
        broker.end()
        finals, lost, lags = judge(database, said)
    cuts = statistics.quantiles(lags, n=100, method="inclusive")
    print(f"{options.devices} devices, {took:.0f} s, {finals} finals ({finals / took:.0f} a second)")
    unsent = sum(entry["unsent"] for entry in said)
    doubles, refused = counts.get("doubles", 0), counts.get("refused", 0)
    print(f"lost {lost}; still with their device {unsent}; came twice, written once {doubles}; refused {refused}")
    print(f"lag: p50 {cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms, most {max(lags):.1f} s")
    for name, programs in used.items():
        print(f"{name}: {100 * cpu[name] / took:.1f} % of a core, {sum(p.largest for p in programs) / 1e6:.0f} MB")
    return int(lost != 0 or len(said) != options.devices)


if __name__ == "__main__":
    sys.exit(main())
