"""How to serve Wyoming. Without its library: settings are checked where it may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtstream.adapters.networks import Network
    from rtstream.rpc.security import Address


@dataclass(frozen=True, slots=True)
class Limits:
    """``connections`` may be open to each address, ``per_client`` of them from one host.

    ``idle_seconds``: that a client may send nothing, take to send an event, or leave an event unread.
    ``pause_seconds``: without audio within a turn, after which what was said gets its final.
    """

    connections: int = 64
    per_client: int = 16
    idle_seconds: float = 30.0
    pause_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class WyomingConfig:
    """``listen``: for speech to text; ``microphone``: where the service's own audio is given, None for nowhere.

    ``external_vad``: the client says when a turn ends, else the turn does when the speaker pauses. ``announced_as``: by
    mDNS, empty: not at all. ``allow``: who may connect, all where it is empty.
    """

    listen: Address
    microphone: Address | None = None
    external_vad: bool = True
    announced_as: str = ""
    allow: tuple[Network, ...] = ()
    insecure_public: bool = False
    unix_mode: int = 0o660
    limits: Limits = field(default_factory=Limits)
