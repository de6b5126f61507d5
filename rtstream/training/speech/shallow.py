"""A decoder of fewer layers, taught to write what the deeper one of the start writes.

Some layers are kept (Distil-Whisper, arXiv 2311.00430) and learn, over the same states, the deeper decoder's
distribution, its last layer's output, and where it looks: the cross-attention that says when a word has been heard.
Encoder, CTC head and token table stay as they are. Half of the batches' reads are of full context, half of chunks, cut
where a stream may stand, so that finals and partials are learnt together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from rtstream.errors import TrainingError
from rtstream.nn.model import SpeechModel
from rtstream.training.core.precision import autocast
from rtstream.training.corpus.data import IGNORED
from rtstream.training.speech.distill import feature_rows, inside
from rtstream.training.speech.loop import SpeechLoop
from rtstream.training.speech.prefix import cut_prefixes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.nn.decoder import Decoder
    from rtstream.training.corpus.data import Batch, Batches
    from rtstream.training.speech.recipe import Recipe

LEAST_ATTENTION = 1e-5
"""Attention below counts as this much: of how little a frame gets there is nothing to learn."""


def with_layers(model: SpeechModel, layers: Sequence[int]) -> SpeechModel:
    """The model with a decoder of these of its layers alone, copied; everything else is the model's own.

    Raises TrainingError where a layer is not there, or none of them has an alignment head.
    """
    sizes = model.config.decoder
    if list(layers) != sorted(set(layers)) or not layers or layers[-1] >= sizes.layers:
        msg = f"decoder.layers: must be layers of the start's {sizes.layers} in their order (got {list(layers)})"
        raise TrainingError(msg)
    heads = tuple((layers.index(layer), head) for layer, head in sizes.alignment_heads if layer in layers)
    if sizes.alignment_heads and not heads:
        following = sorted({layer for layer, _ in sizes.alignment_heads})
        msg = f"decoder.layers: none of {list(layers)} follows the speech; keep one of {following}"
        raise TrainingError(msg)
    shallow = SpeechModel(replace(model.config, decoder=replace(sizes, layers=len(layers), alignment_heads=heads)))
    shallow.encoder, shallow.ctc, shallow.voice = model.encoder, model.ctc, model.voice
    kept = {}
    for name, tensor in model.decoder.state_dict().items():
        part, _, rest = name.partition(".")
        index, _, parameter = rest.partition(".")
        if part != "layers":
            kept[name] = tensor
        elif int(index) in layers:
            kept[f"layers.{layers.index(int(index))}.{parameter}"] = tensor
    shallow.decoder.load_state_dict(kept)
    return shallow


@dataclass(frozen=True, slots=True)
class ImitationLosses:
    """Unweighted losses of one read.

    ``language``: cross-entropy of what is said after the first token, the language or that nobody speaks, a clip. The
    others are each a token of the text: ``imitation`` divergence from the deeper decoder's distribution; ``hidden``
    squared distance from its normed last output, to that one's energy; ``attention`` divergence from its alignment
    heads' mean; ``decoder`` cross-entropy. ``alike``: share of tokens of which both think the same the likeliest.
    """

    language: Tensor
    imitation: Tensor
    hidden: Tensor
    attention: Tensor
    decoder: Tensor
    alike: Tensor


def imitation_losses(
    decoder: Decoder,
    guide: Decoder,
    tokens: Tensor,
    *,
    states: Tensor,
    mask: Tensor,
    targets: Tensor,
    language: bool = True,
) -> ImitationLosses:
    """What ``decoder`` lacks of ``guide``, both reading ``tokens`` (batch, n) over ``states`` (batch, frames, d_model).

    ``mask`` (batch, frames) true where a frame counts; ``targets`` (batch, n), of which those not IGNORED count.
    ``language``: whether the first is what is spoken, which is not learnt from ``guide``, less sure of accents than the
    clips' own languages are; else it is text like the others.
    """
    hidden, attention = decoder.follow(tokens, states, mask)
    counted = targets != IGNORED
    spoken = hidden.sum() * 0.0
    if language:
        named = counted[:, 0]
        spoken = F.cross_entropy(decoder.logits(hidden[named, 0]).float(), targets[named, 0], reduction="sum")
        spoken = spoken / named.sum().clamp(min=1)
        counted = counted.index_fill(1, torch.tensor([0], device=counted.device), value=False)
    if not bool(counted.any()):
        zero = spoken * 0.0
        return ImitationLosses(spoken, zero, zero, zero, zero, zero.detach())
    with torch.no_grad():
        theirs, their_attention = (x[counted] for x in guide.follow(tokens, states, mask))
        their_log_probs = F.log_softmax(guide.logits(theirs).float(), dim=-1)
        theirs = guide.norm(theirs).float()
    ours, attention = hidden[counted], attention[counted]
    log_probs = F.log_softmax(decoder.logits(ours).float(), dim=-1)
    return ImitationLosses(
        language=spoken,
        imitation=F.kl_div(log_probs, their_log_probs, log_target=True, reduction="batchmean"),
        hidden=(decoder.norm(ours).float() - theirs).square().sum() / theirs.square().sum(),
        attention=F.kl_div(_log(attention), _log(their_attention), log_target=True, reduction="batchmean"),
        decoder=F.nll_loss(log_probs, targets[counted]),
        alike=(log_probs.argmax(dim=-1) == their_log_probs.argmax(dim=-1)).float().mean().detach(),
    )


def _log(attention: Tensor) -> Tensor:
    return attention.float().clamp(min=LEAST_ATTENTION).log()


class ShallowTrainer(SpeechLoop):
    """One run of a speech recipe that names the decoder's layers; ``guide`` is the deeper decoder."""

    def __init__(
        self,
        recipe: Recipe,
        model: SpeechModel,
        guide: Decoder,
        batches: Batches,
        directory: Path,
        *,
        language: bool = True,
        save_seconds: float = 600.0,
    ) -> None:
        model.requires_grad_(requires_grad=False)
        for part in (*model.decoder.layers, model.decoder.norm):
            part.requires_grad_(requires_grad=True)
        groups = (([p for p in model.parameters() if p.requires_grad], recipe.optimizer.decoder_lr),)
        super().__init__(recipe, model, batches, directory, groups, save_seconds=save_seconds)
        self.language = language
        self.guide = guide.eval().requires_grad_(requires_grad=False).to(self.device)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of the recipe's losses over chunks and over full context, and each of them."""
        r = self.recipe
        generator, chunk = self.draw()
        parts: dict[str, ImitationLosses] = {}
        with autocast(self.device, r.precision):
            rows = (batch.targets != IGNORED).any(dim=1)
            if bool(rows.any()):
                states, visible, targets = self._by_chunk(batch, chunk, generator)
                parts[""] = self._read(batch, states, visible, targets, rows)
            rows = rows & (batch.goal_counts > 0)
            if bool(rows.any()) and not self.model.config.one_pass:
                states = batch.goals.to(self.model.decoder.norm.weight.dtype)
                parts["whole_"] = self._read(batch, states, batch.goal_counts, batch.targets, rows)
        w = r.loss
        total = self.model.decoder.norm.weight.sum() * 0.0
        for part in parts.values():
            total = total + w.imitation * part.imitation + w.decoder * part.decoder
            total = total + w.hidden * part.hidden + w.attention * part.attention + w.language * part.language
        metrics = {
            f"{prefix}{name}": float(getattr(part, name).detach())
            for prefix, part in parts.items()
            for name in ImitationLosses.__slots__
        }
        return total, metrics | {"chunk": chunk}

    @torch.no_grad()
    def _by_chunk(self, batch: Batch, chunk: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """States by chunk, how many of each row are seen, and the targets; of some rows a beginning only."""
        lengths = feature_rows(batch.samples, self.model.config.encoder)
        heard = self.model.encoder.front.frames(lengths)
        states = self.model.encoder(self.features(batch.audio), lengths, chunk)
        log_probs = self.model.ctc(states)
        share = self.recipe.loss.prefixes
        visible, targets = cut_prefixes(batch, log_probs, heard, chunk=chunk, share=share, generator=generator)
        return states, visible, targets

    def _read(self, batch: Batch, states: Tensor, visible: Tensor, targets: Tensor, rows: Tensor) -> ImitationLosses:
        mask = inside(visible, states.shape[1])
        return imitation_losses(
            self.model.decoder,
            self.guide,
            batch.tokens[rows],
            states=states[rows],
            mask=mask[rows],
            targets=targets[rows],
            language=self.language,
        )
