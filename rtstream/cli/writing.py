"""Files that a command writes, and what the system says of them."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CODE = re.compile(r"\(os error (\d+)\)")
"""How safetensors quotes the system's errors."""
_WRITES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_FULL = re.compile(r"inline_container|PytorchStreamWriter|iostream error")
"""How torch says that not all was written, without the reason."""


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Name ``target`` where the disk does not take what is written there. Raises OSError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in _WRITES:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    except Exception as error:
        code = _code(str(error))
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(target)) from error


def _code(text: str) -> int | None:
    if found := _CODE.search(text):
        return int(found[1])
    return errno.ENOSPC if _FULL.search(text) else None
