"""Recognisers side by side on this machine: computing, memory, delays, errors. ``docs/benchmarks.md`` is made of it.

    benchmarks/setup.sh                                 # once: the others, in an environment of their own
    .venv/bin/python -m benchmarks.run --data ~/speech  # on a machine that does nothing else; it refuses another one
    .venv/bin/python -m benchmarks.run --show           # the tables of what was measured so far

Each system runs alone in a fresh process on one thread, one after the other, as often as there are rounds; of the
rounds the least CPU seconds count, which other programs disturb least. All hear the same clips: of each set those that
are nearest to the lengths, and one long recording of clips with pauses between them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import jiwer
import numpy as np

from rtstream import __version__
from rtstream.cli.benchmark_report import processor
from rtstream.errors import RtstreamError
from rtstream.evaluation.evaluate import normalizer
from rtstream.events import SAMPLE_RATE
from rtstream.training.corpus.data import Clip, load_set

RESULTS = Path(__file__).with_name("results.json")
OTHERS = Path.home() / ".cache" / "rtstream" / "benchmarks" / "venv" / "bin" / "python"
OWN = ("rtstream-base", "rtstream-tiny")
SYSTEMS = (*OWN, "whisper-base", "whisper-tiny.en", "moonshine-base", "pocketsphinx")
LOOK_SECONDS, BUSY = 3.0, 0.1
"""How long the machine is looked at before a run, and the share of a core that others may take in it."""
PAUSE = 0.6
"""Seconds between the clips of a long recording."""
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Row = dict[str, Any]


def busy() -> float:
    """Cores that programs of this machine take, for a while."""

    def ticks() -> tuple[int, int]:
        numbers = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        return sum(numbers), numbers[3] + numbers[4]

    all_before, idle_before = ticks()
    time.sleep(LOOK_SECONDS)
    all_after, idle_after = ticks()
    share = 1 - (idle_after - idle_before) / max(all_after - all_before, 1)
    return share * (os.cpu_count() or 1)


def nearest(clips: list[Clip], seconds: float, count: int) -> list[Clip]:
    """The clips whose length is nearest, no two the same."""
    return sorted(clips, key=lambda clip: (abs(clip.seconds - seconds), clip.shard.name, clip.offset))[:count]


def run(system: str, mode: str, clips: list[Row], timeout: float) -> Row:
    """Have a fresh process recognise clips. Raises RtstreamError with what it said."""
    python = Path(sys.executable) if system in OWN else OTHERS
    if not python.exists():
        raise RtstreamError(f"{python}: is not there; benchmarks/setup.sh makes it")
    root = str(Path(__file__).parent.parent)
    environment = os.environ | THREADS | {"PYTHONPATH": root if system in OWN else str(Path(__file__).parent)}
    worker = [str(python), str(Path(__file__).with_name("worker.py")), system, mode]
    given = json.dumps([{"id": clip["id"], "audio": clip["audio"]} for clip in clips])
    try:
        done = subprocess.run(
            worker, input=given, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise RtstreamError(f"{system}, {mode}: has not come to its end within {timeout:.0f} s") from None
    if done.returncode < 0:
        ended = signal.Signals(-done.returncode).name  # SIGILL: its wheel wants a processor with more instructions
        raise RtstreamError(f"{system}, {mode}: was ended by {ended}")
    if done.returncode:
        raise RtstreamError(f"{system}, {mode}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    found: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def summed(found: Row, clips: list[Row]) -> Row:
    """What a run came to."""
    normalize = normalizer()
    seconds = sum(clip["seconds"] for clip in clips)
    texts = {clip["id"]: normalize(clip["text"]) for clip in found["clips"]}
    row: Row = {
        "cpu": sum(clip["cpu"] for clip in found["clips"]) / seconds,
        "wer": 100 * jiwer.wer([normalize(clip["text"]) for clip in clips], [texts[clip["id"]] for clip in clips]),
        "clips": len(clips),
        "seconds": seconds,
        "start": found["start"],
        "bytes": found["bytes"],
        **found["memory"],
    }
    if found["mode"] == "live":
        finals = [clip["final"] for clip in found["clips"]]
        firsts = [clip["words"][0] for clip in found["clips"] if clip["words"]]
        row["final"] = dict(zip(("p50", "p95", "p99"), np.percentile(finals, (50, 95, 99)).tolist(), strict=True))
        row["first"] = float(np.median([first["audio"] + first["took"] for first in firsts])) if firsts else None
    return row


def prepared(
    data: Path, sets: list[str], lengths: list[float], each: int, minutes: float, folder: Path
) -> dict[str, list[Row]]:
    """The clips by length, as files that every environment reads."""
    groups: dict[str, list[Row]] = {}

    def keep(name: str, audio: np.ndarray[Any, np.dtype[np.float32]], text: str) -> Row:
        path = folder / f"{name}.npy"
        np.save(path, audio)
        return {"id": name, "audio": str(path), "text": text, "seconds": len(audio) / SAMPLE_RATE}

    all_clips = [clip for name in sets for clip in load_set(data, name)]
    for length in lengths:
        chosen = nearest(all_clips, length, each)
        groups[f"{length:g} s"] = [
            keep(f"{length:g}-{n}", clip.read(), clip.text or clip.reference) for n, clip in enumerate(chosen)
        ]
    if minutes:
        parts, texts, seconds = [], [], 0.0
        for clip in all_clips:
            audio = clip.read()
            parts += [audio, np.zeros(int(PAUSE * SAMPLE_RATE), np.float32)]
            texts.append(clip.text or clip.reference)
            seconds += len(audio) / SAMPLE_RATE + PAUSE
            if seconds >= 60 * minutes:
                break
        groups[f"{minutes:g} min"] = [keep("long", np.concatenate(parts), " ".join(texts))]
    return groups


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data/audio"), show_default=True)
@click.option("--set", "sets", multiple=True, default=("dev-cv:reporting", "dev-librispeech:reporting"))
@click.option("--system", "systems", multiple=True, type=click.Choice(SYSTEMS), default=SYSTEMS)
@click.option("--mode", "modes", multiple=True, type=click.Choice(["whole", "live"]), default=("whole", "live"))
@click.option("--length", "lengths", multiple=True, type=float, default=(2.0, 5.0, 15.0), show_default=True)
@click.option("--each", default=10, show_default=True, help="Clips of each length.")
@click.option("--minutes", default=5.0, show_default=True, help="Of the long recording; 0: none.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds that one process may take.")
@click.option("--anyway", is_flag=True, help="Also on a machine that is busy; its figures are marked.")
@click.option("--show", is_flag=True, help="Measure nothing, print the tables.")
def main(
    *,
    data: Path,
    sets: tuple[str, ...],
    systems: tuple[str, ...],
    modes: tuple[str, ...],
    lengths: tuple[float, ...],
    each: int,
    minutes: float,
    rounds: int,
    timeout: float,
    anyway: bool,
    show: bool,
) -> None:
    """Measure SYSTEMS side by side, and keep what was found in benchmarks/results.json."""
    kept: list[Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if not show:
        if (taken := busy()) > BUSY and not anyway:
            raise click.ClickException(
                f"this machine is busy: other programs take {taken:.1f} cores; end them, or say --anyway"
            )
        with tempfile.TemporaryDirectory() as folder:
            groups = prepared(data, list(sets), list(lengths), each, minutes, Path(folder))
            for _ in range(rounds):
                for group, clips in groups.items():
                    for mode in modes:
                        for system in systems:  # alternating: what disturbs one disturbs its neighbours
                            measure(kept, system, mode, group, clips, timeout)
                            RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    click.echo(tables(kept))


def measure(kept: list[Row], system: str, mode: str, group: str, clips: list[Row], timeout: float) -> None:
    """Run one and keep it, in the place of one of another day or that took more."""
    cell: Row = {"system": system, "mode": mode, "group": group}
    cell |= {"date": f"{datetime.now().astimezone():%Y-%m-%d}", "machine": processor(), "version": __version__}
    before = next((row for row in kept if all(row[key] == cell[key] for key in ("system", "mode", "group"))), None)
    cell["busy"] = round(busy(), 2)
    try:
        cell |= summed(run(system, mode, clips, timeout), clips)
    except RtstreamError as error:
        click.echo(str(error), err=True)
        return
    same = before is not None and all(before[key] == cell[key] for key in ("date", "machine", "clips"))
    if before is not None and same and before["cpu"] <= cell["cpu"]:
        return
    if before is not None:
        kept.remove(before)
    kept.append(cell)
    click.echo(f"{system}, {mode}, {group}: {cell['cpu']:.3f} CPU s a second, WER {cell['wer']:.1f}", err=True)


def tables(rows: list[Row]) -> str:
    """Markdown: a table a mode, of the machine that was measured last.

    A cell that was not measured says so, one of a busy machine has a star.
    """
    rows = [row for row in rows if row["machine"] == rows[-1]["machine"]]
    out = []
    for mode, title in (("whole", "Whole recordings"), ("live", "Live captions")):
        for group in dict.fromkeys(row["group"] for row in rows):
            mine = {row["system"]: row for row in rows if row["mode"] == mode and row["group"] == group}
            if not mine:
                continue
            any_row = next(iter(mine.values()))
            out += [f"### {title}, {group}", "", f"{any_row['clips']} recordings, {any_row['seconds']:.0f} s.", ""]
            heads = ["", "CPU s a second", "WER, %", "peak MB", "private MB", "start, CPU s", "model MB"]
            live = ["first words, s", "end to final p50, p95, p99, s"] if mode == "live" else []
            out += ["| " + " | ".join(heads + live + ["measured"]) + " |", "|---" * (len(heads) + len(live) + 1) + "|"]
            out += [_line(system, mine.get(system), live=bool(live)) for system in SYSTEMS]
            out.append("")
    return "\n".join(out)


def _line(system: str, row: Row | None, *, live: bool) -> str:
    if row is None:
        return f"| {system} | not measured" + " |" * (9 if live else 7)
    star = "*" if row["busy"] > BUSY else ""
    cells = [
        system,
        f"{row['cpu']:.3f}{star}",
        f"{row['wer']:.1f}",
        f"{row['peak'] / 1e6:.0f}",
        f"{row['private'] / 1e6:.0f}",
        f"{row['start']:.2f}{star}",
        f"{row['bytes'] / 1e6:.0f}",
    ]
    if live:
        final = row["final"]
        cells.append("none" if row["first"] is None else f"{row['first']:.2f}")
        cells.append(f"{final['p50']:.2f}, {final['p95']:.2f}, {final['p99']:.2f}{star}")
    return "| " + " | ".join([*cells, row["date"]]) + " |"


if __name__ == "__main__":
    main()
