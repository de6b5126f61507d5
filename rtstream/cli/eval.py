"""``rtstream eval``: how good a speech model is on test sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.progress import Progress

from rtstream.cli.options import BEAM, BEAMS, language_option, number_option, vad_option
from rtstream.constants import CHUNKS_MS, DEFAULT_CHUNK_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.evaluation.evaluate import Score
    from rtstream.recognizer.number_forms import NumberForm
    from rtstream.recognizer.phrases import Phrase
    from rtstream.recognizer.recognizer import FullContext, RecognizerConfig
    from rtstream.vad.gate import GateName

CHUNKS = (*map(str, CHUNKS_MS), "full")
EPILOG = """\b
Examples:
  rtstream eval models/base dev-cv dev-lj --data ~/speech --chunk-ms 640 --chunk-ms full
  rtstream eval models/base dev-cv --data ~/speech --phrases names.txt
  rtstream eval models/base dev-cv --data ~/speech --clips 50 --teacher ~/whisper-base
  rtstream eval models/base noise voices:de --data ~/speech
  rtstream eval models/base dev-cv --data ~/speech --stop-ms 0,200,400,600 --plot lag.png

A set is a pair of files, NAME.tar of audio clips and NAME.jsonl with a line for each:
file, dur (seconds), text; lang where it is not English (zxx: no words); label, such as a
kind of noise. NAME:KIND means only the clips of one language or label, NAME:joined strings of
its single digits, by one speaker each, NAME:choosing and NAME:reporting its two halves, parted
by speaker. Texts are compared
after Whisper's normalizers (arXiv 2212.04356, appendix C), English or other; each clip is
followed by a second of silence and goes through voice activity detection, segmenter and
recogniser as in the service.

Punctuation and case are scored where a set's references have them: precision, recall and
F1 of each mark (--json), and how many words are right in case among those that are right.
Clips of digits alone, such as telephone numbers, are right where every digit is, in words or
in digits, whatever stands between.
Of clips without words of a language that is asked for, what is published is counted and listed.
Where several may be spoken, it is told in how many of the clips of 3 s and more the language of
most of the finals is the clip's, also by language.

