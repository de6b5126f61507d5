"""Making neighbouring layers share their full-rank matrices with as little loss as can be had without training.

What counts is not how near a shared matrix is to each of those that it replaces, but how near what it gives is, on
what a layer is given. With H the covariance of a layer's inputs, the error of W' in the place of W is
tr (W - W') H (W - W')^T: U and the private low-rank parts are found in turns, each the best in that metric for the
other. Before, layers are aligned (``align``), which changes nothing of what they compute.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rtstream.errors import TrainingError
from rtstream.model.config import POSITIONS
from rtstream.nn.encoder import Encoder
from rtstream.nn.model import SpeechModel
from rtstream.training.speech.align_layers import align_layers
from rtstream.training.speech.initialization import fit_residual, unshared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rtstream.model.config import EncoderConfig

ROUNDS = 5
"""Times that U and the low-rank parts are found anew; after that hardly anything changes."""
DAMPING = 1e-4
"""Of the mean of a covariance's diagonal, added to it: a direction that the clips do not show is not free."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the rows that a matrix multiplies: their mean (inputs,) and covariance (inputs, inputs), float64."""

    mean: Tensor
    covariance: Tensor


class _Sums:
    """Adds up the rows that a module is called with."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | None = None
        self.products: Tensor | None = None

    def add(self, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
        """A hook."""
        rows = given[0].detach().reshape(-1, given[0].shape[-1]).float()
        total, products = rows.sum(dim=0).double(), (rows.T @ rows).double()
        self.count += len(rows)
        self.total = total if self.total is None else self.total + total
        self.products = products if self.products is None else self.products + products

    def moments(self) -> Moments:
        assert self.total is not None
        assert self.products is not None
        mean = self.total / self.count
        covariance = self.products / self.count - torch.outer(mean, mean)
        floor = DAMPING * covariance.diagonal().mean()
        return Moments(mean, covariance + floor * torch.eye(len(mean), dtype=torch.float64))


@torch.no_grad()
def input_moments(encoder: Encoder, features: Iterable[Tensor]) -> dict[tuple[int, str], Moments]:
    """Moments of what each layer's matrices multiply, by layer and position, in full context.

    ``encoder`` must be unshared; ``features`` are those of one recording each, (n, n_mels) or (n,).
    """
    sums: dict[tuple[int, str], _Sums] = {}
    with ExitStack() as hooks:
        for index in range(encoder.config.layers):
            for name in POSITIONS:
                matrix = encoder.group_of(index).matrix(name)
                if matrix is None or encoder.config.share > 1:
                    raise TrainingError("only an unshared encoder can be brought to share: start from its teacher")
                sums[index, name] = counted = _Sums()
                hooks.callback(matrix.register_forward_pre_hook(counted.add).remove)
        training = encoder.training
        encoder.eval()  # which asks the shared matrices themselves, where training asks for whole matrices
        for each in features:
            encoder(each[None])
        encoder.train(training)
    return {place: counted.moments() for place, counted in sums.items()}


def shared_start(
    model: SpeechModel, target: EncoderConfig, recordings: Sequence[Tensor], chunks: SpeechModel | None = None
) -> SpeechModel:
    """The unshared ``model``, whose encoder is aligned in place, brought to share as ``target`` says.

    ``recordings``: features of one recording each, on which it is to lose least. ``chunks``: the model of two passes,
    nothing shared, whose chunks' private parts, heads and decoder the new one begins with; none: chunks begin as
    nothing.
    """
    apart = None if chunks is None else unshared(chunks).encoder
    moments = input_moments(model.encoder, recordings)
    align_layers(model.encoder, target.share, moments, also=[] if apart is None else [apart])
    student = share_layers(model, target, input_moments(model.encoder, recordings))
    if chunks is not None and apart is not None:
        student.ctc, student.voice, student.decoder = chunks.ctc, chunks.voice, chunks.decoder
        _begin_chunks(student.encoder, model.encoder, apart)
    return student


@torch.no_grad()
def _begin_chunks(student: Encoder, whole: Encoder, chunks: Encoder) -> None:
    """Give the shared ``student``'s chunks what tells the unshared ``chunks`` from the unshared ``whole``."""
    student.norm.load_state_dict(chunks.norm.state_dict())
    for index, layer in enumerate(student.layers):
        layer.attention_norm.load_state_dict(chunks.layers[index].attention_norm.state_dict())
        layer.ffn_norm.load_state_dict(chunks.layers[index].ffn_norm.state_dict())
        for name in POSITIONS:
            private = layer.private(name)
            biases = (chunks.layers[index].private(name).bias, whole.layers[index].private(name).bias)
            private.bias.add_(biases[0] - biases[1])
            fit_residual(private, chunks.matrix(index, name) - whole.matrix(index, name), "svd")


