"""Models of the user's own, converted for CTranslate2: OPUS-MT (one language or several), NLLB, M2M-100.

The converters are CTranslate2's, see https://opennmt.net/CTranslate2/guides/transformers.html. SentencePiece's models
must lie in the same directory, where the converters put them if told so (``--copy_files source.spm target.spm``).
"""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtstream.errors import TranslationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from rtstream.errors import RtstreamError

INSTALL = "pip install 'rtstream[ctranslate2]'"
MODEL = "model.bin"
SOURCE_LANGUAGE = "en"
BEAM = 2
MOST_PIECES = 500
"""Of one text: the models know positions up to 512. Half a minute of fast speech is 150."""
SPARE_PIECES = 10
"""A translation may have twice as many pieces as its source, and these; what is longer is a loop."""
MOST_TOLD = 20
"""Languages that an error lists."""
LARGEST_DISTANCE = 4
"""Between tags, as langcodes measures it: Norwegian is as near as Bokmål (1), Serbian in Latin letters is not (5)."""

_OF_TARGET = re.compile(r"__([a-z]{2,3})__|([a-z]{3}_[A-Z][a-z]{3})")
"""The tokens for languages of M2M-100 and NLLB, which stand before the source and before the target."""
_OF_SOURCE = re.compile(r">>(\w+)<<")
"""Those of OPUS-MT's models of several languages: the target's stands before the source."""

_REGION = re.compile(r"-([A-Z]{2}|[0-9]{3})$")


@dataclass(frozen=True, slots=True)
class _Frame:
    """Tokens that tell the model the languages, before the source and before the target."""

    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()


