"""Which model translates into which language, and what a directory holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rtstream.bundle.default import CHECKOUT, INSTALLED
from rtstream.errors import TranslationError
from rtstream.languages import known_as
from rtstream.translation.ctranslate2 import MODEL, CTranslate2Translator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.translation.translator import Translator

VARIABLE = "RTSTREAM_TRANSLATION_MODEL"
"""Environment variable that names the directory of a model for all languages."""
BUNDLE = "bundle.json"
"""What is in the directory of a model of rtstream's own."""
SHIPPED = "en-x-*"


def model_paths(
    languages: Sequence[str], model: Path | None = None, models: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """The directory of each language's model: that of ``models``, else ``model``, else :func:`default_model`.

    What was named is not looked for here. Raises TranslationError where nothing was named and there is no default, or
    it does not know a language.
    """
    named = dict(models or {})
    others = [language for language in languages if language not in named]
    model = model or (_default_for(others) if others else None)
    if model is not None:
        named |= dict.fromkeys(others, model)
    return {language: named[language] for language in languages}


def _default_for(languages: Sequence[str]) -> Path:
    """The default model, which must know the languages, as far as can be told without loading it."""
    model = default_model()
    known = [] if model is None else manifest_languages(model)
    missing = [language for language in languages if known is not None and known_as(language, known) is None]
    if model is not None and not missing:
        return model
    has = f"{model} knows {', '.join(known or ())}" if model else "rtstream's own is not installed"
    raise TranslationError(
        f"no model translates into {', '.join(missing)}: {has}; convert one of OPUS-MT or NLLB for CTranslate2 and "
        f"name its directory (translation.models.{missing[0]} in the settings, "
        f"--translation-model {missing[0]}=DIRECTORY), or one for all languages in ${VARIABLE}"
    )


def _manifest(directory: Path) -> dict[str, Any]:
    """What a bundle says of itself; nothing where it cannot be read."""
    try:
        data = json.loads((directory / BUNDLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def manifest_languages(directory: Path) -> list[str] | None:
    """What a model of rtstream's own says that it translates into; None of others, and of what cannot be read."""
    languages = _manifest(directory).get("languages")
    return [str(language) for language in languages] if isinstance(languages, list) else None


def default_model() -> Path | None:
    """Directory of the model that is used where none is named: $RTSTREAM_TRANSLATION_MODEL, else the shipped one."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    shipped = [path for folder in (CHECKOUT, INSTALLED) for path in sorted(folder.glob(SHIPPED)) if path.is_dir()]
    return shipped[0] if shipped else None


def open_translators(paths: Mapping[str, Path], *, threads: int = 1, beam: int = 1) -> dict[str, Translator]:
    """Load the models, each directory once, for their languages; ``beam`` as below. Raises TranslationError."""
    opened: dict[str, Translator] = {}
    for path in dict.fromkeys(paths.values()):
        languages = [language for language, its in paths.items() if its == path]
        translator = open_translator(path, languages, threads=threads, beam=beam)
        opened |= dict.fromkeys(languages, translator)
    return {language: opened[language] for language in paths}


def open_translator(directory: Path, languages: Sequence[str], *, threads: int = 1, beam: int = 1) -> Translator:
    """Load the model in a directory, whichever it is; ``beam`` is for one of rtstream's own.

    Raises TranslationError, also for languages that it does not know.
    """
    if model_kind(directory) == "ctranslate2":
        return CTranslate2Translator.open(directory, languages, threads=threads)
    from rtstream.translation.built_in import BuiltInTranslator  # noqa: PLC0415 - torch, which others do without

    translator = BuiltInTranslator.open(directory, beam=beam)
    for language in languages:
        if known_as(language, translator.languages) is None:
            known = ", ".join(translator.languages)
            raise TranslationError(f"{directory}: this model does not know '{language}'; it knows {known}")
    return translator


def model_kind(directory: Path) -> Literal["ctranslate2", "built-in"]:
    """What reads the model in a directory. Raises TranslationError where there is none."""
    if (directory / MODEL).is_file():
        return "ctranslate2"
    if (directory / BUNDLE).is_file():
        return "built-in"
    state = "holds no translation model" if directory.is_dir() else "no such directory"
    raise TranslationError(
        f"{directory}: {state}: give that of a model of CTranslate2 ({MODEL}) or of rtstream's own ({BUNDLE})"
    )
