"""Which model translates into which language, and what a directory holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rtstream
from rtstream.errors import TranslationError
from rtstream.translation.ctranslate2 import MODEL, CTranslate2Translator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.translation.translator import Translator

VARIABLE = "RTSTREAM_TRANSLATION_MODEL"
"""Environment variable that names the directory of a model for all languages."""
BUNDLE = "bundle.json"
"""What is in the directory of a model of rtstream's own."""
SHIPPED = "en-x-*"
CHECKOUT = Path(rtstream.__file__).parent.parent / "models"
INSTALLED = Path("/usr/share/rtstream/models")


def model_paths(
    languages: Sequence[str], model: Path | None = None, models: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """The directory of each language's model: that of ``models``, else ``model``, else :func:`default_model`.

    What was named is not looked for here. Raises TranslationError where nothing was named and there is no default.
    """
    named = dict(models or {})
    missing = [language for language in languages if language not in named]
    if missing:
        model = model or default_model()
        if model is None:
            example = missing[0]
            raise TranslationError(
                f"no model translates into {', '.join(missing)}: none ships with this version; convert one of OPUS-MT "
                f"or NLLB for CTranslate2 and name its directory (translation.models.{example} in the settings, "
                f"--translation-model {example}=DIRECTORY), or one for all languages in ${VARIABLE}"
            )
        named |= dict.fromkeys(missing, model)
    return {language: named[language] for language in languages}


def default_model() -> Path | None:
    """Directory of the model that is used where none is named: $RTSTREAM_TRANSLATION_MODEL, else the shipped one."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    shipped = [path for folder in (CHECKOUT, INSTALLED) for path in sorted(folder.glob(SHIPPED)) if path.is_dir()]
    return shipped[0] if shipped else None


def open_translators(paths: Mapping[str, Path], *, threads: int = 1) -> dict[str, Translator]:
    """Load the models, each directory once, for their languages. Raises TranslationError."""
    opened: dict[str, Translator] = {}
    for path in dict.fromkeys(paths.values()):
        languages = [language for language, its in paths.items() if its == path]
        translator = open_translator(path, languages, threads=threads)
        opened |= dict.fromkeys(languages, translator)
    return {language: opened[language] for language in paths}


def open_translator(directory: Path, languages: Sequence[str], *, threads: int = 1) -> Translator:
    """Load the model in a directory, whichever it is. Raises TranslationError, also for languages it does not know."""
    if model_kind(directory) == "ctranslate2":
        return CTranslate2Translator.open(directory, languages, threads=threads)
    from rtstream.translation.built_in import BuiltInTranslator  # noqa: PLC0415 - torch, which others do without

    translator = BuiltInTranslator.open(directory)
    for language in languages:
        if language not in translator.languages:
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
