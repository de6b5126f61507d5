"""mDNS over the loopback interface, seen by zeroconf's own browser."""

import asyncio
import socket

import pytest
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from rtstream.adapters.wyoming.announcing import KIND, Announcer, reachable_at
from rtstream.config import Config, Wyoming
from rtstream.daemon.settings import check_settings
from rtstream.errors import ConfigError
from rtstream.rpc.security import Address
from tests.adapters.wyoming_served import until, wyoming


def multicasts():
    """Whether what is sent to mDNS's group on the loopback interface comes back."""
    loopback = socket.inet_aton("127.0.0.1")
    with socket.socket(type=socket.SOCK_DGRAM) as listener, socket.socket(type=socket.SOCK_DGRAM) as sender:
        try:
            listener.bind(("", 0))
            group = socket.inet_aton("224.0.0.251") + loopback
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            listener.settimeout(10)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
            sender.sendto(b"there?", ("224.0.0.251", listener.getsockname()[1]))
            return listener.recv(100) == b"there?"
        except OSError:
            return False


@pytest.fixture
def multicast():
    if not multicasts():
        pytest.skip("needs multicast on the loopback interface")


class Browser:
    """Who is announced on the loopback interface."""

    async def __aenter__(self):
        self.names = set()
        self.zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
        self._browser = AsyncServiceBrowser(self.zeroconf.zeroconf, KIND, handlers=[self._changed])
        return self

    async def __aexit__(self, *_):
        await self._browser.async_cancel()
        await self.zeroconf.async_close()

    def _changed(self, zeroconf, service_type, name, state_change):  # noqa: ARG002 - the library's signature
        if state_change is ServiceStateChange.Removed:
            self.names.discard(name)
        else:
            self.names.add(name)


@pytest.mark.usefixtures("multicast")
async def test_the_server_is_found_while_it_serves():
    async with Browser() as browser:
        async with wyoming(announced_as="kitchen under test") as served:
            name = f"kitchen under test.{KIND}"
            await until(lambda: name in browser.names)
            info = AsyncServiceInfo(KIND, name)
            assert await info.async_request(browser.zeroconf.zeroconf, 60_000)
            assert info.parsed_addresses() == ["127.0.0.1"]
            assert info.port == served.port
        await until(lambda: name not in browser.names)


@pytest.mark.usefixtures("multicast")
async def test_a_name_that_is_taken_gets_a_number():
    async with Browser() as browser:
        first = Announcer("hall under test", Address(host="127.0.0.1", port=10301))
        await until(lambda: f"hall under test.{KIND}" in browser.names)
        second = Announcer("hall under test", Address(host="127.0.0.1", port=10302))
        await until(lambda: f"hall under test-2.{KIND}" in browser.names)
        await second.stop()
        await first.stop()


@pytest.mark.usefixtures("multicast")
async def test_it_is_announced_when_the_network_comes(monkeypatch):
    there = []
    monkeypatch.setattr("rtstream.adapters.wyoming.announcing.reachable_at", lambda _: list(there))
    async with Browser() as browser:
        announcer = Announcer("cellar under test", Address(host="127.0.0.1", port=10303), look_seconds=0.05)
        await asyncio.sleep(0.2)
        assert not browser.names & {f"cellar under test.{KIND}"}
        there.append("127.0.0.1")
        await until(lambda: f"cellar under test.{KIND}" in browser.names)
        await announcer.stop()


def test_loopback_is_not_announced_to_others():
    assert reachable_at(Address(host="192.168.1.5", port=1)) == ["192.168.1.5"]
    assert "127.0.0.1" not in reachable_at(Address(host="0.0.0.0", port=1))  # noqa: S104 - nothing listens


def test_a_unix_socket_cannot_be_announced():
    with pytest.raises(ConfigError, match=r"wyoming\.announce: a Unix socket"):
        check_settings(Config(wyoming=Wyoming(listen="unix:/tmp/x", announce="pi")))
