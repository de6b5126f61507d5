"""What the processor of this machine can do."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def features() -> frozenset[str]:
    """Its features by Linux's names, such as avx2 or asimddp; none where the system does not say."""
    return frozenset(described().split())


def described() -> str:
    """The same as the system has them, on one line; else the processor's name, which may be empty."""
    with suppress(OSError):
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.partition(":")[0].strip().lower() in {"flags", "features"}:
                return line.partition(":")[2].strip()
    return platform.processor()
