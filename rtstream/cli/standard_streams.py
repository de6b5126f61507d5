"""Standard output and its kin where they are closed, full, or nobody reads them any more."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any


class OutputError(OSError):
    """Standard output cannot be written: ``filename`` is the file that it is, or what to call it."""


class _Output(io.FileIO):
    """Standard output, whose errors say that they are its."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - whatever has a buffer
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise OutputError(error.errno, reason, _output_name()) from None


def hold_standard_streams() -> None:
    """Take the place of streams that are closed, and make OutputError of what fails at standard output.

    What is closed would otherwise be the number of the next file that is opened, and take what is printed.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):  # 1: writing to it must fail
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(opened := os.open(os.devnull, flags), descriptor)
            if opened != descriptor:
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8", buffering=1)  # noqa: SIM115
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _named(sys.stdout)


def _named(stream: object) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(_Output(1, "w", closefd=False))
    if not isinstance(stream, io.TextIOWrapper):
        return io.TextIOWrapper(buffer, "utf-8")
    lines, through = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=lines, write_through=through)


def _output_name() -> str:
    try:
        target = str(Path("/proc/self/fd/1").readlink())
    except OSError:
        target = ""
    return target if target.startswith("/") and target != os.devnull else "standard output"


def abandon_output() -> None:
    """Drop what is still to be written: the interpreter's last flush would fail on it again, and say so."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
