"""Recorded speech and noise, and what the gates make of it."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from rtstream.audio.open import open_audio
from rtstream.events import AudioBlock
from rtstream.vad.gate import Gate
from rtstream.vad.segmenter import Segmenter

DATA = Path(__file__).parent.parent / "data"
SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "audio"
ROWS = [json.loads(line) for line in (DATA / "clips.jsonl").read_text().splitlines()]
SPEECH = [row["file"] for row in ROWS if row["text"]]
NOISE = [row["file"] for row in ROWS if not row["text"]]

needs_silero = pytest.mark.skipif(
    # Not imported here: onnxruntime would report its use.
    any(find_spec(name) is None for name in ("onnxruntime", "silero_vad")),
    reason="needs onnxruntime and silero-vad: make setup",
)


def read_clip(path) -> np.ndarray:
    with open_audio(path) as audio:
        return np.concatenate([block.samples for block in audio])


def pause(seconds: float, level_db: float = -70) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(round(16_000 * seconds))
    return (noise * 10 ** (level_db / 20)).astype(np.float32)


def segment(source: np.ndarray, gate: Gate, block: int = 1_600) -> list[tuple[int, int]]:
    """Begin and end of each segment in samples."""
    segmenter = Segmenter(gate)
    given = []
    for start in range(0, len(source), block):
        given += segmenter.push(AudioBlock(source[start : start + block], start))
    given += segmenter.finish()
    spans: dict[int, tuple[int, int]] = {}
    for piece in given:
        begin, _ = spans.get(piece.segment, (piece.position, 0))
        spans[piece.segment] = (begin, piece.position + len(piece.samples))
    return list(spans.values())


def covered(source: np.ndarray, spans: list[tuple[int, int]], padding: int = 0) -> float:
    """The share of the energy between the first and last loud frame that lies inside segments."""
    frames = source[: len(source) // 320 * 320].reshape(-1, 320)
    energy = (frames.astype(np.float64) ** 2).sum(axis=1)
    loud = np.flatnonzero(energy > energy.max() * 10**-3.5)
    inside = np.zeros(len(source) + 2 * padding, bool)
    for begin, end in spans:
        inside[begin:end] = True
    kept = inside[padding:][: frames.size].reshape(-1, 320)
    speech = slice(loud[0], loud[-1] + 1)
    return float((frames[speech].astype(np.float64) ** 2 * kept[speech]).sum() / energy[speech].sum())


def verdicts(gate: Gate, source: np.ndarray) -> list[bool]:
    step = gate.frame_samples
    return [gate.is_speech(source[i : i + step]) for i in range(0, len(source) - step, step)]
