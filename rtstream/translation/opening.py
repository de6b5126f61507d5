"""From the models that were named to stabilizers, one for each language of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rtstream.translation.models import open_translators
from rtstream.translation.stabilizer import Stabilizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rtstream.translation.stabilizer import StabilizerConfig
    from rtstream.translation.translator import Translator


def open_stabilizers(
    paths: Mapping[str, Path],
    config: StabilizerConfig | None = None,
    *,
    threads: int = 1,
    beam: int = 1,
) -> Callable[[], list[Stabilizer]]:
    """Load the models of ``paths``, by language; the result makes the stabilizers of a stream.

    ``beam`` is for the finals of rtstream's own models: partials, of which the next one is already on its way, are
    searched greedily. Raises TranslationError.
    """
    translators = open_translators(paths, threads=threads, beam=beam)
    return lambda: [
        Stabilizer(translator, language, config, partials=_greedy(translator))
        for language, translator in translators.items()
    ]


def _greedy(translator: Translator) -> Translator:
    """The same weights without a beam, where there is one that can be changed."""
    with_beam = getattr(translator, "with_beam", None)
    return translator if with_beam is None else cast("Translator", with_beam(1))
