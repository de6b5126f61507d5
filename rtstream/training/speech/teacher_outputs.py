"""What the teacher makes of each clip, computed once and kept beside the runs: its states and its text.

Training then runs without the teacher: half of the time of a step. The states are those of the clip as it is heard
before noise, rooms and gain, padded as ``recognizer.context`` pads a segment.
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from rtstream.errors import TrainingError
from rtstream.events import SAMPLE_RATE
from rtstream.languages import ENGLISH, primary
from rtstream.recognizer.context import context_samples, seen_frames
from rtstream.recognizer.final_pass import repeats, token_limit
from rtstream.training.core.precision import autocast
from rtstream.training.speech.distill import feature_rows, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.model.config import EncoderConfig
    from rtstream.nn.decoder import Decoder
    from rtstream.training.corpus.data import Clip
    from rtstream.training.speech.distill import Teacher

BATCH_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Taught:
    """Where a clip's states lie: ``frames`` rows from ``row`` on in a file of float16 rows of width ``d_model``.

    ``written`` is the teacher's text, None where it ran into no end.
    """

    path: Path
    row: int
    frames: int
    d_model: int
    written: str | None

    def read(self) -> NDArray[np.float16]:
        """The states, float16 (frames, d_model): those of the clip, then as many of its padding as the decoder sees."""
        shape = (self.frames, self.d_model)
        offset = self.row * self.d_model * 2
        return np.array(np.memmap(self.path, np.float16, mode="r", offset=offset, shape=shape))


@dataclass(frozen=True)
class WholeTeacher:
    """The teacher's encoder, decoder and tokenizer, all of them."""

    encoder: Teacher
    decoder: Decoder
    tokenizer: Tokenizer


def teach(
    clips: Sequence[Clip],
    path: Path,
    teacher: WholeTeacher,
    hear: Callable[[Clip], NDArray[np.float32]],
    report: Callable[[int, int], object],
) -> list[Clip]:
    """The clips with what the teacher makes of them, from ``path``.f16 and ``path``.jsonl, which are gone on with.

    ``hear`` gives a clip's samples; ``report`` is told how many of the clips are done. Clips without a reference, or
    with none to write, get no text. Raises TrainingError where the files cannot be read, or the states' is shorter than
    the other says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    states_path, index_path = path.with_suffix(".f16"), path.with_suffix(".jsonl")
    width = teacher.decoder.config.d_model
    with index_path.open("a+b") as index, states_path.open("a+b") as states:
        fcntl.flock(index, fcntl.LOCK_EX)  # another run may be at the same clips: it ends, then its work is found here
        known = _read_index(index)
        rows = max((row["row"] + row["frames"] for row in known.values()), default=0)
        if states.seek(0, 2) < rows * width * 2:
            msg = f"{states_path}: shorter than {index_path} says; remove both, they are made again"
            raise TrainingError(msg)
        # Those of another language may have been heard when their texts were not learnt.
        missing = [c for c in clips if c.offset not in known or known[c.offset].get("language") != _written_in(c)]
        done = len(clips) - len(missing)
        if missing:
            states.truncate(rows * width * 2)  # what no line tells of
        for batch in _batches(missing, teacher.encoder.encoder.config):
            audio = [hear(clip) for clip in batch]
            heard = _listen(audio, [primary(clip.language) if clip.text else None for clip in batch], teacher)
            added = []
            for clip, (frames, written) in zip(batch, heard, strict=True):
                states.write(frames.tobytes())
                row = {"offset": clip.offset, "row": rows, "frames": len(frames), "written": written}
                if (language := _written_in(clip)) is not None:
                    row["language"] = language
                rows += len(frames)
                known[clip.offset] = row
                added.append(json.dumps(row) + "\n")
            states.flush()  # first: a line is never without its states
            index.write("".join(added).encode())
            index.flush()
            done += len(batch)
            report(done, len(clips))
    return [
        replace(clip, taught=Taught(states_path, row["row"], row["frames"], width, row["written"]))
        for clip in clips
        if (row := known[clip.offset])
    ]


def _written_in(clip: Clip) -> str | None:
    """The language of a clip's text; None of English and of no text, as files of former versions have it."""
    return primary(clip.language) if clip.text and clip.language != ENGLISH else None


