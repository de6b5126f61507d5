"""Training of a translation model: a loop whose loss is the cross-entropy of the next token."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rtstream.bundle.files import MANIFEST
from rtstream.bundle.pieces import PieceTokenizer
from rtstream.bundle.text_bundle import PIECES, holds_text_model
from rtstream.bundle.text_config import text_config_from_dict, text_config_to_dict
from rtstream.engine.open import TextBundle, load_text_bundle
from rtstream.engine.torch_int8 import TorchTextEngine, text_model
from rtstream.errors import BundleError, TrainingError
from rtstream.model.config import DecoderConfig, StackConfig, TextModelConfig
from rtstream.model.names import renamed
from rtstream.nn.text_model import TextModel, set_dropout
from rtstream.training.core.loop import CHECKPOINT, Loop, read_checkpoint
from rtstream.training.core.precision import autocast
from rtstream.training.corpus.data import IGNORED
from rtstream.training.corpus.pairs import read_pairs
from rtstream.training.text.asr_noise import AsrNoise, spoken
from rtstream.training.text.data import TextBatches, shares
from rtstream.training.text.train_pieces import train_pieces
from rtstream.translation.built_in import BuiltInTranslator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rtstream.training.text.data import Pair, TextBatch
    from rtstream.training.text.recipe import Sizes, TranslationRecipe

Compiled = TypeVar("Compiled", bound=Callable[..., Any])

SAMPLE_PAIRS = 30_000
"""Of each language, what pieces and mishearings are made of: more change nothing but the time it takes."""


class TranslationTrainer(Loop):
    """One run of a translation recipe."""

    recipe: TranslationRecipe
    model: TextModel
    batches: TextBatches

    def __init__(
        self,
        recipe: TranslationRecipe,
        model: TextModel,
        batches: TextBatches,
        directory: Path,
        *,
        save_seconds: float = 600.0,
    ) -> None:
        groups = ((model.parameters(), recipe.optimizer.lr),)
        super().__init__(recipe, model, batches, directory, groups, save_seconds=save_seconds)
        set_dropout(model, recipe.model.dropout)
        self.steps = compiled(model) if recipe.compile else Steps(model.forward, token_losses)
        self.tokens = 0.0
        self.seen = 0.0

    def own_state(self) -> dict[str, Any]:
        """Sizes, and how many tokens and pairs have been learnt from."""
        return {"config": text_config_to_dict(self.model.config), "tokens": self.tokens, "pairs": self.seen}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Take ``own_state`` back. Raises KeyError where something is missing."""
        self.tokens, self.seen = state["tokens"], state["pairs"]

    def losses(self, batch: TextBatch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy a token, smoothed; the log has it as it is, and the share of tokens that come out right."""
        r = self.recipe
        torch.manual_seed(r.seed * 1_000_003 + self.step)  # dropout: a resumed run draws the same
        counts = batch.targets != IGNORED
        # Sentences are short: the fused attention's backward pass takes longer than the plain one's here.
        with (
            autocast(self.device, r.precision),
            sdpa_kernel(SDPBackend.MATH),
        ):
            hidden = self.steps.hidden(batch.source, batch.mask, batch.tokens)
            logits = self.model.decoder.logits(hidden[counts])
        total, plain, right = self.steps.losses(logits, batch.targets[counts], r.optimizer.label_smoothing)
        return total, {"loss": float(plain), "tokens_right": float(right)}

    def count(self, batch: TextBatch) -> dict[str, float]:
        """Tokens of both sides in the batches of all processes, and the share of the batch that is padding."""
        tokens = float(batch.mask.sum() + (batch.targets != IGNORED).sum())
        places = batch.mask.numel() + batch.targets.numel()
        self.tokens += tokens * self.batches.world
        self.seen += batch.mask.shape[0] * self.batches.world
        return {"tokens": tokens * self.batches.world, "padding": 1.0 - tokens / places}

    def totals(self) -> dict[str, float]:
        """Millions of tokens and of pairs."""
        return {"mtokens": self.tokens / 1e6, "mpairs": self.seen / 1e6}

    @property
    def progress(self) -> str:
        """Tokens and pairs, for a person."""
        return f"{self.tokens / 1e6:.1f} M tokens, {self.seen / 1e6:.2f} M pairs"


def token_losses(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of ``logits`` (n, vocabulary) and ``targets`` (n,): the loss, the same without smoothing, the share right."""
    scores = F.log_softmax(logits.float(), dim=-1)
    found = scores.gather(1, targets[:, None])[:, 0]
    plain = -found.mean()
    total = (1.0 - smoothing) * plain - smoothing * scores.mean()
    right = (found >= scores.amax(dim=-1)).float().mean()  # argmax takes four times as long
    return total, plain.detach(), right


class Steps(NamedTuple):
    """What a step computes: the model's ``forward`` and ``token_losses``, or these compiled."""

    hidden: Callable[[Tensor, Tensor, Tensor], Tensor]
    losses: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]


