"""Who may connect to an adapter whose protocol has no tokens."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rtstream.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_networks(texts: Iterable[str], name: str) -> tuple[Network, ...]:
    """Read hosts and networks such as 192.168.1.5 and 192.168.1.0/24. Raises ConfigError, which names ``name``."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise ConfigError(
                f"{name}: {text!r} is no address or network; write one such as 192.168.1.5 or 192.168.1.0/24"
            ) from None
    return tuple(found)


def admits(networks: Iterable[Network], client: str) -> bool:
    """Whether a client, as :func:`~rtstream.rpc.connections.client_of` names it, is of one of ``networks``.

    All are where there is none, and this machine always is.
    """
    networks = tuple(networks)
    if not networks or client in {"loopback", "unix"}:
        return True
    try:
        found = ipaddress.ip_network(client)
    except ValueError:
        return False
    return any(found.version == network.version and found.subnet_of(network) for network in networks)  # type: ignore[arg-type]  # of one version
