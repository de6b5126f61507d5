"""Shards are written here: a tar of FLAC clips, and its index beside it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import soundfile

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from rtstream.training.corpus.augment import Samples


def write_shard(path: Path, clips: Iterable[tuple[Samples, Mapping[str, Any]]]) -> Iterator[int]:
    """Write ``path``.tar and ``path``.jsonl, and count the clips as they are done.

    ``clips``: samples (float32 mono at 16 kHz), and what the index says of them but for file and length. The files are
    there when all clips are.
    """
    partial = path.with_suffix(".tmp")
    lines = []
    with tarfile.open(partial, "w") as archive:
        for number, (samples, row) in enumerate(clips):
            data = io.BytesIO()
            soundfile.write(data, samples, SAMPLE_RATE, format="FLAC")
            member = tarfile.TarInfo(f"{path.name}-{number:06d}.flac")
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))
            whole = {"file": member.name, "dur": round(len(samples) / SAMPLE_RATE, 3)} | dict(row)
            lines.append(json.dumps(whole, ensure_ascii=False) + "\n")
            yield number + 1
    partial.replace(path.with_suffix(".tar"))
    path.with_suffix(".jsonl").write_text("".join(lines), encoding="utf-8")