@torch.no_grad()
def share_layers(
    model: SpeechModel,
    target: EncoderConfig,
    moments: Mapping[tuple[int, str], Moments],
    *,
    ranks: Mapping[str, int] | None = None,
) -> SpeechModel:
    """The unshared ``model`` with an encoder of ``target``, whose full context is as near to the model's as can be.

    Full context's private parts, of ``target.whole_rank``, hold what tells layers apart; those of the chunks begin as
    nothing. ``ranks``: less than that for some positions; the rest of their low-rank parts is zero. Decoder and heads
    are the model's own. Raises TrainingError where the sizes do not fit.
    """
    source = model.encoder
    if replace(source.config, share=target.share) != replace(
        target, whole=False, whole_rank=0, rank=0, diagonal=False, left_context=source.config.left_context
    ):
        msg = f"an encoder of {source.config} cannot come to share as {target}: start from an unshared one of its sizes"
        raise TrainingError(msg)
    encoder = Encoder(target)
    if encoder.whole is None:
        raise TrainingError("sharing is brought into models of two passes: whole must be on")
    encoder.front.load_state_dict(source.front.state_dict())
    encoder.norm.load_state_dict(source.norm.state_dict())
    encoder.whole.norm.load_state_dict(source.norm.state_dict())
    for index, layer in enumerate(source.layers):
        for own in (encoder.layers[index], encoder.whole.layers[index]):
            own.attention_norm.load_state_dict(layer.attention_norm.state_dict())
            own.ffn_norm.load_state_dict(layer.ffn_norm.state_dict())
    for first in range(0, target.layers, target.share):
        members = range(first, first + target.share)
        for name in POSITIONS:
            rank = (ranks or {}).get(name, target.whole_rank)
            parts = source.layers[first].private(name).parts
            matrices = [source.matrix(index, name).double() for index in members]
            given = [moments[index, name] for index in members]
            shared, low = fit_shared(matrices, [each.covariance for each in given], rank, parts)
            matrix = encoder.group_of(first).matrix(name)
            assert matrix is not None
            matrix.weight.copy_(shared)
            for place, index in enumerate(members):
                a, b = low[place]
                private = encoder.whole.layers[index].private(name)
                missing = matrices[place] - shared - (a @ b).reshape(shared.shape)
                bias = source.layers[index].private(name).bias + (missing @ given[place].mean).float()
                private.bias.copy_(bias)
                encoder.layers[index].private(name).bias.copy_(bias)
                if private.a is not None and private.b is not None:
                    private.a.zero_()
                    private.b.zero_()
                    private.a[..., :rank].copy_(a)
                    private.b.view(parts, -1, private.inputs)[:, :rank].copy_(b)
                if private.d is not None:
                    private.d.zero_()
    student = SpeechModel(replace(model.config, encoder=target))
    student.encoder, student.ctc, student.decoder, student.voice = encoder, model.ctc, model.decoder, model.voice
    return student


def fit_shared(
    matrices: Sequence[Tensor], covariances: Sequence[Tensor], rank: int, parts: int = 1
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """U (outputs, inputs), and for each matrix A (parts, outputs / parts, rank) and B (parts, rank, inputs), float64.

    Each matrix is of ``parts`` one above the other, whose low-rank parts are apart. In turns: U is the weighted least
    squares solution for the low-rank parts, whose best ones for U are truncated SVDs in the metric of the inputs.
    """
    roots = [torch.linalg.cholesky(covariance) for covariance in covariances]
    weights = [1.0 / float(((w @ root) ** 2).sum()) for w, root in zip(matrices, roots, strict=True)]
    total = sum(weight * covariance for weight, covariance in zip(weights, covariances, strict=True))
    assert isinstance(total, Tensor)
    low = [torch.zeros_like(matrices[0]) for _ in matrices]
    factors: list[tuple[Tensor, Tensor]] = []
    shared = matrices[0]
    for _ in range(ROUNDS if rank else 1):
        wanted = sum(
            weight * (w - each) @ covariance
            for weight, w, each, covariance in zip(weights, matrices, low, covariances, strict=True)
        )
        assert isinstance(wanted, Tensor)
        shared = torch.linalg.solve(total, wanted, left=False)
        factors = [_truncated(w - shared, root, rank, parts) for w, root in zip(matrices, roots, strict=True)]
        low = [(a @ b).reshape(shared.shape) for a, b in factors]
    return shared, factors


def _truncated(rest: Tensor, root: Tensor, rank: int, parts: int) -> tuple[Tensor, Tensor]:
    """The best A (parts, outputs, rank) and B (parts, rank, inputs) where inputs are ``root`` times white noise."""
    u, s, v = torch.linalg.svd((rest @ root).view(parts, -1, rest.shape[1]), full_matrices=False)
    size = s[:, :rank].sqrt()
    b = torch.linalg.solve_triangular(root, size[:, :, None] * v[:, :rank], upper=False, left=False)
    return u[:, :, :rank] * size[:, None], b


@torch.no_grad()
def relative_errors(source: Encoder, shared: Encoder, moments: Mapping[tuple[int, str], Moments]) -> dict[str, float]:
    """By position: the energy that sharing leaves out of what a matrix gives in full context, the layers' mean."""
    errors: dict[str, float] = {}
    assert shared.whole is not None
    for name in POSITIONS:
        found = []
        for index in range(source.config.layers):
            root = torch.linalg.cholesky(moments[index, name].covariance)
            before = source.matrix(index, name).double()
            matrix = shared.group_of(index).matrix(name)
            after = shared.whole.layers[index].private(name).weight(matrix).double()
            found.append(float(((before - after) @ root).square().sum() / (before @ root).square().sum()))
        errors[name] = sum(found) / len(found)
    return errors