def compiled(model: TextModel) -> Steps:
    """The model's forward pass and ``token_losses``, compiled. Raises TrainingError where there is no compiler."""
    return Steps(compile_step(model.forward), compile_step(token_losses))


def compile_step(function: Compiled) -> Compiled:
    """The function compiled for batches of all sizes. Raises TrainingError where there is no C++ compiler."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        msg = f"compile = true needs a C++ compiler, and {name} is not there: install it, or set compile = false"
        raise TrainingError(msg)
    return cast("Compiled", torch.compile(function, dynamic=True))


def make_config(sizes: Sizes, vocabulary: int) -> TextModelConfig:
    """The model that a recipe asks for. Raises TrainingError where it is impossible."""
    s = sizes
    try:
        return TextModelConfig(
            StackConfig(s.d_model, s.heads, s.ffn, s.encoder_layers, s.share, s.full_rank, s.rank, s.diagonal),
            DecoderConfig(vocabulary, s.d_model, s.heads, s.ffn, s.decoder_layers, s.max_tokens),
        )
    except ValueError as error:
        msg = f"model: {error}"
        raise TrainingError(msg) from error


def load_data(recipe: TranslationRecipe, folders: Sequence[Path]) -> dict[str, list[Pair]]:
    """The pairs of each language. Raises TrainingError naming a file that is broken or in none of the folders."""
    data = {}
    for language, names in recipe.data.files.items():
        rows: list[Pair] = []
        for name in names:
            found = [folder / name for folder in folders if (folder / name).is_file()]
            if not found:
                msg = f"{name}: in none of {', '.join(map(str, folders))}"
                raise TrainingError(msg)
            rows += read_pairs(found[0], recipe.data.sources)
        data[language] = rows
    return data


def make_translation_trainer(
    recipe: TranslationRecipe,
    *,
    directory: Path,
    texts: Sequence[Path],
    start: tuple[TextModel, PieceTokenizer] | None = None,
    rank: int = 0,
    world: int = 1,
) -> TranslationTrainer:
    """A trainer ready to run, resumed where ``directory`` holds a checkpoint of the recipe.

    ``start`` is another run's model and pieces, nothing learnt by default; it counts for a new run only. ``texts``:
    folders of the pair files, the first that has one counts. Resuming is exact as long as the files are the same.
    Raises TrainingError and BundleError naming what is missing or does not fit.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = load_data(recipe, texts)
    path = directory / PIECES
    resumed = (directory / CHECKPOINT).exists()
    if start is not None and not resumed:
        _check_start(*start, recipe)
    if rank == 0 and not resumed:
        if start is not None:
            start[1].save(path)
        elif not path.exists():
            train_pieces(vocabulary_texts(data), tuple(data), recipe.model.vocabulary).save(path)
    if world > 1:
        dist.barrier()
    tokenizer = PieceTokenizer.load(path)
    config = make_config(recipe.model, len(tokenizer))
    if resumed and load_translation_checkpoint(directory / CHECKPOINT)[0].config != config:
        msg = f"{directory / CHECKPOINT}: its model has other sizes than the recipe: choose another directory"
        raise TrainingError(msg)
    torch.manual_seed(recipe.seed)
    sizes = {language: len(rows) for language, rows in data.items()}
    batches = TextBatches(
        data,
        tokenizer,
        recipe.noise,
        AsrNoise.of({spoken(english) for rows in data.values() for english, _ in sample(rows)}),
        pairs=recipe.optimizer.pairs,
        share=shares(sizes, recipe.data.temperature, recipe.data.least_share),
        seed=recipe.seed,
        max_tokens=recipe.model.max_tokens,
        rank=rank,
        world=world,
    )
    model = TextModel(config) if start is None or resumed else start[0]
    trainer = TranslationTrainer(recipe, model, batches, directory)
    trainer.resume()
    return trainer


