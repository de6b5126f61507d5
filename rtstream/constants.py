"""What several parts must agree on."""

from __future__ import annotations

from typing import Literal, get_args

ChunkMs = Literal[320, 640, 1280]
"""Milliseconds of audio that can be encoded at a time."""
CHUNKS_MS: tuple[int, ...] = get_args(ChunkMs)
DEFAULT_CHUNK_MS: ChunkMs = 640
