"""A recording as chunks to send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from rtstream.audio.open import open_audio

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterator

CHUNK_SECONDS = 0.5


def blocking_chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """What :func:`chunks` gives, for a program without an event loop. Raises AudioError."""
    with open_audio(path, block_seconds=CHUNK_SECONDS) as audio:
        for block in audio:
            yield block.samples.astype(np.dtype("<f4"), copy=False).tobytes()


async def chunks(path: str | os.PathLike[str], *, raw_rate: int | None = None) -> AsyncIterator[bytes]:
    """16 kHz mono, as 32-bit floats, so that what is recognised is what replay recognises. Raises AudioError."""
    with await asyncio.to_thread(open_audio, path, raw_rate=raw_rate, block_seconds=CHUNK_SECONDS) as audio:
        blocks = iter(audio)
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            yield block.samples.astype(np.dtype("<f4"), copy=False).tobytes()
