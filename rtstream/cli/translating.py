"""Options of commands that translate, or show translations; the models are loaded when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtstream.languages import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtstream.translation.stabilizer import Stabilizer


def read_languages(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Read BCP 47 tags with commas between them, for click; each counts once."""
    try:
        return tuple(dict.fromkeys(canonical(tag) for tag in value.split(",") if tag.strip()))
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


def translate_option(help_: str, *, required: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--translate`` for a click command, whose function gets the tags as ``languages``, none where there is none."""
    return click.option(
        "--translate",
        "languages",
        callback=read_languages,
        metavar="LANGUAGES",
        help=f"{help_}: tags with commas between them, as in es,pt-BR.",
        **({"required": True} if required else {"default": ""}),
    )


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """What the user chose. ``model``: a directory for all languages, ``models``: those of single ones.

    ``beam``: for finals, of rtstream's own models.
    """

    languages: tuple[str, ...]
    model: Path | None
    models: Mapping[str, Path]
    beam: int

    def load(self, *, threads: int = 1) -> Callable[[], list[Stabilizer]]:
        """What makes a stabilizer for each language of texts, of models loaded now. Raises TranslationError."""
        from rtstream.translation.models import model_paths  # noqa: PLC0415 - not for --help
        from rtstream.translation.opening import open_stabilizers  # noqa: PLC0415
        from rtstream.translation.source import text_languages  # noqa: PLC0415

        paths = model_paths(text_languages(self.languages), self.model, self.models)
        return open_stabilizers(paths, threads=threads, beam=self.beam)


def translation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a click command, whose function gets them as ``translation``, a TranslationOptions."""

    @translate_option("Translate into these")
    @click.option(
        "--translation-model",
        "given",
        multiple=True,
        metavar="[LANGUAGE=]DIRECTORY",
        help="Model that translates, into one language or into all; may be given several times.  "
        "[default: $RTSTREAM_TRANSLATION_MODEL, or the shipped model]",
    )
    @click.option(
        "--translation-beam",
        type=click.IntRange(1, 4),
        default=4,
        show_default=True,
        help="Hypotheses that are weighed for a final (rtstream's own models); fewer are quicker.",
    )
    @wraps(command)
    def with_options(
        *args: Any,  # noqa: ANN401 - what click passes
        languages: tuple[str, ...],
        given: tuple[str, ...],
        translation_beam: int,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        model, models = None, {}
        for text in given:
            name, equals, directory = text.partition("=")
            if not equals:
                model = Path(text)
                continue
            try:
                models[canonical(name)] = Path(directory)
            except ValueError as error:
                raise click.UsageError(f"--translation-model {text}: {error}") from None
        if given and not languages:
            raise click.UsageError("--translation-model is of no use without --translate")
        options = TranslationOptions(languages, model, models, translation_beam)
        command(*args, translation=options, **kwargs)

    return with_options
