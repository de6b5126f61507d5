"""What ``rtstream model export`` does: a run's averaged weights, or those of another bundle, written as a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rtstream.bundle.bundle import ENGLISH
from rtstream.bundle.files import CARD, MANIFEST
from rtstream.bundle.text_bundle import holds_text_model
from rtstream.engine.open import Bundle, load_bundle, load_text_bundle
from rtstream.engine.torch_int8 import TorchSpeechEngine, speech_model, text_model
from rtstream.errors import BundleError
from rtstream.export.bundles import save_bundle, save_text_bundle
from rtstream.export.rounding import Rounding, on_lattice, rounded_tensors, unchanged
from rtstream.nn.averaging import mean_weights
from rtstream.nn.quantized import rounded_names
from rtstream.recognizer.guard import guard_of, with_thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rtstream.bundle.pieces import PieceTokenizer
    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.model import SpeechModel
    from rtstream.nn.text_model import TextModel
    from rtstream.training.corpus.data import Clip


def export(
    source: Path,
    target: Path,
    name: str,
    card: Path | None,
    *,
    rounding: Rounding,
    guard: Mapping[str, Any] | None = None,
    languages: Sequence[str] = (),
    clips: Sequence[Clip] = (),
    rounded_as: Path | None = None,
    lattice: Path | None = None,
    others: Sequence[Path] = (),
    one_pass: bool = False,
) -> None:
    """Write the model of ``source`` as the bundle ``target``, its matrices rounded as ``rounding`` says.

    ``others``: runs or bundles of the same structure, with whose weights the mean is taken. ``card``: the model card,
    by default that of the source. ``guard``: thresholds that the model wants otherwise than usual, besides those that a
    bundle has already. ``languages``: those that it is for, by default a bundle's own, of a run English. ``clips`` are
    recognised first, and the matrices rounded for the least error on them. ``rounded_as``: a bundle some of whose
    matrices the source still has, and keeps as they are there. ``lattice``: the bundle whose numbers the source has
    learnt to be. ``one_pass``: what is written knows chunks alone. Raises BundleError or TrainingError where the source
    is neither a run nor a bundle, or has no card.
    """
    text = _card(card or source / CARD)
    if holds_text_model(source):
        if guard or clips or rounded_as or lattice or others or one_pass or rounding != Rounding(rounding.bits):
            msg = f"{source} translates: of the options that round it takes --bits alone, and no --guard or --mean-with"
            raise BundleError(msg)
        translation, pieces = _translation(source)
        save_text_bundle(target, name, translation, pieces, text, rounding=rounding)
    else:
        model, tokenizer, own, spoken = _speech(source)
        if others:
            model = mean_weights([model, *(_alike(path, model, tokenizer) for path in others)])
        if one_pass:
            model = _one_pass(model)
        thresholds = with_thresholds(own, guard or {})
        guard_of(thresholds, target)
        tokenizer.check_languages(languages, f"--languages of {source}")
        if clips:
            from rtstream.export.calibrate import input_grams  # noqa: PLC0415 - as below

            computing = TorchSpeechEngine(model.eval())
            whole = Bundle(name, source, model.config, tokenizer, computing, thresholds, tuple(languages or spoken))
            rounding = replace(rounding, grams=input_grams(whole, clips))
        if rounded_as is not None:
            kept = unchanged(model.state_dict(), rounded_tensors(rounded_as))
            if kept.keys().isdisjoint(rounded_names(model)):
                msg = f"{rounded_as}: none of its matrices is one of {source}: name the bundle where the run began"
                raise BundleError(msg)
            rounding = replace(rounding, kept=kept)
        if lattice is not None:
            rounding = replace(rounding, kept=on_lattice(model, rounded_tensors(lattice)))
        save_bundle(
            target, name, model, tokenizer, text, rounding=rounding, guard=thresholds, languages=languages or spoken
        )


def _one_pass(model: SpeechModel) -> SpeechModel:
    """The model by chunks alone, without the private parts of matrices that nobody shares then."""
    from rtstream.training.speech.initialization import chunks_alone, unshared  # noqa: PLC0415 - as below

    alone = chunks_alone(model)
    return unshared(alone) if alone.config.encoder.share == 1 else alone


def _alike(path: Path, model: SpeechModel, tokenizer: Tokenizer) -> SpeechModel:
    """The model at ``path``. Raises BundleError where it is not of the structure and the tokens of the other."""
    other, tokens, *_ = _speech(path)
    for what, got, wanted in (("sizes", other.config, model.config), ("tokens", tokens, tokenizer)):
        if got != wanted:
            msg = f"{path}: it has other {what} than the model that is exported: name a run that went on from it"
            raise BundleError(msg)
    return other


def _card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: no model card there ({type(error).__name__}): name one with --card"
        raise BundleError(msg) from error


def _translation(source: Path) -> tuple[TextModel, PieceTokenizer]:
    if (source / MANIFEST).is_file():
        bundle = load_text_bundle(source, "float")
        return text_model(bundle.engine), bundle.tokenizer
    # Only here: a machine that runs models has no need of what training needs.
    from rtstream.training.text.translation import load_translation_checkpoint  # noqa: PLC0415

    return load_translation_checkpoint(source)


def _speech(source: Path) -> tuple[SpeechModel, Tokenizer, Mapping[str, Any], Sequence[str]]:
    if (source / MANIFEST).is_file():
        bundle = load_bundle(source, "float")
        return speech_model(bundle.engine), bundle.tokenizer, bundle.guard, bundle.languages
    from rtstream.training.speech.run import load_start  # noqa: PLC0415 - as above

    return (*load_start(source), {}, ENGLISH)
