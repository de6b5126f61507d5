"""Translation in the service: a worker as the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.daemon.settings import stabilizer_config, translation_models
from rtstream.translation.opening import open_stabilizers
from rtstream.translation.worker import TranslationWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtstream.config import Config
    from rtstream.events import ServiceEvent
    from rtstream.translation.stabilizer import Stabilizer


def start_translation(config: Config, publish: Callable[[ServiceEvent], None]) -> TranslationWorker | None:
    """Begin to translate, if any language is asked for. Raises ConfigError."""
    settings = config.translation
    paths = translation_models(settings)
    if not paths:
        return None

    def load() -> list[Stabilizer]:
        config = stabilizer_config(settings)
        return open_stabilizers(paths, config, threads=settings.threads, beam=settings.beam)()

    return TranslationWorker(
        tuple(paths), load, publish, partials=settings.partials, retry_seconds=config.recognition.retry_seconds
    )


def translation_counters(worker: TranslationWorker | None, english: Mapping[bool, int]) -> dict[str, int]:
    """What has been translated, by name of the metric. ``english``: of speech, whether of finals."""
    return {
        "translations": english[True] + (worker.finals if worker is not None else 0),
        "partial_translations": english[False] + (worker.partials if worker is not None else 0),
        "partial_translations_skipped": worker.skipped if worker is not None else 0,
        "translations_lost": worker.lost if worker is not None else 0,
        "translation_milliseconds": round(worker.seconds * 1000) if worker is not None else 0,
    }
