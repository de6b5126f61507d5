"""Training of what translates speech straight from the recogniser's states.

A translation model of text stays as it is, its decoder and its shared matrices too; learnt are the states' way in and
private parts of the layers. So one decoder serves both, and what it learnt of the languages from hundreds of thousands
of pairs need not be learnt from speech, of which hardly any is translated (arXiv 2010.12829 does so with larger ones).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rtstream.bundle.pieces import PAD_ID
from rtstream.bundle.text_bundle import PIECES
from rtstream.bundle.text_config import text_config_to_dict
from rtstream.engine.open import TextBundle
from rtstream.engine.torch_int8 import TorchTextEngine
from rtstream.errors import TrainingError
from rtstream.model.config import SpeechInputConfig
from rtstream.nn.text_model import TextModel, with_speech
from rtstream.recognizer.context import FRAMES_PER_SECOND
from rtstream.training.core.loop import Loop
from rtstream.training.core.precision import autocast
from rtstream.training.corpus.data import IGNORED, find_shard
from rtstream.training.speech.distill import inside
from rtstream.training.speech.run import teach_sources
from rtstream.training.speech.whisper import load_whisper
from rtstream.training.text.spoken_data import SpokenBatches, translated
from rtstream.training.text.translation import compile_step, token_losses
from rtstream.translation.built_in import BuiltInTranslator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.bundle.pieces import PieceTokenizer
    from rtstream.training.corpus.data import Clip
    from rtstream.training.speech.run import TeachingReport
    from rtstream.training.text.spoken_data import SpokenBatch
    from rtstream.training.text.spoken_recipe import SpokenRecipe

TEXTS = "translations.jsonl"
"""In the run's directory: what the model for text made of the clips' English."""


class SpokenTrainer(Loop):
    """One run of a recipe of speech translation; ``model`` has a speech part, which alone learns."""

    recipe: SpokenRecipe
    model: TextModel
    batches: SpokenBatches

    def __init__(
        self,
        recipe: SpokenRecipe,
        model: TextModel,
        batches: SpokenBatches,
        directory: Path,
        *,
        save_seconds: float = 600.0,
    ) -> None:
        assert model.speech is not None
        model.requires_grad_(requires_grad=False)
        model.speech.requires_grad_(requires_grad=True)
        groups = ((model.speech.parameters(), recipe.optimizer.lr),)
        super().__init__(recipe, model, batches, directory, groups, save_seconds=save_seconds)
        for layer in model.speech.layers:
            layer.dropout = recipe.dropout
        self._read, self._losses = self.read, token_losses
        if recipe.compile:
            self._read, self._losses = compile_step(self.read), compile_step(token_losses)
        self.seconds = 0.0

    def read(self, states: Tensor, languages: Tensor, mask: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's output (batch, m, d_model), and the rows of speech (batch, n, d_model)."""
        assert self.model.speech is not None
        rows = self.model.speech.stacked(states)
        heard = self.model.hear(rows, languages, mask)
        return self.model.decoder.hidden(tokens, heard, mask), rows

    def losses(self, batch: SpokenBatch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy a token, smoothed, and CTC of the English pieces a piece, weighted."""
        r = self.recipe
        torch.manual_seed(r.seed * 1_000_003 + self.step)  # dropout: a resumed run draws the same
        counts = -(-batch.counts // r.stack)
        rows = inside(counts, -(-batch.states.shape[1] // r.stack))
        mask = F.pad(rows, (1, 0), value=True)
        wanted = batch.targets != IGNORED
        with autocast(self.device, r.precision), sdpa_kernel(SDPBackend.MATH):
            hidden, speech = self._read(batch.states, batch.languages, mask, batch.tokens)
            logits = self.model.decoder.logits(hidden[wanted])
            pieces = F.linear(speech, self.model.decoder.embedding.weight) if r.pieces > 0 else None
        total, plain, right = self._losses(logits, batch.targets[wanted], r.optimizer.label_smoothing)
        metrics = {"loss": float(plain), "tokens_right": float(right)}
        if pieces is not None:
            ctc = _piece_loss(pieces, counts, batch)
            total = total + r.pieces * ctc
            metrics["ctc"] = float(ctc.detach())
        return total, metrics

    def count(self, batch: SpokenBatch) -> dict[str, float]:
        """Seconds of speech in the batches of all processes."""
        seconds = float(batch.counts.sum()) / FRAMES_PER_SECOND * self.batches.world
        self.seconds += seconds
        return {"seconds": seconds, "tokens": float((batch.targets != IGNORED).sum()) * self.batches.world}

    def totals(self) -> dict[str, float]:
        """Hours of speech."""
        return {"hours": self.seconds / 3600}

    @property
    def progress(self) -> str:
        """Hours of speech, for a person."""
        return f"{self.seconds / 3600:.2f} h of speech"

    def resume(self) -> bool:
        """As ``Loop.resume``, but what translates text is that of the start, not of the checkpoint."""
        text = {name: tensor.clone() for name, tensor in self.model.state_dict().items() if not _speech(name)}
        found = super().resume()
        self.model.load_state_dict(text, strict=False)
        self.average |= {name: text[name] for name in self.average.keys() & text.keys()}
        return found

    def own_state(self) -> dict[str, Any]:
        """Sizes and seconds of speech."""
        return {"config": text_config_to_dict(self.model.config), "audio_seconds": self.seconds}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Take ``own_state`` back. Raises KeyError where something is missing."""
        self.seconds = state["audio_seconds"]


def _speech(name: str) -> bool:
    return name.startswith("speech.")


def _piece_loss(scores: Tensor, counts: Tensor, batch: SpokenBatch) -> Tensor:
    """CTC a piece, the padding's piece being the blank, of clips that are long enough for their pieces."""
    log_probs = F.log_softmax(scores.float(), dim=-1).transpose(0, 1)
    losses = F.ctc_loss(
        log_probs, batch.pieces, counts, batch.piece_counts, blank=PAD_ID, reduction="none", zero_infinity=True
    )
    return losses.sum() / batch.piece_counts.sum().clamp(min=1)


def make_spoken_trainer(
    recipe: SpokenRecipe,
    *,
    directory: Path,
    audio: Sequence[Path],
    teacher_directory: Path,
    taught: Path,
    start: tuple[TextModel, PieceTokenizer] | None,
    rank: int = 0,
    world: int = 1,
    report: TeachingReport = lambda *_: None,
) -> SpokenTrainer:
    """A trainer ready to run, resumed where ``directory`` holds a checkpoint of the recipe.

    ``start`` is the model for text, needed to resume too: a run that goes on with another one keeps what it has learnt
    of speech. A new run begins with the part for speech that it may have. ``audio``: folders of the shards, the first
    that has one counts. Raises TrainingError and BundleError naming what is missing or does not fit.
    """
    if start is None:
        raise TrainingError("--from: a recipe of speech translation needs the run or bundle that translates text")
    directory.mkdir(parents=True, exist_ok=True)
    text, tokenizer = start
    if rank == 0:
        tokenizer.save(directory / PIECES)
    teacher = load_whisper(teacher_directory)
    sources = {name: find_shard(audio, name) for name in recipe.sources}
    # What people translated is written as they did: the teacher need not write it.
    unwritten = {name: [_unwritten(clip) for clip in clips] for name, clips in sources.items()}
    heard = teach_sources(recipe, unwritten, teacher, taught, report)
    languages = tuple(tokenizer.languages)
    translator = BuiltInTranslator(TextBundle("start", tokenizer, TorchTextEngine(text.eval())))
    path = directory / TEXTS if rank == 0 else directory / f"{TEXTS}.{rank}"
    said = {
        name: translated(clips, translator, languages, path, partial(report, f"{name}, translation"))
        for name, clips in heard.items()
    }
    torch.manual_seed(recipe.seed)
    model = with_speech(text, SpeechInputConfig(teacher.d_model, recipe.stack))
    if world > 1:
        dist.barrier()
    batches = SpokenBatches(
        {name: (said[name], weight) for name, weight in recipe.sources.items()},
        tokenizer,
        languages=languages,
        seconds=recipe.optimizer.seconds,
        human=recipe.human,
        most=text.config.decoder.max_tokens,
        stack=recipe.stack,
        seed=recipe.seed,
        rank=rank,
        world=world,
    )
    trainer = SpokenTrainer(recipe, model, batches, directory)
    trainer.resume()
    return trainer


def _unwritten(clip: Clip) -> Clip:
    """The clip without a text for the teacher to put in its style, where people wrote it and translated that."""
    return replace(clip, text=None) if clip.translations else clip
