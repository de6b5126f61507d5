"""What is left of a model when its layers come to share matrices, before any training: a table of starts.

    python -m rtstream.research.starts TEACHER --data FOLDER --share 2 --rank 32 --rank 64

Three ways of finding the shared matrix and what tells layers apart: ``mean``, the matrices' own mean and the SVD of
what it misses; ``metric``, both in the metric of what the matrices multiply (see ``surgery``); ``aligned``, the same
after the layers were aligned, which changes nothing of what they compute.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click
import jiwer
import torch
from torch import Tensor

from rtstream.evaluation.evaluate import normalizer
from rtstream.evaluation.moonshine_reference import MoonshineReference
from rtstream.model.accounting import CONVOLUTIONS, encoder_parameters
from rtstream.model.config import POSITIONS
from rtstream.training.corpus.data import find_shard
from rtstream.training.speech.align_layers import align_layers
from rtstream.training.speech.surgery import Moments, input_moments, relative_errors, share_layers
from rtstream.training.speech.teacher_outputs import greedy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.model import SpeechModel
    from rtstream.training.corpus.data import Clip

METHODS = ("mean", "metric", "aligned")
SETS = (("dev-cv:choosing", 30), ("dev-librispeech:choosing", 12))
"""Recordings of which the texts are compared, evenly spread over each."""
MEASURED = (("train-librispeech", 100), ("train-speechocean", 50))
"""Recordings on which inputs are measured."""


@dataclass(frozen=True, slots=True)
class Start:
    """One row: the structure, what it loses, and its texts' errors.

    ``parameters``: the encoder's, without its front end, as a share of the unshared one's. ``errors``: by position, the
    energy of what a matrix gives that is missed. ``states``: squared distance of the states, to their energy. ``wer``
    in per cent.
    """

    share: int
    rank: int
    method: str
    parameters: float
    errors: Mapping[str, float]
    states: float
    wer: float


def plain_moments(moments: Mapping[tuple[int, str], Moments]) -> dict[tuple[int, str], Moments]:
    """Moments for which all inputs count alike: matrices are then compared as such."""
    return {
        place: Moments(torch.zeros_like(each.mean), torch.eye(len(each.mean), dtype=torch.float64))
        for place, each in moments.items()
    }


def shared_by(
    model: SpeechModel, share: int, rank: int, method: str, recordings: Sequence[Tensor]
) -> tuple[SpeechModel, dict[str, float]]:
    """The unshared ``model`` whose full context shares, found by one of ``METHODS``, and what that misses by position.

    ``recordings``, (n,) each, are those on which inputs are measured.
    """
    source = copy.deepcopy(model)
    moments = input_moments(source.encoder, recordings)
    if method == "aligned":
        align_layers(source.encoder, share, moments)
        moments = input_moments(source.encoder, recordings)  # hidden units stand in another order
    target = replace(source.config.encoder, share=share, whole=True, whole_rank=rank)
    student = share_layers(source, target, plain_moments(moments) if method == "mean" else moments).eval()
    return student, relative_errors(source.encoder, student.encoder, moments)


@torch.inference_mode()
def texts_of(model: SpeechModel, tokenizer: Tokenizer, recordings: Sequence[Tensor]) -> tuple[list[str], Tensor]:
    """Greedy text of each recording (n,), and all their states (frames, d_model), in full context."""
    frame = model.config.encoder.frame_samples
    states = [model.encoder(samples[None]) for samples in recordings]
    found = [greedy(each, [each.shape[1]], model.decoder, tokenizer, frame=frame)[0] for each in states]
    return [text or "" for text in found], torch.cat([each[0] for each in states])


def layers_of_unshared(model: SpeechModel, share: int, rank: int) -> float:
    """The layers' parameters where they share, as a share of those of ``model``'s."""
    sizes = model.config.encoder
    counts = [encoder_parameters(each) for each in (replace(sizes, share=share, rank=rank), sizes)]
    ours, all_ = (sum(count for name, count in each.items() if name != CONVOLUTIONS) for each in counts)
    return ours / all_


def measure(
    model: SpeechModel,
    tokenizer: Tokenizer,
    clips: Sequence[Clip],
    goals: Tensor,
    recordings: Sequence[Tensor],
    *,
    share: int,
    rank: int,
    method: str,
) -> Start:
    """One row: ``model`` brought to share, on ``clips``, of which its own states are ``goals`` (frames, d_model)."""
    student, errors = shared_by(model, share, rank, method, recordings)
    texts, states = texts_of(student, tokenizer, [torch.from_numpy(clip.read()) for clip in clips])
    off = (states - goals).square().sum() / (goals - goals.mean(dim=0)).square().sum()
    parameters = layers_of_unshared(model, share, rank)
    return Start(share, rank, method, parameters, errors, float(off), error_rate(clips, texts))


def error_rate(clips: Sequence[Clip], texts: Sequence[str]) -> float:
    """Word error rate in per cent of the clips' ``texts``."""
    normalize = normalizer()
    return 100 * float(jiwer.wer([normalize(clip.text or "") for clip in clips], [normalize(text) for text in texts]))


def row(start: Start) -> str:
    """A line of the table, in Markdown."""
    errors = " | ".join(f"{start.errors[name]:.3f}" for name in POSITIONS)
    return (
        f"| {start.share} | {start.rank} | {start.method} | {100 * start.parameters:.0f} % | {errors} "
        f"| {start.states:.2f} | {start.wer:.1f} |"
    )


HEAD = (
    f"| K | R | found by | layers' parameters, of unshared | {' | '.join(POSITIONS)} | states off | WER |\n"
    f"|{'---|' * (6 + len(POSITIONS))}"
)


@click.command()
@click.argument("teacher", type=click.Path(path_type=Path, exists=True))
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the shards.")
@click.option("--share", type=click.IntRange(2), multiple=True, default=(2,), help="K; may be given more than once.")
@click.option("--rank", type=click.IntRange(0), multiple=True, default=(64,), help="R; may be given more than once.")
@click.option("--method", type=click.Choice(METHODS), multiple=True, default=METHODS, help="Ways to start.")
def main(teacher: Path, data: Path, share: tuple[int, ...], rank: tuple[int, ...], method: tuple[str, ...]) -> None:
    """Print the table for the Moonshine checkpoint TEACHER, a row as soon as it is measured."""
    reference = MoonshineReference.open(teacher)
    model, tokenizer = reference.model, reference.tokenizer
    clips = [clip for name, count in SETS for clip in spread(find_shard([data], name), count)]
    measured = [clip for name, count in MEASURED for clip in spread(find_shard([data], name), count)]
    recordings = [torch.from_numpy(clip.read()) for clip in measured]
    texts, goals = texts_of(model, tokenizer, [torch.from_numpy(clip.read()) for clip in clips])
    click.echo(f"Unshared: {error_rate(clips, texts):.1f} % over {len(clips)} clips\n\n{HEAD}")
    for k, r, way in product(share, rank, method):
        click.echo(row(measure(model, tokenizer, clips, goals, recordings, share=k, rank=r, method=way)))


def spread(clips: Sequence[Clip], count: int) -> list[Clip]:
    """So many clips of at most 15 s, evenly over all."""
    some = [clip for clip in clips if 1.0 < clip.seconds < 15.0]
    return some[:: max(1, len(some) // count)][:count]


if __name__ == "__main__":
    main()
