"""The list of English words that the recognizer ships: what CTC alone writes is published only where all are in it.

    python -m rtstream.training.corpus.lexicon DATA_FOLDER rtstream/recognizer/lexicon.txt.xz

The words come from texts whose licence is known and free: Tatoeba (CC BY 2.0 FR), DiaBLa and BConTrasT (CC BY-SA 4.0)
out of the pairs of sentences, Common Voice's prompts (CC0 1.0), and the transcripts of LibriSpeech (CC BY 4.0) and LJ
Speech (public domain). The result is the same for the same texts.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
FREE = ("tatoeba", "diabla", "bcontrast")
"""What the names of the pairs' sources begin with."""
SHORT = """
    a ad ah am an as at ax be by do ex go ha he hi i if in is it me my no o of oh ok on or ow ox so to uh um up us we ye
    yo
"""
"""Words of less than three letters; all others of that length are names, abbreviations and parts of foreign names."""


def texts(data: Path) -> Iterator[str]:
    """The English texts in a folder laid out as data/text and data/audio."""
    for path in sorted((data / "text").glob("pairs-en-*.train.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                english, _, sources = line.rstrip("\n").split("\t")
                if all(source.startswith(FREE) for source in re.split(r"[,; ]+", sources)):
                    yield english
    with gzip.open(data / "text" / "english-commonvoice.txt.gz", "rt", encoding="utf-8") as file:
        yield from file
    for name in ("train-librispeech", "train-ljspeech"):
        with (data / "audio" / f"{name}.jsonl").open(encoding="utf-8") as file:
            yield from (json.loads(line)["text"] for line in file)


def words(lines: Iterable[str]) -> list[str]:
    """The words of texts, each once, sorted."""
    found = {word for line in lines for word in WORD.findall(line.lower().replace("’", "'"))}  # noqa: RUF001
    return sorted({word for word in found if len(word) > 2} | set(SHORT.split()))


def main(data: str, path: str) -> None:
    """Write the list."""
    found = words(texts(Path(data)))
    Path(path).write_bytes(lzma.compress(("\n".join(found) + "\n").encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{path}: {len(found)} words, {Path(path).stat().st_size} bytes")  # noqa: T201 - a command


if __name__ == "__main__":
    main(*sys.argv[1:])
