"""Which cross-attention heads of a decoder follow the speech: those that partials ask where a token was heard.

    python -m rtstream.training.speech.alignment_heads TEACHER BUNDLE SHARD

prints, for the teacher of ``--teacher``, each head's error: how far, in the median, the frame that it attends to most
when a token is chosen lies from the middle of the token's word. When words were said is read off the CTC of a bundle
that has one. A few heads together are better than the best alone: they are taken one after another, as long as their
mean attention gains (after Whisper's own ``alignment_heads``, which its authors chose in such a way).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rtstream.engine.open import load_bundle
from rtstream.engine.torch_int8 import speech_model
from rtstream.events import SAMPLE_RATE
from rtstream.nn.decoder import attention
from rtstream.nn.features import make_features
from rtstream.recognizer.final_pass import places
from rtstream.recognizer.words import time_words
from rtstream.training.corpus.data import load_shard
from rtstream.training.speech.initialization import from_teacher
from rtstream.training.speech.teacher import load_teacher
from rtstream.training.speech.teacher_outputs import greedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.engine.open import Bundle
    from rtstream.nn.decoder import Decoder
    from rtstream.nn.model import SpeechModel

CLIPS = 60
GAIN = 0.0005
"""Seconds that another head must take off the mean error to be taken."""


def cross_attention(decoder: Decoder, tokens: Tensor, states: Tensor) -> Tensor:
    """Weights of every head (layers, heads, n, frames) where ``tokens`` (n,) are read over ``states`` (frames, d)."""
    weights: list[Tensor] = []

    def note(layer: int, query: Tensor) -> None:
        block = decoder.layers[layer]
        (q,) = block.split(query, 1)
        k, _ = block.split(block.cross_kv(states[None]), 2)
        weights.append(attention(q, k.transpose(-1, -2), None)[0])

    hooks = [
        layer.cross_q.register_forward_hook(lambda _module, _given, query, index=index: note(index, query))
        for index, layer in enumerate(decoder.layers)
    ]
    try:
        decoder.hidden(tokens[None], states[None])
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(weights)


def token_words(tokens: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The number of the word that each token belongs to, -1 before the first."""
    starts = [tokenizer.begins_word(token) for token in tokens]
    numbers: list[int] = (np.cumsum(starts) - 1).tolist()
    return numbers


def word_middles(text: str, audio: Tensor, bundle: Bundle) -> list[float]:
    """When, in seconds, the middle of each word of a text was said, by a bundle's CTC over chunks of 640 ms."""
    sizes = bundle.config.encoder
    mel = make_features(sizes)(audio)
    model = speech_model(bundle.engine)
    states = model.encoder(mel[None], chunk=round(0.64 * SAMPLE_RATE / sizes.frame_samples))[0]
    posteriors = model.ctc(states).numpy()
    words = time_words(text, posteriors, bundle.config.letters, 0, sizes.frame_samples)
    return [(word.start + word.end) / 2 / SAMPLE_RATE for word in words]


@torch.inference_mode()
def head_errors(
    model: SpeechModel, tokenizer: Tokenizer, bundle: Bundle, audio: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """For each recording: weights (layers, heads, tokens, frames) and the seconds (tokens,) at which each was said."""
    weights, times = [], []
    prompt = tokenizer.prompt()
    for samples in audio:
        states = model.encoder(make_features(model.config.encoder)(samples)[None])
        (text,) = greedy(
            states,
            [states.shape[1]],
            model.decoder,
            tokenizer,
            frame=model.config.encoder.frame_samples,
        )
        if not text:
            continue
        tokens = tokenizer.encode(f" {text}")
        middles, words = word_middles(text, samples, bundle), token_words(tokens, tokenizer)
        given = cross_attention(model.decoder, torch.tensor([*prompt, *tokens[:-1]]), states[0])
        if max(words) < len(middles):
            weights.append(given[:, :, len(prompt) - 1 :])
            times.append(torch.tensor([middles[word] for word in words]))
    return weights, times


def error(weights: Sequence[Tensor], times: Sequence[Tensor], heads: Sequence[tuple[int, int]], frame: float) -> float:
    """Mean distance, in seconds and at most two, of where the heads' mean attention rests from where it should."""
    off = []
    for given, wanted in zip(weights, times, strict=True):
        mean = torch.stack([given[layer, head] for layer, head in heads]).mean(dim=0)
        found = (torch.tensor(places(mean.numpy()), dtype=torch.float32) + 0.5) * frame
        off.append((found - wanted).abs().clamp(max=2.0))
    return float(torch.cat(off).mean())


def choose(weights: Sequence[Tensor], times: Sequence[Tensor], frame: float) -> list[tuple[int, int]]:
    """The heads that together are nearest, taken one after another."""
    layers, heads = weights[0].shape[:2]
    alone = {(i, k): error(weights, times, [(i, k)], frame) for i in range(layers) for k in range(heads)}
    likely = sorted(alone, key=lambda head: alone[head])[:16]
    chosen, least = [likely[0]], alone[likely[0]]
    while True:
        tried = {head: error(weights, times, [*chosen, head], frame) for head in likely if head not in chosen}
        best = min(tried, key=lambda head: tried[head])
        if tried[best] > least - GAIN:
            return sorted(chosen)
        chosen, least = [*chosen, best], tried[best]
        print(f"{least:.3f} s with {chosen}")  # noqa: T201 - what the command is for


def main(teacher: Path, bundle: Path, shard: Path) -> None:
    """Print the heads."""
    checkpoint = load_teacher(teacher)
    tokens = checkpoint.tokenizer
    model = from_teacher(checkpoint, tokens, list(range(len(tokens))), 0).eval()
    clips = [clip for clip in load_shard(shard) if 4 < clip.seconds < 10][:CLIPS]
    audio = [torch.from_numpy(clip.read()) for clip in clips]
    weights, times = head_errors(model, tokens, load_bundle(bundle, "float"), audio)
    frame = model.config.encoder.frame_samples / SAMPLE_RATE
    for layer in range(weights[0].shape[0]):
        row = [f"{error(weights, times, [(layer, head)], frame):.2f}" for head in range(weights[0].shape[1])]
        print(layer, *row)  # noqa: T201 - as above
    print(choose(weights, times, frame))  # noqa: T201 - as above


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
