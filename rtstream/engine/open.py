"""Bundles as what recognises and translates has them: checked, and with an engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rtstream.bundle.bundle import ENGLISH, TOKENIZER, read_manifest
from rtstream.bundle.files import WEIGHTS, checksum, read_tensors
from rtstream.bundle.text_bundle import PIECES, read_text_manifest
from rtstream.bundle.tokenizer import Tokenizer
from rtstream.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rtstream.bundle.pieces import PieceTokenizer
    from rtstream.engine.base import SpeechEngine, TextEngine
    from rtstream.model.config import ModelConfig


ONNX, TORCH = "onnx", "torch"
"""Names of engines: ONNX Runtime's, and torch's by the kernel that is best here."""
DEFAULT = ONNX
"""On every processor, whatever else is installed: docs/engine.md says why."""
AUTO = "auto"
"""What settings of before may have for the default."""


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    ``guard``: the thresholds of the guard, by their names, that this model wants otherwise than they usually are; those
    for single languages below ``languages``. ``languages``: those that it is for, ISO 639-1 codes.
    """

    name: str
    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    engine: SpeechEngine
    guard: Mapping[str, Any]
    languages: tuple[str, ...] = ENGLISH

    @property
    def bytes(self) -> int:
        """Size of the weights' file."""
        return (self.path / WEIGHTS).stat().st_size


@dataclass(frozen=True)
class TextBundle:
    """A loaded translation model."""

    name: str
    tokenizer: PieceTokenizer
    engine: TextEngine


def load_bundle(path: Path, engine: str = DEFAULT, *, threads: int | None = None) -> Bundle:
    """Read and check a bundle.

    ``engine``: ``onnx``; ``torch``, by the int8 kernel that is best here, the name of another, or ``float``; ``auto``
    is onnx. ``threads`` that compute; torch's for the whole process, by default as many as before. Raises BundleError
    naming what is missing, foreign, of another version, truncated or changed.
    """
    name, config, weights, guard, languages = read_manifest(path)
    tokenizer = Tokenizer.load(path / TOKENIZER)
    if len(tokenizer) != config.decoder.vocabulary:
        msg = (
            f"{path}: {len(tokenizer)} tokens in {TOKENIZER}, {config.decoder.vocabulary} in the decoder: copy it again"
        )
        raise BundleError(msg)
    tokenizer.check_languages(languages, f"{path}: languages")
    if engine in {ONNX, AUTO}:
        from rtstream.engine.ort.open import open_speech  # noqa: PLC0415 - what others do without

        load = partial(read_tensors, path / WEIGHTS, config, weights)
        return Bundle(
            name,
            path,
            config,
            tokenizer,
            open_speech(config, load, f"{checksum(path, WEIGHTS)} {weights}", threads or 1),
            guard,
            languages,
        )
    open_engine = _torch(engine)
    state = read_tensors(path / WEIGHTS, config, weights)
    opened = open_engine(
        config, state, "auto" if engine == TORCH else engine, int8=weights != "float16", threads=threads
    )
    return Bundle(name, path, config, tokenizer, opened, guard, languages)


def load_text_bundle(path: Path, engine: str = DEFAULT, *, threads: int | None = None) -> TextBundle:
    """Read and check a translation model, as ``load_bundle``."""
    from rtstream.bundle.pieces import PieceTokenizer  # noqa: PLC0415 - a library of which only translation has need

    name, config, weights = read_text_manifest(path)
    tokenizer = PieceTokenizer.load(path / PIECES)
    if len(tokenizer) != config.decoder.vocabulary:
        msg = f"{path}: {len(tokenizer)} pieces in {PIECES}, {config.decoder.vocabulary} in the model: copy it again"
        raise BundleError(msg)
    if engine in {ONNX, AUTO}:
        from rtstream.engine.ort.open import open_text  # noqa: PLC0415 - as above

        load = partial(read_tensors, path / WEIGHTS, config, weights)
        return TextBundle(
            name, tokenizer, open_text(config, load, f"{checksum(path, WEIGHTS)} {weights}", threads or 1)
        )
    open_engine = _torch(engine)
    state = read_tensors(path / WEIGHTS, config, weights)
    return TextBundle(
        name,
        tokenizer,
        open_engine(config, state, "auto" if engine == TORCH else engine, int8=weights != "float16", threads=threads),
    )


def _torch(engine: str) -> Any:  # noqa: ANN401 - the function that opens its engines
    try:
        from rtstream.engine.torch_int8 import open_engine  # noqa: PLC0415 - seconds that others do without
    except ImportError as error:
        msg = f"engine {engine!r} needs torch, which is not installed: pip install 'rtstream[torch]', or choose onnx"
        raise BundleError(msg) from error
    return open_engine