The lag of a word is the audio from its end, where CTC hears it, to where it stands in a
partial for good; a word that only the final has stands there from the end of its segment
on, which is where the silence behind it is long enough. Computing takes its time besides.
"""


def _read_stops(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> tuple[int, ...]:
    """Read whole numbers with commas between them; each counts once, the smallest first."""
    texts = [text.strip() for value in values for text in value.split(",")]
    for text in texts:
        if not (text.isascii() and text.isdigit()):
            raise click.BadParameter(f"'{text}' is no number of milliseconds.", context, parameter)
    return tuple(sorted(set(map(int, texts))))


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sets", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder of the sets.  [default: .]")
@click.option(
    "--chunk-ms",
    "chunks",
    type=click.Choice(CHUNKS),
    multiple=True,
    default=(str(DEFAULT_CHUNK_MS),),
    show_default=True,
    help="Chunk length; may be given more than once. 'full' encodes each segment when it has ended.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    default=("onnx",),
    show_default=True,
    help="onnx, torch, a kernel of torch's, or float; may be given more than once.",
)
@click.option(
    "--partials",
    type=click.Choice(["decoder", "ctc", "none"]),
    default="decoder",
    show_default=True,
    help="What writes the partial texts that are scored.",
)
@click.option(
    "--stop-ms",
    "stops",
    multiple=True,
    callback=_read_stops,
    metavar="MS[,MS...]",
    help="How far behind the newest audio the decoder's partials stay, in steps of 20; each is measured.  "
    "[default: 400]",
)
@click.option(
    "--beam",
    "beams",
    type=click.IntRange(*BEAMS),
    multiple=True,
    default=(BEAM,),
    show_default=True,
    help="Hypotheses among which the decoder looks for a text where it is unsure; may be given more than once.",
)
@click.option(
    "--full-context",
    "contexts",
    type=click.Choice(["always", "unsure", "never"]),
    multiple=True,
    default=("always",),
    show_default=True,
    help="Whether segments are encoded once more for their finals; may be given more than once.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="PNG of partials: their errors against their lag."
)
@click.option(
    "--phrases",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with a PHRASE or PHRASE=WEIGHT a line, without and with which everything is measured.",
)
@vad_option
@click.option(
    "--teacher",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Also measure Whisper on the same clips, and compare with what it writes: directory of a model that "
    "CTranslate2 converted. It runs in int8.",
)
@click.option(
    "--teacher-beam",
    type=click.IntRange(*BEAMS),
    default=5,
    show_default=True,
    help="Hypotheses among which Whisper looks for a text; 1 is greedy search.",
)
@language_option
@number_option
@click.option("--clips", "most", type=click.IntRange(min=1), help="Only N clips of each set, evenly spread.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line instead of the table.")
@click.option(
    "--accents/--no-accents", default=True, show_default=True, help="Whether accents count, in other languages."
)
@click.option("--texts", is_flag=True, help="Also print each clip's reference and finals, normalized.")
def command(  # noqa: PLR0917  # click passes by name
    bundle: Path,
    sets: Sequence[str],
    data: Path,
    chunks: Sequence[str],
    engines: Sequence[str],
    partials: Literal["decoder", "ctc", "none"],
    stops: Sequence[int],
    beams: Sequence[int],
    contexts: Sequence[FullContext],
    plot: Path | None,
    listed: Path | None,
    vad: GateName,
    teacher: Path | None,
    teacher_beam: int,
    spoken: tuple[str, ...],
    numbers: NumberForm,
    most: int | None,
    threads: int,
    *,
    as_json: bool,
    accents: bool,
    texts: bool,
) -> None:
    """Measure the model BUNDLE on SETS: error rates, lag, punctuation and case, words where there are none.

    BUNDLE is a directory, or the name of a model that ships.
    """
    if stops and partials != "decoder":
        raise click.UsageError(f"--stop-ms is for the decoder's partials, not for --partials {partials}.")
    from rtstream.bundle.default import model_path  # noqa: PLC0415 - slow to import, not needed for --help
    from rtstream.cli.speech_scores import (  # noqa: PLC0415
        lag_points,
        language_lines,
        phrase_row,
        published_lines,
        speech_tables,
        teacher_row,
    )
    from rtstream.engine.open import load_bundle  # noqa: PLC0415
    from rtstream.evaluation.evaluate import evaluate, score_transcripts, spread  # noqa: PLC0415
    from rtstream.evaluation.reference import open_reference  # noqa: PLC0415
    from rtstream.recognizer.recognizer import Recognizer  # noqa: PLC0415
    from rtstream.training.corpus.data import load_set  # noqa: PLC0415
    from rtstream.vad.open_gates import open_gates  # noqa: PLC0415

    phrases = _read_phrases(listed)
    new_gate = open_gates(vad)
    configs = [
        replace(each, numbers=numbers, languages=spoken)
        for each in _configs(
            chunks=chunks, stops=stops, beams=beams, contexts=contexts, partials=partials, phrases=phrases
        )
    ]
    clips = {name: spread(load_set(data, name), most) for name in sets}
    reference = open_reference(teacher, threads=threads, beam=teacher_beam) if teacher else None
    theirs: dict[str, Score] = {}
    rows: list[dict[str, Any]] = []
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("recognising", total=len(engines) * len(configs) * len(sets))
            for engine in engines:
                loaded = load_bundle(model_path(bundle), engine, threads=threads)
                recognizers = [Recognizer(loaded, config) for config in configs]  # all: a wrong one is told at once
                for recognizer in recognizers:
                    config = recognizer.config
                    for name in sets:
                        score = evaluate(recognizer, clips[name], new_gate, accents=accents)
                        if reference is not None and name not in theirs:
                            theirs[name] = score_transcripts(
                                reference.transcribe, clips[name], recognizer.languages, accents=accents
                            )
                        rows.append(
                            {"set": name, "engine": loaded.engine.name}
                            | _settings(config)
                            | {"vad": vad}
                            | score.figures()
                            | (teacher_row(theirs[name], score) if theirs else {})
                            | (phrase_row(score, phrases, len(config.phrases)) if phrases else {})
                        )
                        if as_json:
                            click.echo(json.dumps(rows[-1]))
                        if texts:
                            _print_texts(name, score)
                        progress.advance(task)
    finally:  # a clip that cannot be read takes nothing away that was measured before
        if rows and not as_json:
            Console().print(*speech_tables(rows))
            click.echo("".join(f"{line}\n" for line in (*language_lines(rows), *published_lines(rows))), nl=False)
    if plot is not None:
        from rtstream.evaluation.lag_plot import draw_lags  # noqa: PLC0415

        draw_lags(lag_points(rows), plot)


def _configs(
    *,
    chunks: Sequence[str],
    stops: Sequence[int],
    beams: Sequence[int],
    contexts: Sequence[FullContext],
    partials: Literal["decoder", "ctc", "none"],
    phrases: tuple[Phrase, ...],
) -> list[RecognizerConfig]:
    """All that is to be measured of a model; of whole segments, which have no partials, no stop."""
    from rtstream.recognizer.recognizer import RecognizerConfig  # noqa: PLC0415

    default = RecognizerConfig(partials=partials, words=True)
    lengths = [0 if chunk == "full" else int(chunk) for chunk in chunks]
    return [
        replace(default, chunk_ms=length, stop_ms=stop, beam=beam, full_context=context, phrases=used)
        for length in lengths
        for stop in (stops if length and stops else [default.stop_ms])
        for beam in beams
        for context in contexts
        for used in ([(), phrases] if phrases else [()])
    ]


def _settings(config: RecognizerConfig) -> dict[str, Any]:
    stops = config.chunk_ms and config.partials == "decoder"
    return {
        "chunk_ms": str(config.chunk_ms) if config.chunk_ms else "full",
        "partials_by": config.partials,
        "stop_ms": config.stop_ms if stops else None,
        "beam": config.beam,
        "full_context": config.full_context,
    }


def _print_texts(name: str, score: Score) -> None:
    for reference, final in zip(score.references, score.finals, strict=True):
        click.echo(f"{name}\tREF {reference}\n{name}\tHYP {final}")


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
