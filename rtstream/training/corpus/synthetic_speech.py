"""Sentences with human translations, said by a machine: ``python -m rtstream.training.corpus.synthetic_speech``.

Hardly any recording says what people have translated. flite (Carnegie Mellon's, Debian's package ``flite``, its
licence as free as BSD's) says the English of the pair files whose licences let weights be shipped, in several voices,
some ten times as fast as one hears it. What learns from this must not learn sounds from it: the recogniser's encoder,
which has heard thousands of people, stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import numpy as np

from rtstream.training.corpus.pairs import SHIPPABLE, read_pairs, read_references
from rtstream.training.corpus.shard import write_shard
from rtstream.training.corpus.voices import FLITE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from rtstream.training.corpus.augment import Samples

VOICES = {"slt": 0.34, "rms": 0.33, "awb": 0.27, "kal16": 0.06}
"""flite's voices at 16 kHz, and each one's share of the clips."""
MOST_LETTERS = 110
"""Of what is said in a clip: some eight seconds."""
MOST_SENTENCES = 3
SOURCE, LICENCE = "flite", "flite's BSD-like licence; sentences: see the pairs' sources"


@dataclass(frozen=True, slots=True)
class Saying:
    """What a clip says, and its translations: languages to texts."""

    english: str
    translations: Mapping[str, str]


def sayings(pairs: Mapping[str, Mapping[str, str]], clips: int, seed: int) -> list[Saying]:
    """``clips`` for each language of ``pairs`` (English to translation), no sentence twice, by a fixed seed.

    One to three sentences each. Other languages' translations are there where all of its sentences have them.
    """
    out: list[Saying] = []
    said: set[str] = set()
    for language, own in pairs.items():
        rng = np.random.default_rng([seed, *language.encode()])
        left = sorted(english for english in own if len(english) <= MOST_LETTERS and english not in said)
        order = iter(rng.permutation(len(left)).tolist())
        made = 0
        while made < clips:
            wanted, chosen = 1 + int(rng.integers(MOST_SENTENCES)), list[str]()
            for index in order:
                chosen.append(left[index])
                if len(chosen) == wanted or len(" ".join(chosen)) > MOST_LETTERS // 2:
                    break
            if not chosen:
                break
            said.update(chosen)
            known = [name for name, its in pairs.items() if all(english in its for english in chosen)]
            texts = {name: " ".join(pairs[name][english] for english in chosen) for name in known}
            out.append(Saying(" ".join(chosen), texts))
            made += 1
    return out


def say(text: str, folder: Path, rng: np.random.Generator) -> tuple[str, Samples]:
    """A voice, and how it says ``text``, float32 at 16 kHz. Raises click.ClickException where flite does not work."""
    voice = str(rng.choice(list(VOICES), p=list(VOICES.values())))
    stretch, pitch = rng.uniform(0.8, 1.25), rng.uniform(0.85, 1.2)
    return voice, FLITE[voice].say(text, folder, stretch=stretch, pitch=pitch)


def speak(what: Sequence[Saying], seed: int) -> Iterator[tuple[Samples, Mapping[str, Any]]]:
    """All of it, said, and what a shard's index says of it."""
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as temporary:
        for saying in what:
            voice, samples = say(saying.english, Path(temporary), rng)
            row = {"text": saying.english, "speaker": f"flite:{voice}", "source": SOURCE, "licence": LICENCE}
            translations = {name: [text] for name, text in saying.translations.items()}
            yield samples, row | {"lang": "en", "translations": translations}


@click.command()
@click.option("--texts", type=click.Path(path_type=Path), default=Path("../shared/data/text"), show_default=True)
@click.option("--languages", default="es,fr,de,pt", show_default=True)
@click.option("--clips", default=1000, show_default=True, help="Of each language.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/rtstream/audio/train-flite"),
    show_default=True,
    help="Shard to write: OUT.tar and OUT.jsonl.",
)
def main(texts: Path, languages: str, clips: int, seed: int, out: Path) -> None:
    """Say sentences of the pair files: a shard of clips with their translations."""
    out = out.expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    pairs = {}
    for language in languages.split(","):
        dev = {row.english for row in read_references(texts / f"pairs-en-{language}.dev.tsv.gz")}
        found = read_pairs(texts / f"pairs-en-{language}.train.tsv.gz", SHIPPABLE)
        pairs[language] = {english: translation for english, translation in found if english not in dev}
    what = sayings(pairs, clips, seed)
    with click.progressbar(length=len(what), label="saying") as bar:
        for _ in write_shard(out, speak(what, seed)):
            bar.update(1)


if __name__ == "__main__":
    main()
