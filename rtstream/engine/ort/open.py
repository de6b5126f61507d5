"""Opens engines, from what was kept of them at the last start where that is whole."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import structlog

from rtstream.engine.ort.engine import OnnxSpeechEngine, OnnxTextEngine
from rtstream.engine.ort.sessions import Parts, cache_folder, discard, seal, whole
from rtstream.engine.ort.tensors import Quantized
from rtstream.engine.room import check_room
from rtstream.errors import BundleError
from rtstream.model.shapes import tensor_specs

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.bundle.files import State
    from rtstream.model.config import ModelConfig, TextModelConfig

log = structlog.get_logger()
Engine = TypeVar("Engine")


def open_speech(config: ModelConfig, load: Callable[[], State], checksum: str, threads: int) -> OnnxSpeechEngine:
    """The engine of a recogniser. ``load`` reads its tensors; ``checksum``: of the file that they are in."""
    return _opened(lambda parts, state: OnnxSpeechEngine(config, state, parts), config, load, checksum, threads)


def open_text(config: TextModelConfig, load: Callable[[], State], checksum: str, threads: int) -> OnnxTextEngine:
    """The same of a translation model."""
    return _opened(lambda parts, state: OnnxTextEngine(config, state, parts), config, load, checksum, threads)


@cache
def saturates() -> bool:
    """Whether two products of large activations and weights are too much for this processor's kernels."""
    from rtstream.engine.ort.networks import probe_graph  # noqa: PLC0415 - onnx, where nothing was kept

    y = Parts(1).session("probe", probe_graph).run({"x": np.ones((4, 8), np.float32)})["y"]
    return bool((y < 7.9).any())


def _opened(
    make: Callable[[Parts, Callable[[], State]], Engine],
    config: ModelConfig | TextModelConfig,
    load: Callable[[], State],
    checksum: str,
    threads: int,
) -> Engine:
    @cache
    def state() -> State:
        names = [name for name, spec in tensor_specs(config).items() if spec.quantized]
        return Quantized(load(), names, saturates=saturates())

    place = None
    try:
        place = cache_folder(f"{checksum} {config!r}")
        kept = whole(place)
        check_room(config, first=not kept)
        if not kept:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".making-") as folder:
                made = Path(folder) / "cache"
                made.mkdir()
                make(Parts(threads, write=made), state)
                seal(made, place)
        return make(Parts(threads, read=place), state)
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001 - of the disk, or of ONNX Runtime, which has a class for each
        # A disk that is full or read-only costs memory and time, and no service.
        log.info("what was packed is not kept", folder=str(place), error=" ".join(str(error).split())[:200])
        if place is not None:
            discard(place)
        return make(Parts(threads), state)
