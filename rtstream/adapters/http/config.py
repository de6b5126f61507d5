"""How the HTTP adapter serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtstream.audio.source import PAUSE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtstream.rpc.security import Address, ServerTls


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Addresses, TLS and tokens as for the gRPC server.

    ``hosts``: names by which browsers may call, besides addresses, localhost and the machine's own name. ``mute``:
    whether whoever may ask may mute the service.
    ``head_seconds``: in which a connection has sent a request, and may say nothing between two. ``idle_seconds``: that
    a client may send nothing of a request, or read nothing of an answer. ``pause_seconds``: without audio, after which
    what was said until then gets its final. ``upload_bytes``: of a file; ``uploads``: that are received or recognised
    at a time, others wait. ``longest_seconds``: of a recording.
    """

    listen: Sequence[Address]
    tls: ServerTls | None = None
    tokens: Path | None = None
    insecure_public: bool = False
    unix_mode: int = 0o660
    hosts: Sequence[str] = ()
    mute: bool = True
    connections: int = 64
    connections_per_client: int = 32
    head_seconds: float = 15.0
    idle_seconds: float = 30.0
    pause_seconds: float = PAUSE_SECONDS
    upload_bytes: int = 32 << 20
    uploads: int = 2
    longest_seconds: float = 3600.0
