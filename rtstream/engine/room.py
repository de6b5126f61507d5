"""How much memory a model needs, and how much there is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rtstream.errors import BundleError
from rtstream.model.shapes import tensor_specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.model.config import ModelConfig, TextModelConfig

MEBI = 1 << 20
FIRST, LATER = (120 * MEBI, 2), (130 * MEBI, 1)
"""What a service takes at its first start, when weights are unpacked and packed, and later, in speech: its own, and how
often the weights. docs/measurements.md has what this was made from."""

MEMINFO, STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def needed(config: ModelConfig | TextModelConfig, *, first: bool = True) -> int:
    """Bytes of memory that a service with a model takes, at its ``first`` start or later."""
    own, times = FIRST if first else LATER
    return own + times * sum(spec.size for spec in tensor_specs(config).values())


def available() -> int | None:
    """Bytes of memory that this process may still take, by the system and its control groups; None where none says."""
    return min((*_of(MEMINFO, "MemAvailable"), *(max(limit - used, 0) for limit, used in _groups())), default=None)


def total() -> int | None:
    """Bytes of memory that this process may take in all."""
    return min((*_of(MEMINFO, "MemTotal"), *(limit for limit, _ in _groups())), default=None)


def check_room(config: ModelConfig | TextModelConfig, *, first: bool) -> None:
    """Raise BundleError where there is too little memory to load a model, what this process has included."""
    free = available()
    if free is None:
        return
    free += sum(_of(STATUS, "RssAnon"))
    wanted = needed(config, first=first)
    if free < wanted:
        msg = (
            f"the model needs {wanted >> 20} MiB of memory and there are {free >> 20}: "
            "stop other programs, raise the limit, or use a smaller model (rtstream doctor says which)"
        )
        raise BundleError(msg)


def _of(file: Path, name: str) -> Iterator[int]:
    """Bytes that a file of the kernel's has for a name in kB."""
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                yield int(line.split()[1]) << 10


def _groups() -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that this process is in; what the system can take back is not counted."""
    with suppress(OSError):
        for line in GROUP.read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":  # version 2, of which there may be one beside version 1
                root, names = GROUPS, ("memory.max", "memory.current", "inactive_file", "active_file")
            elif "memory" in controllers.split(","):
                root = GROUPS / "memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")
            else:
                continue
            folder = root / path.lstrip("/")
            for each in (folder, *folder.parents):  # a limit further up counts too
                yield from _group(each, *names)
                if each == root:
                    break


def _group(folder: Path, limit: str, used: str, *files: str) -> Iterator[tuple[int, int]]:
    with suppress(OSError, ValueError):
        most, now = int((folder / limit).read_text()), int((folder / used).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield most, now - sum(int(stat.get(name, 0)) for name in files)
