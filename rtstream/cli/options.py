"""Options that every command with a recognizer has, and the recognizer that they describe.

Nothing here imports torch before a recognizer is asked for, so that ``--help`` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from rtstream.constants import CHUNKS_MS, DEFAULT_CHUNK_MS
from rtstream.languages import AUTO, read_choice
from rtstream.recognizer.number_forms import NUMBER_FORMS, NumberForm
from rtstream.vad.gate import GateName

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.recognizer.recognizer import Recognizer, Translated
    from rtstream.vad.gate import Gate

ENGINES = ("onnx", "auto", "torch", "x86", "fbgemm", "onednn", "qnnpack", "float")
BEAMS, BEAM = (1, 5), 4
GATES: tuple[GateName, ...] = get_args(GateName)


@dataclass(frozen=True, slots=True)
class RecognizerOptions:
    """What the user chose.

    ``model``: a bundle's directory, None for the default one; ``threads``: torch's; ``languages`` that may be spoken,
    none: any that the model knows.
    """

    model: Path | None = None
    engine: str = "onnx"
    threads: int = 1
    chunk_ms: int = DEFAULT_CHUNK_MS
    partials: Literal["decoder", "ctc", "none"] = "decoder"
    phrases: tuple[str, ...] = ()
    vad: GateName = "webrtc"
    beam: int = BEAM
    full_context: Literal["always", "unsure"] = "always"
    numbers: NumberForm = "as spoken"
    languages: tuple[str, ...] = ()

    def gates(self) -> Callable[[], Gate]:
        """What makes a gate for each stream. Raises GateMissingError."""
        from rtstream.vad.open_gates import open_gates  # noqa: PLC0415 - what --help does without

        return open_gates(self.vad)

    def load(self, *, words: bool = False, partials: bool = True, translate: Translated = "nothing") -> Recognizer:
        """Read the model; ``words``: with times of words, ``partials``: False where nobody would see them.

        ``translate``: what of speech in other languages is written in English too.
        Sets torch's number of threads for the whole process. Raises BundleError, ConfigError.
        """
        from rtstream.bundle.default import model_path  # noqa: PLC0415 - what --help does without
        from rtstream.engine.open import load_bundle  # noqa: PLC0415
        from rtstream.recognizer.phrases import parse_phrases  # noqa: PLC0415
        from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig  # noqa: PLC0415

        phrases = parse_phrases(self.phrases)
        written = self.partials if partials else "none"
        config = RecognizerConfig(
            self.chunk_ms,
            written,
            full_context=self.full_context,
            beam=self.beam,
            words=words,
            numbers=self.numbers,
            phrases=phrases,
            languages=self.languages,
            translate=translate,
        )
        return Recognizer(load_bundle(model_path(self.model), self.engine, threads=self.threads), config)


def phrase_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--phrase`` to a click command, whose function gets ``phrases``, all of them checked."""
    return click.option(
        "--phrase",
        "phrases",
        multiple=True,
        metavar="PHRASE[=WEIGHT]",
        callback=_checked_phrases,
        help="A name or word to find where it is said, and to write so, such as Grafana or 'Wren Hollow=2'. WEIGHT is "
        "how readily: 1 as a rule, at most 5. May be given several times.",
    )(command)


def _checked_phrases(_ctx: click.Context, _param: click.Parameter, phrases: tuple[str, ...]) -> tuple[str, ...]:
    from rtstream.errors import ConfigError  # noqa: PLC0415
    from rtstream.recognizer.phrases import parse_phrases  # noqa: PLC0415

    try:
        parse_phrases(phrases)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return phrases


def number_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--numbers`` to a click command."""
    return click.option(
        "--numbers",
        type=click.Choice(NUMBER_FORMS),
        default="as spoken",
        show_default=True,
        help="How finals have numbers, times, sums and dates: as the model writes them, or in one form.",
    )(command)


def language_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--language`` to a click command, whose function gets ``spoken``, none for any."""
    return click.option(
        "--language",
        "spoken",
        default=AUTO,
        show_default=True,
        metavar="LANGUAGE[,LANGUAGE...]",
        callback=checked_languages,
        help="What may be spoken, such as es, or en,es; auto is any language that the model knows.",
    )(command)


def checked_languages(_ctx: click.Context, _param: click.Parameter, given: str | None) -> tuple[str, ...] | None:
    """What ``--language`` names; None where it is not given."""
    try:
        return None if given is None else read_choice(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def vad_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--vad`` to a click command."""
    return click.option(
        "--vad",
        type=click.Choice(GATES),
        default="webrtc",
        show_default=True,
        help="What tells speech from the rest; silero needs onnxruntime and silero-vad's model.",
    )(command)


def recognizer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a click command, whose function gets them as ``options``, a RecognizerOptions."""

    @click.option(
        "--model",
        type=click.Path(path_type=Path),
        help="Directory of a model bundle, or the name of one that ships.  [default: $RTSTREAM_MODEL, or base]",
    )
    @click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default="onnx",
        show_default=True,
        help="What computes: onnx; torch, if it is installed, by its best int8 kernel, another, or float.",
    )
    @click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads that compute.")
    @click.option(
        "--chunk-ms",
        type=click.Choice([str(each) for each in CHUNKS_MS]),
        default=str(DEFAULT_CHUNK_MS),
        show_default=True,
        help="Audio recognised at a time; longer is more accurate and later.",
    )
    @click.option(
        "--partials",
        type=click.Choice(("decoder", "ctc")),
        default="decoder",
        show_default=True,
        help="What writes the partials.",
    )
    @click.option(
        "--beam",
        type=click.IntRange(*BEAMS),
        default=BEAM,
        show_default=True,
        help="Hypotheses among which the decoder looks for a text where it is unsure; more take longer.",
    )
    @click.option(
        "--full-context",
        type=click.Choice(("always", "unsure")),
        default="always",
        show_default=True,
        help="Whether a segment is encoded once more for its final: always, for the best text, or where unsure.",
    )
    @language_option
    @number_option
    @vad_option
    @wraps(command)
    def with_options(
        *args: Any,  # noqa: ANN401 - what click passes
        model: Path | None,
        engine: str,
        threads: int,
        chunk_ms: str,
        partials: Literal["decoder", "ctc"],
        beam: int,
        full_context: Literal["always", "unsure"],
        numbers: NumberForm,
        spoken: tuple[str, ...],
        vad: GateName,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        options = RecognizerOptions(
            model,
            engine,
            threads,
            int(chunk_ms),
            partials,
            vad=vad,
            beam=beam,
            full_context=full_context,
            numbers=numbers,
            languages=spoken,
        )
        command(*args, options=options, **kwargs)

    return with_options
