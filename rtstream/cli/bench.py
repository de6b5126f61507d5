"""``rtstream bench``: the options; the work is done in ``rtstream.cli.benchmark``."""

from __future__ import annotations

import json
from pathlib import Path

import click

import rtstream
from rtstream.cli.options import RecognizerOptions, recognizer_options

CLIPS = Path(rtstream.__file__).parent.parent / "tests" / "data"
"""Where a checkout has recorded speech."""


@click.command(
    epilog="""\b
Examples:
  rtstream bench
  rtstream bench --json --threads 2 talk.flac
  rtstream bench --minutes 60
  rtstream bench --report > my-pi.md
"""
)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; seconds and bytes.")
@click.option(
    "--report",
    "as_report",
    is_flag=True,
    help="A block of Markdown to send to those who keep docs/benchmarks.md: machine, model and figures, nothing else.",
)
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Play every FILE so many times.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Play the FILEs over and over, as one stream of so much audio: does memory grow?",
)
@recognizer_options
def command(
    files: tuple[str, ...],
    *,
    as_json: bool,
    as_report: bool,
    repeat: int,
    minutes: float | None,
    options: RecognizerOptions,
) -> None:
    """Measure speed, delays and memory on this machine.

    Recognises every FILE as replay does (by default the recorded speech of a checkout's tests/data) and prints the
    real-time factor, by wall clock and CPU time and split by stage, the delays of partials and finals, memory, and how
    long a process takes to start. A real-time factor of 0.1 is a tenth of the time that the audio lasts. Multiply-adds
    of the model a second of audio, and calls of it, are counted: they are the same however busy the machine is.
    """
    if as_json and as_report:
        raise click.UsageError("--json and --report are two ways to say the same: choose one")
    if not files and not (files := recorded_speech()):
        raise click.UsageError(f"name recordings of speech: there are none in {CLIPS}")
    from rtstream.cli import benchmark, benchmark_report  # noqa: PLC0415 - torch, which --help does without

    new_gate, recognizer = options.gates(), options.load()
    start = benchmark.measure_start(options)
    warm_up = benchmark.Bench(recognizer, new_gate)
    warm_up.play(files[0])  # the first chunk takes longer, once
    warm_up.finish()
    loaded = benchmark.resident_bytes()
    bench = benchmark.Bench(recognizer, new_gate)
    if minutes is None:
        benchmark.play_each(bench, files, repeat)
    else:
        benchmark.play_on(bench, files, 60 * minutes)
    data = benchmark_report.report(bench, recognizer, options, start, loaded)
    if as_json:
        click.echo(json.dumps(data, indent=1))
        return
    if as_report:
        click.echo(benchmark_report.block(data))
        return
    from rich.console import Console  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    for table in benchmark_report.tables(data):
        console.print(table)


def recorded_speech() -> tuple[str, ...]:
    """The clips of a checkout in which someone speaks; none where there is no checkout."""
    try:
        clips = [json.loads(line) for line in (CLIPS / "clips.jsonl").read_text().splitlines()]
    except OSError:
        return ()
    return tuple(str(CLIPS / clip["file"]) for clip in clips if clip["text"])
