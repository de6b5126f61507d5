"""What was measured, as one JSON object and as a table."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from rtstream import __version__
from rtstream.cli.benchmark import Bench, peak_bytes, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.cli.benchmark import Start
    from rtstream.cli.options import RecognizerOptions
    from rtstream.recognizer.recognizer import Recognizer

Report = dict[str, Any]
"""As ``rtstream bench --json`` prints it: seconds, bytes, and what a second of audio takes: seconds, multiply-adds.

``counts``, by stage and operation: the calls of the engine, rows given to it and their multiply-adds, of all audio.
"""
STAGES = {
    "decode": "audio file, resampler",
    "vad": "speech gate, segments",
    "features": "log-mel",
    "encoder": "encoder",
    "ctc": "CTC head and search",
    "decoder": "decoder's cross keys",
    "partials": "decoder, partials",
    "second encoding": "encoder, full context",
    "finals": "decoder, finals",
    "guard": "guard",
    "words": "times of words",
    "memory": "freed memory returned",
}


def _library(engine: str) -> str:
    """What computes, with its version."""
    name = "onnxruntime" if engine == "onnx" else "torch"
    return f"{name} {version(name)}"


def report(
    bench: Bench, recognizer: Recognizer, options: RecognizerOptions, start: Start, loaded: int | None
) -> Report:
    """Sum up a measurement that is over. ``loaded``: bytes resident before the first audio."""
    audio = bench.audio_seconds
    buffers = recognizer.engine.packed
    stages = {name: bench.stages[name] for name in STAGES if name in bench.stages}
    stages |= {name: seconds for name, seconds in bench.stages.items() if name not in STAGES}
    # Glue between the stages, and what other threads than the one that recognises took.
    stages["other"] = max(bench.cpu_seconds - sum(stages.values()), 0.0)
    return {
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
            "library": _library(recognizer.engine.name),
            "rtstream": __version__,
        },
        "model": {
            "name": recognizer.bundle.name,
            "path": str(recognizer.bundle.path),
            "bytes": recognizer.bundle.bytes,
            "engine": recognizer.engine.name,
            "threads": options.threads,
            "chunk_ms": options.chunk_ms,
            "partials": options.partials,
            "beam": options.beam,
            "vad": options.vad,
            "packed_encoder_buffers": len(buffers),
            "packed_encoder_bytes": sum(buffers.values()),
        },
        "audio_seconds": round(audio, 3),
        "segments": len(bench.delays.final_compute),
        "real_time_factor": {"wall": bench.wall_seconds / audio, "cpu": bench.cpu_seconds / audio},
        "stages": {name: seconds / audio for name, seconds in stages.items()},
        "multiply_adds": bench.counts.multiply_adds / audio,
        "counts": bench.counts.table(),
        "first_partial": {
            "audio": _spread(bench.delays.first_partial_audio),
            "compute": _spread(bench.delays.first_partial_compute),
        },
        "final": {"compute": _spread(bench.delays.final_compute)},
        "start": {"imported": start.imported, "ready": start.ready},
        "memory": {
            "loaded": loaded,
            "after_audio_seconds": {str(seconds): resident for seconds, resident in bench.memory.items()},
            "end": resident_bytes(),
            "peak": peak_bytes(),
        },
    }


def tables(data: Report) -> list[Table]:
    """The same for reading."""
    machine, model, factor = data["machine"], data["model"], data["real_time_factor"]
    summary = _table("", "")
    summary.add_row("machine", f"{machine['cpu']}, {machine['cores']} cores, {machine['library']}")
    summary.add_row(
        "model", f"{model['name']}, {_mib(model['bytes'])}, engine {model['engine']}, threads {model['threads']}"
    )
    if model["packed_encoder_buffers"]:
        packed = f"{model['packed_encoder_buffers']} matrices, {_mib(model['packed_encoder_bytes'])}"
        summary.add_row("packed encoder", packed)
    summary.add_row(
        "audio",
        f"{data['audio_seconds']:.1f} s, {data['segments']} segments, chunks {model['chunk_ms']} ms, "
        f"beam {model['beam']}",
    )
    summary.add_row("real-time factor", f"{factor['wall']:.4f} wall, {factor['cpu']:.4f} CPU")
    first = data["first_partial"]
    summary.add_row("first partial, audio", _milliseconds(first["audio"]))
    summary.add_row("first partial, compute", _milliseconds(first["compute"]))
    summary.add_row("final, compute", _milliseconds(data["final"]["compute"]))
    start = data["start"]
    summary.add_row("start of a process", f"{start['ready']:.2f} s, imports {start['imported']:.2f} s of them")
    memory = data["memory"]
    after = memory["after_audio_seconds"]
    rows = {
        "loaded": memory["loaded"],
        **{f"after {int(s) // 60} min": n for s, n in _some(after)},
        "end": memory["end"],
    }
    shown = [f"{name} {_mib(resident)}" for name, resident in rows.items() if resident is not None]
    summary.add_row("memory", ", ".join([*shown, f"peak {_mib(memory['peak'])}"]))

    stages = _table("stage", "", "real-time factor", "share", "M multiply-adds", "calls")
    for name, seconds in data["stages"].items():
        counts = data["counts"].get(name, {}).values()
        added = sum(count["multiply_adds"] for count in counts) / data["audio_seconds"]
        calls = sum(count["calls"] for count in counts)
        asked = (f"{added / 1e6:.0f}", str(calls)) if calls else ("", "")
        stages.add_row(name, STAGES.get(name, ""), f"{seconds:.5f}", f"{seconds / factor['cpu']:.1%}", *asked)
    stages.add_row("all", "", f"{factor['cpu']:.5f}", "", f"{data['multiply_adds'] / 1e6:.0f}")
    for column in stages.columns[2:]:
        column.justify = "right"
    return [summary, stages]


def block(data: Report) -> str:
    """The same as Markdown for others to read, without names of files."""
    machine, model, factor, memory = data["machine"], data["model"], data["real_time_factor"], data["memory"]
    stages = sorted(data["stages"].items(), key=lambda stage: -stage[1])
    settings = f"chunks {model['chunk_ms']} ms, beam {model['beam']}, partials {model['partials']}, {model['vad']}"
    rows = {
        "machine": f"{_board() or machine['cpu']}, {machine['cores']} cores, {machine['architecture']}",
        "software": f"rtstream {machine['rtstream']}, {machine['library']}, Python {machine['python']}",
        "model": f"{model['name']}, {_mib(model['bytes'])}, {model['engine']}, threads {model['threads']}, {settings}",
        "audio": f"{data['audio_seconds']:.1f} s, {data['segments']} segments",
        "CPU seconds a second of audio": f"{factor['cpu']:.3f} (wall {factor['wall']:.3f})",
        "of them": ", ".join(f"{name} {seconds:.3f}" for name, seconds in stages if seconds >= 0.0005),
        "multiply-adds a second of audio": f"{data['multiply_adds'] / 1e6:.0f} M: "
        f"{data['multiply_adds'] / 1e9 / factor['cpu']:.0f} G in a CPU second",
        "first partial, audio": _milliseconds(data["first_partial"]["audio"]),
        "first partial, computing": _milliseconds(data["first_partial"]["compute"]),
        "final, computing": _milliseconds(data["final"]["compute"]),
        "start of a process": f"{data['start']['ready']:.2f} s",
        "memory at most": _mib(memory["peak"]),
        "clock, load, temperature": ", ".join([*_clock(), f"load {os.getloadavg()[0]:.1f}", *_temperature()]),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join([f"| rtstream bench --report, {datetime.now().astimezone():%Y-%m-%d} | |", "|---|---|", *lines])


def _board() -> str:
    """What the machine calls itself, as a Raspberry Pi does; empty where it does not."""
    with suppress(OSError):
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return ""


def _clock() -> list[str]:
    """The highest clock of the first core, where the system says."""
    with suppress(OSError, ValueError):
        kilohertz = int(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text())
        return [f"{kilohertz / 1e6:.2f} GHz"]
    return []


def _temperature() -> list[str]:
    """Of the processor, where the system says: a hot one is slower."""
    with suppress(OSError, ValueError):
        return [f"{int(Path('/sys/class/thermal/thermal_zone0/temp').read_text()) / 1000:.0f} °C"]
    return []


def _some(after: dict[str, int]) -> Sequence[tuple[str, int]]:
    """The first look at the memory and the last."""
    rows = list(after.items())
    return rows if len(rows) < 2 else [rows[0], rows[-1]]


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=any(headings), pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def _spread(values: Sequence[float]) -> Report | None:
    """Median, 95th percentile and maximum in seconds; None if there is no value."""
    if not values:
        return None
    median, high = np.percentile(values, (50, 95))
    return {"count": len(values), "median": float(median), "p95": float(high), "max": max(values)}


def _milliseconds(spread: Report | None) -> str:
    if spread is None:
        return "none came"
    parts = [f"{name} {spread[name] * 1000:.0f} ms" for name in ("median", "p95", "max")]
    return f"{', '.join(parts)} (of {spread['count']})"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def processor() -> str:
    """The name of the processor, or of its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor() or platform.machine())
