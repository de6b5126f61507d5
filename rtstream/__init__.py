"""rtstream: a streaming speech recognition service for always-on devices.

    import rtstream

    print(rtstream.load("base").transcribe("talk.flac").text)

:func:`load` recognises in this process; :mod:`rtstream.client` asks a service that runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.constants import DEFAULT_CHUNK_MS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from rtstream.recognizer.number_forms import NumberForm
    from rtstream.transcriber import Transcriber
    from rtstream.vad.gate import GateName

__version__ = "0.1.0"


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    words: bool = False,
    phrases: Iterable[str] = (),
    numbers: NumberForm = "as spoken",
    chunk_ms: int = DEFAULT_CHUNK_MS,
    beam: int = 4,
    language: str | Iterable[str] = "auto",
    vad: GateName = "webrtc",
    threads: int = 1,
    translate: bool = False,
) -> Transcriber:
    """Read a model, ready to transcribe.

    ``model``: the name of one that ships ("base", "tiny"; "multi", which is the package rtstream-multi) or a bundle's
    directory; None: $RTSTREAM_MODEL, or base.
    ``words``: finals and partials carry words with times and confidence. ``phrases``: names and words to find where
    they are said, each ``PHRASE`` or ``PHRASE=WEIGHT``. ``numbers``: how finals have them, "as spoken", in "digits" or
    in "words". ``chunk_ms``: 320, 640 or 1280 ms of a stream are recognised at a time. ``beam``: 1 to 5 hypotheses.
    ``language``: what may be spoken, such as "es" or ["en", "es"]; "auto": any language that the model is for.
    ``vad``: what tells speech from the rest, "webrtc" or "silero". ``threads`` compute, in the whole process.
    ``translate``: what is said in other languages is written in English too, for which it takes a model that can.

    Raises BundleError for a model that cannot be read, ConfigError for settings that are not possible.
    """
    from rtstream.errors import ConfigError  # noqa: PLC0415
    from rtstream.languages import read_choice  # noqa: PLC0415
    from rtstream.recognizer.phrases import parse_phrases  # noqa: PLC0415 - numpy, without which rtstream is imported
    from rtstream.recognizer.recognizer import RecognizerConfig  # noqa: PLC0415
    from rtstream.transcriber import load_transcriber  # noqa: PLC0415

    try:
        languages = read_choice(language)
    except ValueError as error:
        raise ConfigError(f"language: {error}") from None
    config = RecognizerConfig(
        chunk_ms,
        beam=beam,
        words=words,
        numbers=numbers,
        phrases=parse_phrases(tuple(phrases)),
        languages=languages,
        translate="all" if translate else "nothing",
    )
    return load_transcriber(model, config, vad=vad, threads=threads)