def _read_index(index: BinaryIO) -> dict[int, dict[str, Any]]:
    """The rows by the clips' offsets; a line that was cut short is cut off the file."""
    index.seek(0)
    data = index.read()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        index.truncate(len(whole))
    try:
        return {row["offset"]: row for row in map(json.loads, whole.splitlines())}
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{index.name}: not an index of what a teacher made ({type(error).__name__}): remove it and its .f16"
        raise TrainingError(msg) from error


def _batches(clips: Sequence[Clip], sizes: EncoderConfig) -> Iterator[list[Clip]]:
    """Clips of about one length, BATCH_SECONDS with their padding."""
    batch: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: clip.seconds):
        samples = context_samples(int(clip.seconds * SAMPLE_RATE), sizes)
        if batch and (len(batch) + 1) * samples > BATCH_SECONDS * SAMPLE_RATE:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


@torch.inference_mode()
def _listen(
    audio: Sequence[NDArray[np.float32]], write: Sequence[str | None], teacher: WholeTeacher
) -> list[tuple[NDArray[np.float16], str | None]]:
    """States of each recording, and text of those to ``write``, each in its language."""
    encoder = teacher.encoder.encoder
    samples = torch.tensor([len(each) for each in audio])
    counts = encoder.front.frames(feature_rows(samples, encoder.config))
    lengths: list[int] = counts.tolist()
    padded = torch.zeros(len(audio), max(map(len, audio)))
    for row, each in enumerate(audio):
        padded[row, : len(each)] = torch.from_numpy(each)
    texts: list[str | None] = [None] * len(audio)
    with autocast(padded.device, "bfloat16"):
        states = teacher.encoder(padded, samples)
    rows = [row for row, language in enumerate(write) if language is not None]
    if rows:
        given = states[rows].to(teacher.decoder.norm.weight.dtype)
        written = greedy(
            given,
            [lengths[row] for row in rows],
            teacher.decoder,
            teacher.tokenizer,
            frame=encoder.config.frame_samples,
            languages=[language for language in write if language is not None],
            mask=None if seen_frames(encoder.config) else inside(counts[rows], given.shape[1]),
        )
        for row, text in zip(rows, written, strict=True):
            texts[row] = text
    seen = [min(length + seen_frames(encoder.config), states.shape[1]) for length in lengths]
    kept = [states[row, :frames].to(torch.float16).numpy() for row, frames in enumerate(seen)]
    return list(zip(kept, texts, strict=True))


def greedy(
    states: Tensor,
    lengths: Sequence[int],
    decoder: Decoder,
    tokenizer: Tokenizer,
    *,
    frame: int,
    languages: Sequence[str] | None = None,
    mask: Tensor | None = None,
) -> list[str | None]:
    """The decoder's text over each row of states (batch, frames, d_model); None where it does not come to an end.

    ``lengths`` of the rows' states, ``frame`` samples each, and ``languages`` are the recordings', English by default.
    ``mask`` (batch, frames) is true where one is seen, by default everywhere: Whisper's decoder knows the padding.
    """
    state = decoder.begin(states, mask)
    texts: list[str | None] = [None] * len(states)
    tokens: list[list[int]] = [[] for _ in states]
    rows = list(range(len(states)))
    given = torch.tensor([tokenizer.prompt(language) for language in languages or [ENGLISH] * len(states)])
    while rows:
        logits, state = decoder.read(given, state)
        logits[:, tokenizer.unwritten] = -torch.inf
        going = []
        for place, (row, token) in enumerate(zip(rows, logits.argmax(dim=-1).tolist(), strict=True)):
            if token == tokenizer.end:
                texts[row] = tokenizer.decode(tokens[row]).strip()
                continue
            tokens[row].append(token)
            if len(tokens[row]) < token_limit(lengths[row], frame) and not repeats(tokens[row]):
                going.append(place)
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            state = state.select(going)
        given = torch.tensor([[tokens[row][-1]] for row in rows])
    return texts
