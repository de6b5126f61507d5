"""Tells the local network of the server by mDNS, so that Home Assistant offers it to its users.

The library's own way asks for one version of zeroconf alone, knows one IPv4 address, and fails where there is no
network yet.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

import ifaddr
import structlog
from zeroconf import Error, InterfaceChoice
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.rpc.security import Address

log = structlog.get_logger()

KIND = "_wyoming._tcp.local."
LOOK_SECONDS = 30.0
"""How often the machine's addresses are looked at: networks come after boot, and change."""


class Announcer:
    """Announces ``address`` as ``name`` until :meth:`stop`, anew where this machine's addresses change.

    If the name is taken a number is added.
    """

    def __init__(self, name: str, address: Address, look_seconds: float = LOOK_SECONDS) -> None:
        self._name = name
        self._address = address
        self._look_seconds = look_seconds
        self._zeroconf: AsyncZeroconf | None = None
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Take it back."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._take_back()

    async def _run(self) -> None:
        announced: list[str] = []
        told = ""
        while True:
            addresses = reachable_at(self._address)
            if addresses != announced:
                try:
                    await self._take_back()
                    if addresses:
                        await self._announce(addresses)
                    announced = addresses
                    told = ""
                except (Error, OSError) as error:
                    announced = []
                    if str(error) != told:  # once, not every time
                        told = str(error)
                        log.warning("cannot be announced by mDNS; trying again", name=self._name, error=told)
            await asyncio.sleep(self._look_seconds)

    async def _announce(self, addresses: Sequence[str]) -> None:
        interfaces = list(addresses) if self._address.public is False else InterfaceChoice.All
        self._zeroconf = AsyncZeroconf(interfaces=interfaces)
        info = AsyncServiceInfo(
            KIND,
            f"{self._name}.{KIND}",
            port=self._address.port,
            parsed_addresses=list(addresses),
            server=f"{socket.gethostname().partition('.')[0]}-rtstream.local.",
        )
        await (await self._zeroconf.async_register_service(info, allow_name_change=True))
        log.info("announced by mDNS", name=info.name, addresses=list(addresses))

    async def _take_back(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()


def reachable_at(address: Address) -> list[str]:
    """The IP addresses at which others reach what listens on ``address``."""
    if address.host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        return [address.host]
    found = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            ip = ipaddress.ip_address(text)
            if not ip.is_loopback and not ip.is_link_local and (ip.version == 4 or address.host == "::"):
                found.append(text)
    return sorted(found)