def _check_start(model: TextModel, tokenizer: PieceTokenizer, recipe: TranslationRecipe) -> None:
    """Raise TrainingError where a start has not the sizes that the recipe asks for, or not its languages."""
    got, wanted = asdict(model.config), asdict(make_config(recipe.model, recipe.model.vocabulary))
    for part in ("encoder", "decoder"):
        for name, size in wanted[part].items():
            if got[part][name] != size:
                msg = f"--from: its {part} has {name} {got[part][name]}, the recipe {size}: they must agree"
                raise TrainingError(msg)
    for language in recipe.data.files:
        if language not in tokenizer.languages:
            known = ", ".join(tokenizer.languages)
            msg = f"--from: it translates into {known}, not into {language}: take that out of the recipe"
            raise TrainingError(msg)


def sample(rows: Sequence[Pair]) -> Sequence[Pair]:
    """About ``SAMPLE_PAIRS`` of the pairs, from everywhere."""
    return rows[:: max(1, len(rows) // SAMPLE_PAIRS)]


def vocabulary_texts(data: Mapping[str, Sequence[Pair]]) -> Iterator[str]:
    """What the pieces are made of: as many lines of each language, English as written and as it is recognised."""
    for rows in data.values():
        for index, (english, translation) in enumerate(sample(rows)):
            yield translation
            if index % 2:
                yield english if index % 4 == 1 else spoken(english)


def load_translation_checkpoint(path: Path) -> tuple[TextModel, PieceTokenizer]:
    """The averaged model of a run's directory or checkpoint and the tokenizer beside it.

    Raises TrainingError where it is no checkpoint of a translation run, BundleError where its tokenizer is broken.
    """
    path = path / CHECKPOINT if path.is_dir() else path
    state = read_checkpoint(path, torch.device("cpu"))
    try:
        model = TextModel(text_config_from_dict(state["config"]))
        model.load_state_dict(renamed(state["model"] | state["average"]))
    except (RuntimeError, TypeError, BundleError) as error:
        msg = f"{path}: not a checkpoint of a translation run: {error}"
        raise TrainingError(msg) from error
    return model, PieceTokenizer.load(path.parent / PIECES)


def load_translation_start(path: Path) -> tuple[TextModel, PieceTokenizer]:
    """Model and pieces of a run's directory, its checkpoint, or a bundle, as ``load_start`` for speech.

    Raises TrainingError or BundleError naming what is wrong with it.
    """
    if not holds_text_model(path):
        msg = f"{path}: no model that translates ({PIECES} is missing): name a translation run or bundle"
        raise TrainingError(msg)
    if (path / MANIFEST).exists():
        bundle = load_text_bundle(path, "float")
        return text_model(bundle.engine).requires_grad_(requires_grad=True), bundle.tokenizer
    return load_translation_checkpoint(path)


def open_run_or_bundle(path: Path, engine: str, beam: int) -> BuiltInTranslator:
    """A translator of a bundle, or of the averaged weights of a run, as they are. Raises an RtstreamError."""
    if not holds_text_model(path) or (path / MANIFEST).is_file():
        return BuiltInTranslator.open(path, beam=beam, engine=engine)
    model, pieces = load_translation_checkpoint(path)
    model.eval().requires_grad_(requires_grad=False)
    return BuiltInTranslator(TextBundle(path.name, pieces, TorchTextEngine(model)), beam=beam)
