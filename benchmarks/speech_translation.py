"""English of speech in other languages beside that of the whole Whisper, greedy, on the same clips.

    make teacher
    .venv/bin/python -m benchmarks.speech_translation models/multi dev-cv-multi:es dev-cv-multi:fr --data ~/speech

There are no references by people: BLEU and chrF say how near our text is to Whisper's own, not how good either is. LAAL
(arXiv 2206.05807) is how many seconds of audio a word of a partial translation is behind a speaker at an even pace, on
average. shown: the words of the last partial translation for each of the final's; erasure: the words that the final
takes back for each of its own. rtf is CPU seconds a second of audio, translating alone and all together.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from rtstream.bundle.default import model_path
from rtstream.engine.open import load_bundle
from rtstream.evaluation.evaluate import spread
from rtstream.evaluation.speech_translation import score_speech_translation
from rtstream.evaluation.whisper_reference import WhisperReference
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.training.corpus.data import load_set

TEACHER = Path.home() / ".cache" / "rtstream" / "teacher" / "whisper-base"


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sets", nargs=-1, required=True, metavar="NAME:LANGUAGE...")
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder of the sets.")
@click.option("--teacher", type=click.Path(path_type=Path, exists=True), default=TEACHER, help="Whisper, converted.")
@click.option("--stop-ms", "stops", type=int, multiple=True, default=(400,), help="How far partials stay behind.")
@click.option("--clips", "most", type=click.IntRange(min=1), help="Only so many clips of each set, evenly spread.")
def main(
    bundle: Path,
    sets: tuple[str, ...],
    data: Path,
    teacher: Path,
    stops: tuple[int, ...],
    most: int | None,
) -> None:
    """Measure a model that translates."""
    whisper = WhisperReference.open(teacher, beam=1)
    loaded = load_bundle(model_path(bundle), "onnx", threads=1)
    for name in sets:
        language = name.rpartition(":")[2]
        clips = spread(load_set(data, name), most)
        default = RecognizerConfig(languages=(language,), translate="all")
        for stop_ms in stops:
            recognizer = Recognizer(loaded, replace(default, stop_ms=stop_ms))
            figures = score_speech_translation(recognizer, clips, whisper).figures()
            click.echo(json.dumps({"set": name, "stop_ms": stop_ms} | figures))


if __name__ == "__main__":
    main()