class CTranslate2Translator:
    """A model, as :class:`~rtstream.translation.translator.Translator`. Made by :meth:`open`."""

    def __init__(
        self,
        directory: Path,
        model: Any,  # noqa: ANN401 - neither package has types, here and below
        pieces: tuple[Any, Any],
        frames: Mapping[str, _Frame],
        *,
        closing: tuple[str, ...],
        beam: int,
    ) -> None:
        self._directory = directory
        self._model = model
        self._source, self._target = pieces
        self._frames = dict(frames)
        self._closing = closing
        self._beam = beam

    @classmethod
    def open(
        cls, directory: Path, languages: Iterable[str], *, threads: int = 1, beam: int = BEAM
    ) -> CTranslate2Translator:
        """Load a model for ``languages``. ``threads`` compute a translation, the best of ``beam`` hypotheses is it.

        A model without tokens for languages has one target, which nothing in the directory tells: it is taken to be
        the only one of ``languages``. Raises TranslationError.
        """
        engine = load_package("ctranslate2")
        if not (directory / MODEL).is_file():
            raise TranslationError(
                f"{directory}: no {MODEL} here: give a directory that CTranslate2's converters wrote"
            )
        frames = _frames(directory, tuple(languages), _vocabulary(directory))
        pieces = _sentencepiece(directory)
        settings = _read_json(directory / "config.json")
        end = settings.get("eos_token", "</s>")
        # Models of Transformers are trained with the source's end, which Marian's own converter says by add_source_eos.
        closes = not settings.get("add_source_eos") and settings.get("decoder_start_token") == end
        try:
            model = engine.Translator(str(directory), device="cpu", inter_threads=1, intra_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise TranslationError(f"{directory}: CTranslate2 cannot load this model: {error}") from None
        return cls(directory, model, pieces, frames, closing=(end,) if closes else (), beam=beam)

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that it was opened for."""
        return tuple(self._frames)

    def translate(self, text: str, language: str, prefix: str = "") -> str:
        """As :class:`~rtstream.translation.translator.Translator` says."""
        frame = self._frames.get(language)
        if frame is None:
            known = ", ".join(self._frames)
            raise TranslationError(f"{self._directory}: was opened for {known}, not for '{language}'")
        source = self._source.encode(text, out_type=str)[:MOST_PIECES]
        if not source:
            return prefix
        forced = self._target.encode(prefix, out_type=str)
        (result,) = self._model.translate_batch(
            [[*frame.source, *source, *self._closing]],
            target_prefix=[[*frame.target, *forced]],
            beam_size=self._beam,
            max_decoding_length=len(forced) + 2 * len(source) + SPARE_PIECES,
            disable_unk=True,
        )
        written = filter(_is_text, result.hypotheses[0][len(frame.target) + len(forced) :])
        # The prefix stays letter for letter, also where the vocabulary lacks some of its pieces.
        known, whole = self._target.decode(forced), self._target.decode([*forced, *written])
        return prefix + str(whole[len(known) :]).rstrip()


def _frames(directory: Path, languages: Sequence[str], vocabulary: Iterable[str]) -> dict[str, _Frame]:
    """What to tell the model for each language. Raises TranslationError for one that it does not know."""
    of_target, of_source = {}, {}
    for token in vocabulary:
        if match := _OF_TARGET.fullmatch(token):
            of_target[_tag(match[1] or match[2])] = token
        elif match := _OF_SOURCE.fullmatch(token):
            of_source[_tag(match[1])] = token
    tokens = of_target or of_source
    if not tokens:
        if len(languages) != 1:
            raise TranslationError(
                f"{directory}: this model translates into a single language, but {', '.join(languages)} are asked for: "
                "name a model for each (translation.models, --translation-model LANGUAGE=DIRECTORY)"
            )
        return {languages[0]: _Frame()}
    found = {language: tokens[_nearest(directory, language, tokens)] for language in languages}
    if of_source and not of_target:
        return {language: _Frame(source=(token,)) for language, token in found.items()}
    source = tokens[_nearest(directory, SOURCE_LANGUAGE, tokens)]
    return {language: _Frame((source,), (token,)) for language, token in found.items()}


def _is_text(token: str) -> bool:
    """Whether a token is no language's, which models write now and then."""
    return _OF_TARGET.fullmatch(token) is None and _OF_SOURCE.fullmatch(token) is None


def _tag(name: str) -> str:
    """A BCP 47 tag of a model's name for a language, such as ``kor_Hang``: the registry says Kore for Korean."""
    return name.replace("_", "-").replace("-Hang", "-Kore")


def _nearest(directory: Path, language: str, tags: Collection[str]) -> str:
    """The tag that means a language. Models count in ISO 639-3, and in parts of macrolanguages: ``arb`` for ``ar``."""
    closest = load_package("langcodes").closest_match
    tag, _ = closest(language, list(tags), max_distance=LARGEST_DISTANCE)
    if tag not in tags:
        tag, _ = closest(_REGION.sub("", language), list(tags), max_distance=LARGEST_DISTANCE)
    if tag not in tags:
        known = ", ".join(sorted(tags)[:MOST_TOLD]) + (" and more" if len(tags) > MOST_TOLD else "")
        raise TranslationError(f"{directory}: this model does not know '{language}'; it knows {known}")
    return str(tag)


def _vocabulary(directory: Path) -> list[str]:
    """The target's tokens, or those of both sides, where OPUS-MT's tokens for languages are the source's alone."""
    tokens: list[str] = []
    for side in ("shared", "source", "target"):
        for ending in ("json", "txt"):
            path = directory / f"{side}_vocabulary.{ending}"
            if path.is_file():
                tokens += _read_json(path) if ending == "json" else path.read_text("utf-8").splitlines()
    if not tokens:
        raise TranslationError(f"{directory}: no vocabulary beside {MODEL}: copy the whole directory again")
    return tokens


def _sentencepiece(directory: Path) -> tuple[Any, Any]:
    """The source's and the target's pieces."""
    package = load_package("sentencepiece")
    pair = [directory / "source.spm", directory / "target.spm"]
    if not all(path.is_file() for path in pair):
        shared = sorted(path for path in directory.iterdir() if path.suffix in {".model", ".spm"})
        if len(shared) != 1:
            raise TranslationError(
                f"{directory}: SentencePiece's model is missing: copy source.spm and target.spm (OPUS-MT), or "
                "sentencepiece.bpe.model (NLLB), of the original model there"
            )
        pair = shared * 2
    try:
        source, target = (package.SentencePieceProcessor(model_file=str(path)) for path in pair)
    except (OSError, RuntimeError) as error:
        raise TranslationError(f"{pair[0]}: not a model of SentencePiece: {error}") from None
    return source, target


def _read_json(path: Path) -> Any:  # noqa: ANN401 - what stands there
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TranslationError(f"{path}: cannot be read: {error}: copy the directory again") from None


def load_package(name: str, failure: type[RtstreamError] = TranslationError) -> ModuleType:
    """A package of the extra. Raises ``failure`` where it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise failure(f"CTranslate2's models need the package {name}: {INSTALL}") from None
