"""Digits one after another, as people read numbers out: recordings of single ones joined, a pause between two.

Texts are in words, as they were said: CTC can spell them, and Moonshine writes so, with commas for the pauses ("Three,
two, six."), where it writes anything. Digits are made of them where they are shown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rtstream.errors import TrainingError
from rtstream.events import SAMPLE_RATE
from rtstream.training.corpus.augment import Samples, room_tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rtstream.training.corpus.data import Clip

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "oh")
JOINED = "joined"
"""The kind of a shard's clips of which its single digits are the parts."""
DIGITS_A_CLIP = (2, 12)
CLIPS_A_DIGIT = 4
"""Joined clips to each recording of a digit: some 28 times each is heard, never among the same others."""
PAUSES = (0.08, 0.4)
"""Seconds between two digits, least and most."""
REPEATED = 0.3
"""Share of digits that say the one before again: 555 is no loop."""
FADE = SAMPLE_RATE // 200
"""Over which a recording that begins or ends in the middle of its sound joins the pause without a click."""


def join_digits(
    clips: Sequence[Clip], count: int | None = None, digits: tuple[int, int] = DIGITS_A_CLIP, seed: int = 0
) -> list[Clip]:
    """``count`` strings of digits, each by one of the speakers of ``clips``, who take turns; by a fixed seed.

    By default CLIPS_A_DIGIT for each recording of a digit. ``digits``: how many a string has, least and most. A clip's
    ``offset`` is its place in the list. Raises TrainingError where nobody says two different digits.
    """
    said: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        if clip.text in DIGITS:
            said[clip.speaker][clip.text].append(clip)
    speakers = [takes for _, takes in sorted(said.items()) if len(takes) > 1]
    if not speakers:
        raise TrainingError("no single digits to join: nobody says two different ones, each in a clip of its own")
    if count is None:
        count = CLIPS_A_DIGIT * sum(len(each) for takes in speakers for each in takes.values())
    rng = np.random.default_rng(seed)
    return [_string(speakers[index % len(speakers)], index, digits, rng) for index in range(count)]


def _string(takes: dict[str, list[Clip]], index: int, digits: tuple[int, int], rng: np.random.Generator) -> Clip:
    words = sorted(takes)
    chosen: list[str] = []
    for _ in range(int(rng.integers(digits[0], digits[1] + 1))):
        again = chosen and rng.random() < REPEATED
        chosen.append(chosen[-1] if again else str(rng.choice(words)))
    parts = tuple(takes[word][int(rng.integers(len(takes[word])))] for word in chosen)
    pauses = tuple(_pauses(len(parts) - 1, rng))
    text = " ".join(chosen)
    seconds = sum(part.seconds for part in parts) + sum(pauses)
    return replace(
        parts[0], offset=index, size=len(parts), seconds=seconds, text=text, reference=text, parts=parts, pauses=pauses
    )


def _pauses(count: int, rng: np.random.Generator) -> Iterator[float]:
    """Even ones of a speaker's tempo, longer between groups of two to four digits where there are groups."""
    least, most = PAUSES
    tempo = rng.uniform(least, most)
    grouped = rng.random() < 0.5
    left = int(rng.integers(2, 5))
    for _ in range(count):
        left -= 1
        pause = tempo * rng.uniform(0.8, 1.25)
        if grouped and not left:
            pause = rng.uniform(max(tempo, 0.6 * most), most)
            left = int(rng.integers(2, 5))
        yield float(np.clip(pause, least, most))


def join(recordings: Iterable[Samples], pauses: Sequence[float], seed: int) -> Samples:
    """The recordings (float32, 16 kHz), a pause (seconds) between two, in which the room of the one before is heard."""
    rng = np.random.default_rng(seed)
    hush = rng.choice([0.0, rng.uniform(0.0, 1.0), 1.0])  # codecs send nothing in pauses, gates less
    out: list[Samples] = []
    rise = np.linspace(0.0, 1.0, FADE, dtype=np.float32)
    for index, recording in enumerate(recordings):
        part = recording.copy()
        part[:FADE] *= rise[: len(part)]
        part[-FADE:] *= rise[::-1][-len(part) :]
        out.append(part)
        if index < len(pauses):
            out.append(room_tone(recording, round(pauses[index] * SAMPLE_RATE), rng) * np.float32(hush))
    return np.concatenate(out)
