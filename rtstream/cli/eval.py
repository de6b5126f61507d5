"""``rtstream eval``: word and character error rates on test sets."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import Progress

from rtstream.cli.score_table import score_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from rtstream.recognizer.phrases import Phrase
    from rtstream.training.evaluate import Score

CHUNKS = ("320", "640", "1280", "full")
COLUMNS = {
    "set": "set",
    "clips": "clips",
    "engine": "engine",
    "chunk_ms": "ms",
    "wer": "WER",
    "cer": "CER",
    "partial_wer": "partials",
    "shown_wer": "shown",
    "by_ctc": "by CTC",
    "rtf": "rtf",
}
"""What the table shows, and its headings."""
PHRASE_COLUMNS = {"phrases": "phrases", "found": "found", "invented": "invented", "other_wer": "others"}
PHRASE_CAPTION = (
    " phrases: how many were listed; found: of those that were said, how many the finals have; invented: those that "
    "finals have and nobody said; others: WER of all other words."
)
CAPTION = (
    "Error rates of finals in per cent. partials: WER of the last ones; shown: the same without the segment's last "
    "words, which only the final has; by CTC: finals that it wrote; rtf: CPU seconds a second of audio."
)
EPILOG = """\b
Examples:
  rtstream eval models/base dev-cv dev-lj --data ~/speech --chunk-ms 640 --chunk-ms full
  rtstream eval models/base dev-cv --data ~/speech --phrases names.txt

A set is a pair of files, NAME.tar of audio clips and NAME.jsonl with a line for each:
file, dur (seconds), text. Texts are compared after Whisper's English normalizer
(arXiv 2212.04356, appendix C); each clip is followed by a second of silence and goes
through voice activity detection, segmenter and recogniser as in the daemon.
"""


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sets", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder of the sets.  [default: .]")
@click.option(
    "--chunk-ms",
    "chunks",
    type=click.Choice(CHUNKS),
    multiple=True,
    default=("640",),
    show_default=True,
    help="Chunk length; may be given more than once. 'full' encodes each segment when it has ended.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    default=("auto",),
    show_default=True,
    help="float, or an int8 engine of torch; may be given more than once. auto: the fastest int8 engine here.",
)
@click.option(
    "--partials",
    type=click.Choice(["decoder", "ctc", "none"]),
    default="decoder",
    show_default=True,
    help="What writes the partial texts that are scored.",
)
@click.option(
    "--phrases",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with a PHRASE or PHRASE=WEIGHT a line, without and with which everything is measured.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N clips of each set.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line instead of the table.")
@click.option("--texts", is_flag=True, help="Also print each clip's reference and finals, normalized.")
def command(  # noqa: PLR0917  # click passes by name
    bundle: Path,
    sets: Sequence[str],
    data: Path,
    chunks: Sequence[str],
    engines: Sequence[str],
    partials: str,
    listed: Path | None,
    limit: int | None,
    threads: int,
    *,
    as_json: bool,
    texts: bool,
) -> None:
    """Measure word and character error rates of the model BUNDLE on SETS."""
    import torch  # noqa: PLC0415  # slow to import, not needed for --help

    from rtstream.bundle.bundle import load_bundle  # noqa: PLC0415
    from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig  # noqa: PLC0415
    from rtstream.training.data import load_shard  # noqa: PLC0415
    from rtstream.training.evaluate import evaluate  # noqa: PLC0415

    phrases = _read_phrases(listed)
    torch.set_num_threads(threads)
    clips = {name: load_shard(data / name)[:limit] for name in sets}
    rows: list[dict[str, Any]] = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("recognising", total=len(engines) * len(chunks) * len(sets) * (1 + bool(phrases)))
        for engine in engines:
            loaded = load_bundle(bundle, engine)
            for chunk, used in product(chunks, [(), phrases] if phrases else [()]):
                config = RecognizerConfig(
                    chunk_ms=0 if chunk == "full" else int(chunk),
                    partials=partials,  # type: ignore[arg-type]  # click has checked it
                    phrases=used,
                )
                recognizer = Recognizer(loaded, config)
                for name in sets:
                    score = evaluate(recognizer, clips[name])
                    rows.append(
                        {"set": name, "engine": loaded.engine, "chunk_ms": chunk, "partials_by": partials}
                        | _figures(score)
                        | (_phrase_figures(score, phrases, len(used)) if phrases else {})
                    )
                    if as_json:
                        click.echo(json.dumps(rows[-1]))
                    if texts:
                        for reference, final in zip(score.references, score.finals, strict=True):
                            click.echo(f"{name}\tREF {reference}\n{name}\tHYP {final}")
                    progress.advance(task)
    if not as_json:
        Console().print(_table(rows))


def _figures(score: Score) -> dict[str, Any]:
    return {
        "clips": len(score.references),
        "words": score.words,
        "wer": round(score.wer, 2),
        "cer": round(score.cer, 2),
        "partial_wer": round(score.partial_wer, 2),
        "shown_wer": round(score.shown_wer, 2),
        "by_ctc": score.fallbacks,
        "rtf": round(score.cpu_seconds / score.seconds, 4) if score.seconds else None,
    }


def _read_phrases(path: Path | None) -> tuple[Phrase, ...]:
    """The phrases of a file. Raises ConfigError."""
    from rtstream.errors import ConfigError  # noqa: PLC0415
    from rtstream.recognizer.phrases import parse_phrases  # noqa: PLC0415

    if path is None:
        return ()
    try:
        phrases = parse_phrases(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not phrases:
        raise ConfigError(f"{path}: there is no phrase in it; write one a line")
    return phrases


def _phrase_figures(score: Score, phrases: Sequence[Phrase], used: int) -> dict[str, Any]:
    from rtstream.training.evaluate import normalizer  # noqa: PLC0415
    from rtstream.training.phrase_score import score_phrases  # noqa: PLC0415

    normalize = normalizer()
    found = score_phrases(score.references, score.finals, [normalize(phrase.text) for phrase in phrases])
    return {
        "phrases": used,
        "found": f"{found.found}/{found.said}",
        "invented": found.invented,
        "other_wer": round(found.other_wer, 2),
    }


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    listed = any("phrases" in row for row in rows)
    columns = COLUMNS | (PHRASE_COLUMNS if listed else {})
    return score_table(rows, columns, {"set", "engine"}, CAPTION + (PHRASE_CAPTION if listed else ""))
