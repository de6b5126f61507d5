"""Sessions of ONNX Runtime, and what is kept of them from one start to the next.

Packing weights takes time and memory, and how they are packed depends on the processor. So what was packed at the first
start is written to files, which later starts map: pages of them are the page cache's, shared by all who map them. What
is in a cache that is whole is never made from the bundle's weights, which then need not be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from rtstream.onnx_runtime import onnxruntime
from rtstream.processor import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rtstream.engine.ort.graph import Graph

log = structlog.get_logger()

VERSION = 2
"""Of the graphs and of what is in a cache; another one is made anew."""
MANIFEST = "cache.json"
MOST = 8
"""Caches that are kept: of a recogniser, a translation model, and of what is tried beside them."""
SYNCED = 1 << 20
"""Bytes of a file from which on it is written to the disk at once."""
LARGE = 1024
"""Bytes from which on a constant lies in the file that is mapped."""


class Session:
    """A graph that can be run."""

    def __init__(self, source: bytes | Path, threads: int) -> None:
        settings = _settings(threads)
        given = source if isinstance(source, bytes) else str(source)
        self._session = onnxruntime.InferenceSession(given, settings, providers=["CPUExecutionProvider"])
        self.inputs = {each.name: each.shape for each in self._session.get_inputs()}
        self.outputs = [each.name for each in self._session.get_outputs()]

    def run(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs, by name."""
        return dict(zip(self.outputs, self._session.run(None, feeds), strict=True))


class Parts:
    """Sessions and arrays of one model by name: those of a cache, or made as they are asked for.

    ``write``: where what is made is also written, None for nowhere. ``read``: a whole cache.
    """

    def __init__(self, threads: int, *, read: Path | None = None, write: Path | None = None) -> None:
        self._threads, self._read, self._write = threads, read, write

    def session(self, name: str, make: Callable[[], Graph]) -> Session:
        """A session of the graph that ``make`` gives."""
        if self._read is not None:
            return Session(self._read / f"{name}.onnx", self._threads)
        if self._write is None:
            return Session(make().model().SerializeToString(), self._threads)
        packed = self._write / f"{name}.onnx"
        with tempfile.TemporaryDirectory(dir=self._write) as folder:
            graph = make().save(Path(folder))
            settings = _settings(self._threads)
            settings.optimized_model_filepath = str(packed)
            for key, value in (
                ("session.save_external_prepacked_constant_initializers", "1"),
                ("session.optimized_model_external_initializers_file_name", f"{name}.bin"),
                ("session.optimized_model_external_initializers_min_size_in_bytes", str(LARGE)),
            ):
                settings.add_session_config_entry(key, value)
            onnxruntime.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
        return Session(packed, self._threads)

    def array(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array, which nobody writes to."""
        if self._write is not None:
            np.save(self._write / f"{name}.npy", make())
        folder = self._read or self._write
        if folder is None:
            return make()
        return np.load(folder / f"{name}.npy", mmap_mode="r")  # type: ignore[no-any-return]


def cache_folder(model: str) -> Path:
    """Where the cache of a model, by its weights' checksum and its sizes, is on this machine, for this processor."""
    own = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]  # systemd's, for the service
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "rtstream"
    parts = (str(VERSION), model, onnxruntime.__version__, platform.machine(), described())
    return root / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def whole(folder: Path) -> bool:
    """Whether a cache has all that was written to it, unchanged."""
    with suppress(OSError, ValueError, AttributeError):
        files = json.loads((folder / MANIFEST).read_text())
        os.utime(folder / MANIFEST)
        return bool(files) and all(_checksum(folder / name) == sums for name, sums in files.items())
    return False


def seal(folder: Path, place: Path) -> None:
    """Make a cache of what was written to a folder, in the place of one that was there. Raises OSError.

    Of many caches those go that were used longest ago.
    """
    sums = {}
    for file in sorted(folder.iterdir()):
        if file.stat().st_size > SYNCED:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())  # what is mapped is then clean pages, which the system may drop
        sums[file.name] = _checksum(file)
    (folder / MANIFEST).write_text(json.dumps(sums))
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)
    others = [each for each in place.parent.iterdir() if each != place and (each / MANIFEST).exists()]
    for old in sorted(others, key=lambda each: -(each / MANIFEST).stat().st_mtime)[MOST - 1 :]:
        discard(old)


def discard(folder: Path) -> None:
    """Remove what is left of a cache."""
    shutil.rmtree(folder, ignore_errors=True)


def _checksum(file: Path) -> list[int]:
    size, sums = 0, 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            size, sums = size + len(block), zlib.crc32(block, sums)
    return [size, sums]


def _settings(threads: int) -> onnxruntime.SessionOptions:
    out = onnxruntime.SessionOptions()
    out.intra_op_num_threads, out.inter_op_num_threads = threads, 1
    out.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a service is idle for most of the day
    out.enable_cpu_mem_arena = False  # which keeps for ever what the longest segment took
    out.enable_mem_pattern = False  # which keeps a plan for every length that has come, and hardly any comes again
    out.log_severity_level = 3
    return out
