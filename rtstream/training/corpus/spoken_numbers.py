"""Numbers, digits and letters said by machines, and strings of digits to test with.

``python -m rtstream.training.corpus.spoken_numbers``, or ``make numbers``, writes two shards, always the same:

``train-numbers``: what ``number_texts`` has people say with numbers in it, and each voice's single digits, of which
``train-numbers:joined`` is made. flite's voices (licence as free as BSD's) and espeak-ng's (GPL-3 or later, which does
not extend to what it says).

``dev-joined-digits``: 200 strings of 3 to 12 digits that no model was trained on. Of the label ``held-out`` are those
joined from dev-digits (Free Spoken Digit Dataset, CC BY-SA 4.0): six voices, of which other recordings train; of
``unseen`` those of voices in no training set: flite's kal16, two of espeak-ng's, and David C. Dawson, whose recordings
(GPL) Debian's package saytime has. A test set is neither trained on nor shipped.
"""

from __future__ import annotations

from itertools import chain, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import soundfile
import soxr

from rtstream.errors import TrainingError
from rtstream.events import SAMPLE_RATE
from rtstream.training.corpus.data import load_shard
from rtstream.training.corpus.joined import DIGITS, join_digits
from rtstream.training.corpus.number_texts import sayings
from rtstream.training.corpus.shard import write_shard
from rtstream.training.corpus.voices import FLITE, Voice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtstream.training.corpus.augment import Samples

    Clips = Iterator[tuple[Samples, Mapping[str, Any]]]

TRAIN, DEV = "train-numbers", "dev-joined-digits"
VOICES = {
    FLITE["slt"]: 0.25,
    FLITE["rms"]: 0.25,
    FLITE["awb"]: 0.2,
    Voice("espeak-ng", "en-us", 45.0): 0.1,
    Voice("espeak-ng", "en-gb+f2", 50.0): 0.1,
    Voice("espeak-ng", "en-us+f4", 45.0): 0.05,
    Voice("espeak-ng", "en-gb+m3", 40.0): 0.05,
}
"""Those that train, and each one's share of the clips."""
UNSEEN = (FLITE["kal16"], Voice("espeak-ng", "en-gb-x-rp+f5", 50.0), Voice("espeak-ng", "en-029+m1", 40.0))
"""Those that test."""
TAKES = ((0.85, 1.15), (1.0, 1.0), (1.25, 0.9))
"""How long and how high each voice says the digits: as three people, of whom each joins their own."""
STRINGS, LENGTHS = {"held-out": 120, "unseen": 80}, (3, 12)
LICENCES = {"flite": "flite's BSD-like licence", "espeak-ng": "made with espeak-ng (GPL-3.0-or-later)"}
SAYTIME: dict[str, Any] = {"format": "RAW", "subtype": "ULAW", "samplerate": 8000, "channels": 1}
"""How its recordings, which have no header, are to be read."""


def training_clips(count: int, seed: int) -> Clips:
    """``count`` of what ``number_texts`` has, by all voices, then the single digits of each."""
    rng = np.random.default_rng(seed)
    voices = list(VOICES)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for saying in sayings(count, rng):
            voice = voices[int(rng.choice(len(voices), p=list(VOICES.values())))]
            samples = voice.say(saying.given, folder, stretch=rng.uniform(0.8, 1.3), pitch=rng.uniform(0.85, 1.2))
            yield samples, _row(saying.text, str(voice), voice.program)
        yield from _single_digits(voices, TAKES, folder)


def _single_digits(voices: Sequence[Voice], takes: Sequence[tuple[float, float]], folder: Path) -> Clips:
    for voice, (take, (stretch, pitch)), digit in product(voices, enumerate(takes), DIGITS):
        samples = trimmed(voice.say(digit, folder, stretch=stretch, pitch=pitch))
        yield samples, _row(digit, f"{voice}:{take}", voice.program)


def _row(text: str, speaker: str, source: str) -> dict[str, Any]:
    return {"text": text, "speaker": speaker, "source": source, "licence": LICENCES[source], "lang": "en"}


def trimmed(samples: Samples) -> Samples:
    """Without the silence before and behind, but for 20 ms: joined digits bring pauses of their own."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max(initial=1e-4))
    if not len(loud):
        return samples
    edge = SAMPLE_RATE // 50
    return samples[max(0, loud[0] - edge) : loud[-1] + edge]


def dev_clips(data: Path, saytime: Path, seed: int) -> Clips:
    """Strings of the digits of dev-digits, which lies in ``data``, and of voices that do not train.

    ``saytime``: folder of that package's recordings. Raises TrainingError or
    click.ClickException where one of them is not there.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        unseen = chain(_single_digits(UNSEEN, [(1.0, 1.0)], folder), _dawson(saytime))
        for _ in write_shard(folder / "unseen", unseen):
            pass
        singles = {"held-out": load_shard(data / "dev-digits"), "unseen": load_shard(folder / "unseen")}
        for label, count in STRINGS.items():
            for clip in join_digits(singles[label], count, LENGTHS, seed):
                row = {"text": clip.text, "speaker": clip.speaker, "label": label}
                yield clip.read(), row | {"source": "joined", "licence": "for tests alone", "lang": "en"}


def _dawson(folder: Path) -> Clips:
    for name, digit in [*((str(value), DIGITS[value]) for value in range(10)), ("oh", DIGITS[10])]:
        try:
            samples, rate = soundfile.read(folder / f"{name}.au", dtype="float32", **SAYTIME)
        except (OSError, soundfile.SoundFileError) as error:
            raise click.ClickException(f"{folder}: no recordings of Debian's package saytime: {error}") from error
        loud = trimmed(np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32))
        yield loud, {"text": digit, "speaker": "saytime", "lang": "en"}


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("../shared/data/audio"),
    show_default=True,
    help="Folder that has the shard dev-digits.",
)
@click.option(
    "--saytime",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("/usr/share/saytime"),
    show_default=True,
    help="Folder of the recordings of Debian's package saytime.",
)
@click.option("--clips", default=900, show_default=True, help="Of train-numbers, besides single digits.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/rtstream/audio"),
    show_default=True,
    help="Folder of the shards to write.",
)
def main(data: Path, saytime: Path, clips: int, seed: int, out: Path) -> None:
    """Say numbers: a shard to train with, and one to test with."""
    out = out.expanduser()
    out.mkdir(parents=True, exist_ok=True)
    for name, what in ((DEV, dev_clips(data, saytime, seed)), (TRAIN, training_clips(clips, seed))):
        try:
            for _ in write_shard(out / name, what):
                pass
        except TrainingError as error:
            raise click.ClickException(str(error)) from error
        made = load_shard(out / name)
        click.echo(f"{out / name}: {len(made)} clips, {sum(clip.seconds for clip in made) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
