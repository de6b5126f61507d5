"""``rtstream eval-translation``: how good a translation model is, on whole sentences and while people speak."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtstream.cli.translating import translate_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rtstream.training.corpus.pairs import References
    from rtstream.translation.translator import Translator

INPUTS = ("clean", "spoken", "misheard")
EPILOG = """\b
Examples:
  rtstream eval-translation models/en-x-small --translate es,de --data ~/pairs
  rtstream eval-translation models/en-x-small --translate es --data ~/pairs --plot lag.png
  rtstream eval-translation models/en-x-small --translate es --data ~/pairs --whole --json

A language's set is the file pairs-en-LANGUAGE.dev.tsv.gz: english, a JSON list of
references and the source, parted by tabs. MODEL is a directory of rtstream's own model or
of one for CTranslate2, or a training run: then its averaged weights, not quantized.
"""


@click.command(epilog=EPILOG)
@click.argument("model", type=click.Path(path_type=Path))
@translate_option("Into these", required=True)
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder of the sets.  [default: .]")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N sentences of each set.")
@click.option(
    "--mask",
    "masks",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0, 1, 2, 3, 5),
    show_default=True,
    help="Last words of a partial that are not shown; may be given more than once.",
)
@click.option(
    "--keep",
    "keeps",
    type=click.Choice(["nothing", "partials", "all"]),
    multiple=True,
    default=("partials",),
    show_default=True,
    help="What, once shown, is not taken back; may be given more than once.",
)
@click.option(
    "--context",
    "contexts",
    type=click.IntRange(0, 10),
    multiple=True,
    default=(0,),
    show_default=True,
    help="Finals before each that are translated with it again; may be given more than once.",
)
@click.option("--join", type=click.IntRange(min=1), default=1, show_default=True, help="Sentences in one breath.")
@click.option("--plot", type=click.Path(path_type=Path), help="PNG of quality and stability against latency.")
@click.option("--whole", is_flag=True, help="Score whole sentences instead: clean, spoken and misheard English.")
@click.option(
    "--input",
    "kinds",
    type=click.Choice(INPUTS),
    multiple=True,
    default=INPUTS,
    show_default=True,
    help="With --whole: which; may be given more than once.",
)
@click.option(
    "--error-rate", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share of words misheard."
)
@click.option("--examples", type=click.IntRange(min=0), default=0, help="With --whole: sentences shown, the same ones.")
@click.option("--beam", type=click.IntRange(1, 4), default=1, show_default=True, help="Of rtstream's own models.")
@click.option("--engine", default="onnx", show_default=True, help="Of rtstream's own: onnx, torch, or float.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line instead of the table.")
def command(  # noqa: PLR0917  # click passes by name
    model: Path,
    languages: tuple[str, ...],
    data: Path,
    limit: int | None,
    masks: Sequence[int],
    keeps: Sequence[Any],
    contexts: Sequence[int],
    join: int,
    plot: Path | None,
    kinds: Sequence[str],
    error_rate: float,
    examples: int,
    beam: int,
    engine: str,
    threads: int,
    *,
    whole: bool,
    as_json: bool,
) -> None:
    """Measure what MODEL makes of text sets: partial by partial, as if they were spoken, or whole."""
    from rtstream.evaluation.retranslation import join_sentences  # noqa: PLC0415
    from rtstream.training.corpus.pairs import read_references  # noqa: PLC0415 - torch and more, which --help does without

    sentences = {
        language: join_sentences(read_references(data.expanduser() / f"pairs-en-{language}.dev.tsv.gz")[:limit], join)
        for language in languages
    }
    translators = _open(model.expanduser(), languages, beam=beam, engine=engine, threads=threads)
    if whole:
        _whole(translators, sentences, kinds, error_rate, examples, as_json=as_json)
        return

    from rich.console import Console  # noqa: PLC0415

    from rtstream.cli.streaming_report import streaming_row, streaming_scores, streaming_table  # noqa: PLC0415
    from rtstream.training.text.asr_noise import spoken  # noqa: PLC0415
    from rtstream.translation.stabilizer import StabilizerConfig  # noqa: PLC0415

    said = {
        language: [replace(row, english=spoken(row.english)) for row in rows] for language, rows in sentences.items()
    }
    combined = itertools.product(keeps, contexts, masks)
    configs = [StabilizerConfig(mask=mask, keep=keep, context=context) for keep, context, mask in combined]
    scores, rows = [], []
    for score in streaming_scores(translators, said, configs):
        scores.append(score)
        rows.append(streaming_row(score))
        if as_json:
            click.echo(json.dumps(rows[-1]))
    if not as_json:
        Console().print(streaming_table(rows))
    if plot is not None:
        from rtstream.evaluation.retranslation_plot import draw_streaming  # noqa: PLC0415

        draw_streaming(scores, plot)


def _open(path: Path, languages: Sequence[str], *, beam: int, engine: str, threads: int) -> Mapping[str, Translator]:
    import torch  # noqa: PLC0415

    from rtstream.bundle.text_bundle import holds_text_model  # noqa: PLC0415
    from rtstream.training.text.translation import open_run_or_bundle  # noqa: PLC0415
    from rtstream.translation.models import model_kind, open_translator  # noqa: PLC0415

    torch.set_num_threads(threads)
    translator: Translator
    if holds_text_model(path) or model_kind(path) == "built-in":
        translator = open_run_or_bundle(path, engine, beam)
    else:
        translator = open_translator(path, languages, threads=threads)
    return dict.fromkeys(languages, translator)


def _whole(
    translators: Mapping[str, Translator],
    sentences: Mapping[str, Sequence[References]],
    kinds: Sequence[str],
    error_rate: float,
    examples: int,
    *,
    as_json: bool,
) -> None:
    from rich.console import Console  # noqa: PLC0415

    from rtstream.cli.text_scores import text_scores, text_table  # noqa: PLC0415

    rows = _told(text_scores(translators, sentences, kinds, error_rate, examples), as_json=as_json)
    if not as_json:
        Console().print(text_table(rows))


def _told(rows: Iterable[dict[str, Any]], *, as_json: bool) -> list[dict[str, Any]]:
    """The rows, each written as it comes: as JSON, or its examples."""
    told = []
    for row in rows:
        told.append(row)
        if as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
            continue
        for english, translation, *references in row.get("examples", ()):
            click.echo("\t".join([row["language"], row["input"], english, translation, " | ".join(references)]))
    return told
