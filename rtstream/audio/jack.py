"""What JACK's library leaves behind, and what of it would hang everyone who comes later.

Debian's PortAudio is linked against libjack, which opens a Berkeley DB environment for JACK's metadata as soon as
PortAudio asks whether a JACK server runs: ``jack_db-UID`` in shared memory. A process that is killed while it makes
that leaves it half made or locked, and whoever opens it then waits for the dead one without end, until the next boot.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - libjack's own place
_PROCESSES = Path("/proc")


def remove_unused_metadata(shared_memory: Path = _SHARED_MEMORY, processes: Path = _PROCESSES) -> bool:
    """Remove this user's metadata unless a process has it mapped, as JACK's server and its clients do; say whether.

    What nobody maps holds nothing of worth: the server removes it as well, as its last act.
    """
    directory = shared_memory / f"jack_db-{os.getuid()}"
    if not directory.is_dir() or directory.is_symlink() or _is_mapped(directory, processes):
        return False
    aside = directory.with_name(f"{directory.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # another process has been faster, or it is not ours to remove
        directory.rename(aside)  # at once: whoever opens it from now on makes it anew
        shutil.rmtree(aside, ignore_errors=True)
        return True
    return False


def _is_mapped(directory: Path, processes: Path) -> bool:
    name = f" {directory}/"
    for process in processes.iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended, or is another user's: that one has metadata of its own
                if name in (process / "maps").read_text(errors="replace"):
                    return True
    return False
