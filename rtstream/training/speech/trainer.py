"""Training of the recognition network: a loop whose losses are those of ``distill``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from rtstream.events import SAMPLE_RATE
from rtstream.nn.quantized import convolutions, rounded_names
from rtstream.nn.residual_linear import ResidualLinear
from rtstream.recognizer.context import context_samples
from rtstream.training.core.precision import autocast
from rtstream.training.corpus.augment import spec_augment
from rtstream.training.speech.distill import Losses, imitated, losses, rehearsal
from rtstream.training.speech.initialization import set_fade
from rtstream.training.speech.loop import SpeechLoop

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from rtstream.nn.decoder import Decoder
    from rtstream.nn.model import SpeechModel
    from rtstream.training.corpus.data import Batch, Batches
    from rtstream.training.speech.lattice import Lattice
    from rtstream.training.speech.recipe import Optimizer, Recipe


FULL_CONTEXT = 1.25
"""Audio of a full-context step with its padding, to that of a batch."""


def _groups(model: SpeechModel, o: Optimizer) -> list[tuple[list[nn.Parameter], float]]:
    """What learns, and at which full rate."""
    shared = {id(p) for group in model.encoder.groups for p in group.parameters()} if o.shared_lr else set()
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    heads = [p for head in _heads(model) for p in head.parameters() if p.requires_grad]
    groups = [
        ([p for p in encoder if id(p) not in shared], o.encoder_lr),
        (heads, o.ctc_lr),
        ([p for p in model.decoder.parameters() if p.requires_grad], o.decoder_lr),
    ]
    return [*groups, ([p for p in encoder if id(p) in shared], o.shared_lr)] if shared else groups


def _heads(model: SpeechModel) -> list[nn.Module]:
    return [head for head in (model.ctc, model.voice) if head is not None]


def _fix(model: SpeechModel, recipe: Recipe) -> None:
    """Let alone what the recipe does not train."""
    o = recipe.optimizer
    kept = rounded_names(model) | convolutions(model) if recipe.rounded else set()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in kept
    fixed: list[nn.Module] = []
    # A rounded run makes up for its rounding in both passes, if it hears both.
    if model.encoder.whole is not None and not (recipe.rounded and 0 in recipe.chunks):
        fixed += [model.encoder.front, *(() if o.shared_lr else model.encoder.groups)]
        # Full context is kept as it is: chunks learn beside it.
        if not model.config.encoder.whole_rank and not recipe.lattice:
            fixed.append(model.encoder.whole)
    for rate, parts in ((o.encoder_lr, [model.encoder]), (o.decoder_lr, [model.decoder]), (o.ctc_lr, _heads(model))):
        fixed += () if rate else parts
    if recipe.decoder.layers or recipe.decoder.guided or recipe.lattice:
        # Tokens that are rarely said would drift: Adam's steps are as large for them.
        fixed.append(model.decoder.embedding)
    for part in fixed:
        part.requires_grad_(requires_grad=False)


def _figures(parts: Losses) -> dict[str, float]:
    figures = {"distance": parts.distance, "ctc": parts.ctc, "voice": parts.voice}
    figures |= {name: getattr(parts.read, name) for name in ("decoder", "imitation", "hidden", "attention")}
    return {name: float(figure.detach()) for name, figure in figures.items()}


class Trainer(SpeechLoop):
    """One run of a speech recipe."""

    def __init__(
        self,
        recipe: Recipe,
        model: SpeechModel,
        guide: Decoder | None,
        batches: Batches,
        directory: Path,
        *,
        save_seconds: float = 600.0,
        lattice: Lattice | None = None,
    ) -> None:
        _fix(model, recipe)
        self._lattice = lattice
        if lattice is not None:
            lattice.begin(model)
        groups = _groups(model, recipe.optimizer)
        super().__init__(recipe, model, batches, directory, groups, save_seconds=save_seconds)
        self._encoder_learns = [p for p in model.encoder.parameters() if p.requires_grad]
        self.guide = guide.eval().requires_grad_(requires_grad=False).to(self.device) if guide is not None else None
        for private in self._privates().values():  # what fades out is a plain attribute, not a parameter
            if private.fading is not None:
                private.fading = private.fading.to(self.device)

    def _privates(self) -> dict[str, ResidualLinear]:
        return {name: module for name, module in self.model.named_modules() if isinstance(module, ResidualLinear)}

    def own_state(self) -> dict[str, Any]:
        """Sizes, seconds of audio, and what fades out."""
        fading = {name: private.fading for name, private in self._privates().items() if private.fading is not None}
        return super().own_state() | {"fading": fading}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Take ``own_state`` back. Raises KeyError where something is missing."""
        for name, private in self._privates().items():
            private.fading = state["fading"].get(name)
        super().set_own_state(state)

    def computing(self) -> AbstractContextManager[None]:
        """With matrices as they are rounded, where the recipe says so."""
        return nullcontext() if self._lattice is None else self._lattice.seen(self.model)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of the recipe's losses, and each of them."""
        r = self.recipe
        if self.step < r.heads_first:
            return self._heads_losses(batch)
        batch = batch.rounded_up()
        generator, frames = self.draw()
        chunk = frames or None

        def features(audio: Tensor) -> Tensor:
            mel: Tensor = self.features(audio)
            return spec_augment(mel, generator) if r.spec_augment else mel

        encoder = self._encoder_step()
        if chunk is None:  # short clips are mostly padding then: a step would take several times as long
            batch = batch.first(self._rows_in_full_context(batch))
        set_fade(self.model.encoder, max(0.0, 1.0 - self.step / r.fade_steps) if r.fade_steps else 0.0)
        with autocast(self.device, r.precision):
            theirs = None if self.guide is None else imitated(self.guide, batch)
            parts = losses(
                self.model,
                features,
                batch,
                chunk=chunk,
                theirs=theirs,
                label_smoothing=r.loss.label_smoothing,
                generator=generator,
                prefixes=r.loss.prefixes if self.step >= r.loss.prefixes_from else 0.0,
            )
            total, whole = self._weighted(parts), parts
            # Where the encoder stays, what full context gives is heard in the batches that have it.
            if self.model.encoder.whole is not None and not (r.rounded or r.lattice) and encoder:
                whole = rehearsal(self.model, batch, theirs=theirs, label_smoothing=r.loss.label_smoothing)
                total = total + self._weighted(whole)
        return total, {
            **_figures(parts),
            **{f"whole_{name}": figure for name, figure in _figures(whole).items() if name != "distance"},
            "tokens_right": float(parts.read.right),
            "chunk": chunk or 0,
        }

    def _encoder_step(self) -> bool:
        """Whether the encoder learns, in this step or a later one; it ends as the mean that is kept of it."""
        r = self.recipe
        end = r.encoder_until or r.optimizer.steps
        for parameter in self._encoder_learns:
            parameter.requires_grad = r.encoder_from <= self.step < end
        if self.step == end:
            self.model.load_state_dict(
                {name: mean for name, mean in self.average.items() if name.startswith("encoder.")}, strict=False
            )
        return r.optimizer.encoder_lr > 0 and self.step < end

    def _weighted(self, parts: Losses) -> Tensor:
        w, read = self.recipe.loss, parts.read
        heads = w.distance * parts.distance + w.ctc * parts.ctc + w.voice * parts.voice
        return (
            heads
            + w.decoder * read.decoder
            + w.imitation * read.imitation
            + w.hidden * read.hidden
            + w.attention * read.attention
        )

    def _heads_losses(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Those of the heads alone, over the teacher's kept states: CTC from scratch is slow, and this costs little."""
        w = self.recipe.loss
        with autocast(self.device, self.recipe.precision):
            heads = rehearsal(self.model, batch, theirs=None, label_smoothing=0.0)
        figures = {"whole_ctc": float(heads.ctc.detach()), "whole_voice": float(heads.voice.detach())}
        return w.ctc * heads.ctc + w.voice * heads.voice, figures

    def _rows_in_full_context(self, batch: Batch) -> int:
        samples = context_samples(batch.audio.shape[1], self.model.config.encoder)
        return max(1, int(FULL_CONTEXT * self.recipe.optimizer.seconds * SAMPLE_RATE / samples))
