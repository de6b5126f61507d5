"""Compares what recognition takes, and what it writes, with the figures that are kept in ``figures.json``.

    make bench-check                          # what is counted: the same on every machine, however busy it is
    .venv/bin/python -m benchmarks.check --update      # keep what is found now: after a change that is meant
    .venv/bin/python -m benchmarks.check --measured    # memory and CPU seconds besides, on a machine that does nothing

Counted are the multiply-adds, and the calls of the network, a second of the recorded speech of tests/data; the bytes of
the models; the texts. Kernels round in their own ways, so texts and what follows from them may differ a little from
processor to processor, and how many of a draft's tokens are right hangs on the texts of the chunks: bounds say how
much. Less is always right; so what is kept is that of a processor without AVX512, on which base takes 3 % more
multiply-adds and 6 % more calls than with AMX.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path

import click
import jiwer

from rtstream.cli.bench import CLIPS
from rtstream.cli.benchmark import Bench, peak_bytes, play_each
from rtstream.engine.open import load_bundle
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig

ROOT = Path(__file__).parent.parent
FIGURES = Path(__file__).with_name("figures.json")
MODELS = ("base", "tiny")
MORE_COMPUTING, OTHER_WORDS, MORE_ERRORS, MORE_BYTES = 0.02, 0.03, 0.01, 0.0
"""What is found may be more than what was kept by these shares: multiply-adds and calls; of the words those that are
others than they were; errors, of the words; the models' bytes."""
MORE_MEMORY, MORE_SECONDS = 0.05, 0.10


@dataclass(frozen=True)
class Figures:
    """Of one model. ``multiply_adds`` and ``calls`` of the network a second of audio; ``words`` of the references."""

    bytes: int
    multiply_adds: int
    calls: float
    errors: int
    words: int
    texts: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """What other programs disturb: ``cpu`` seconds a second of audio, ``peak`` bytes of the process."""

    cpu: float
    peak: int


def figures(model: str) -> tuple[Figures, Measured]:
    """Recognise the recorded speech of tests/data, by ONNX Runtime."""
    clips = [json.loads(line) for line in (CLIPS / "clips.jsonl").read_text().splitlines()]
    spoken = {clip["file"]: clip["text"] for clip in clips if clip["text"]}
    bundle = load_bundle(ROOT / "models" / model, "onnx", threads=1)
    bench = Bench(Recognizer(bundle, RecognizerConfig()))
    texts = {}
    for file in spoken:
        play_each(bench, [str(CLIPS / file)], 1)
        texts[file] = bench.take_text()
    seconds = bench.audio_seconds
    errors = sum(distance(text, texts[file]) for file, text in spoken.items())
    calls = sum(count.calls for count in bench.counts.by.values())
    found = Figures(
        sum(each.stat().st_size for each in bundle.path.iterdir() if each.suffix != ".md"),
        round(bench.counts.multiply_adds / seconds),
        round(calls / seconds, 2),
        errors,
        sum(len(words(text)) for text in spoken.values()),
        texts,
    )
    return found, Measured(round(bench.cpu_seconds / seconds, 4), peak_bytes())


def words(text: str) -> list[str]:
    """What is compared: letters and digits, in any case."""
    return "".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split()


def distance(reference: str, text: str) -> int:
    """The least number of words of a text to leave out, put in or exchange."""
    (a, b) = (" ".join(words(each)) for each in (reference, text))
    found = jiwer.process_words(a, b)
    return found.substitutions + found.deletions + found.insertions


def compared(kept: Figures, found: Figures) -> list[str]:
    """What has become worse than the bounds allow, a line each."""
    worse = [
        f"{name}: {now:,} where {before:,} were kept, and {most:.0%} more may be"
        for name, before, now, most in (
            ("bytes", kept.bytes, found.bytes, MORE_BYTES),
            ("multiply-adds a second of audio", kept.multiply_adds, found.multiply_adds, MORE_COMPUTING),
            ("calls of the network a second of audio", kept.calls, found.calls, MORE_COMPUTING),
        )
        if now > before * (1 + most)
    ]
    if found.errors > kept.errors + MORE_ERRORS * found.words:
        worse.append(f"errors: {found.errors} of {found.words} words where {kept.errors} were kept")
    other = {file: distance(text, found.texts.get(file, "")) for file, text in kept.texts.items()}
    if sum(other.values()) > OTHER_WORDS * found.words:
        worse += [f"{file}: {differing(kept.texts[file], found.texts.get(file, ''))}" for file in other if other[file]]
    return worse


def differing(before: str, now: str) -> str:
    """What is other than it was."""
    old, new = before.split(), now.split()
    changes = (
        f"'{' '.join(old[a:b])}' is now '{' '.join(new[c:d])}'"
        for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if kind != "equal"
    )
    return ", ".join(changes)


def compared_measured(kept: Measured, found: Measured) -> list[str]:
    """The same of what other programs disturb."""
    pairs = (
        ("CPU seconds a second of audio", kept.cpu, found.cpu, MORE_SECONDS),
        ("peak memory in bytes", kept.peak, found.peak, MORE_MEMORY),
    )
    return [
        f"{name}: {now:,} where {before:,} were kept, and {most:.0%} more may be"
        for name, before, now, most in pairs
        if now > before * (1 + most)
    ]


@click.command()
@click.argument("models", nargs=-1)
@click.option("--update", is_flag=True, help="Keep what is found.")
@click.option("--measured", is_flag=True, help="Also CPU seconds and memory, which other programs disturb.")
def main(models: tuple[str, ...], *, update: bool, measured: bool) -> None:
    """Compare MODELS, all that ship by default, with the figures that are kept."""
    kept = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    worse: list[str] = []
    for model in models or MODELS:
        found, disturbed = figures(model)
        click.echo(
            f"{model}: {found.multiply_adds / 1e6:,.0f} M multiply-adds and {found.calls:.1f} calls a second of audio, "
            f"{found.errors} errors of {found.words} words, {found.bytes / 1e6:.1f} MB"
        )
        if measured:
            click.echo(f"{model}: {disturbed.cpu:.3f} CPU s a second of audio, {disturbed.peak / 1e6:.0f} MB at most")
        if update:
            kept[model] = asdict(found) | ({"measured": asdict(disturbed)} if measured else {})
            continue
        if model not in kept:
            raise click.ClickException(f"{FIGURES}: nothing is kept of {model}: run this with --update")
        own = dict(kept[model])
        before = own.pop("measured", None)
        lines = compared(Figures(**own), found)
        if measured and before is not None:
            lines += compared_measured(Measured(**before), disturbed)
        worse += [f"{model}: {line}" for line in lines]
    if update:
        FIGURES.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    for line in worse:
        click.echo(line, err=True)
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
