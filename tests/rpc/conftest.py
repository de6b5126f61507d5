from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from rtstream.client.samples import SampleClient
from rtstream.publish.broker import Broker
from rtstream.rpc.security import Address
from rtstream.rpc.server import ServerConfig, serve
from tests.rpc.hubs import ScriptedHub


class Running:
    """A server in this process."""

    def __init__(self, hub, server):
        self.hub, self.server, self.broker = hub, server, hub.broker
        self.target = str(server.addresses[0])

    def client(self, **options):
        return SampleClient(self.target, **options)


@asynccontextmanager
async def running(config=None, *, broker=None, limit=8):
    """Serve a scripted hub on a free port of the loopback interface, or as ``config`` says."""
    config = config or ServerConfig()
    if config.listen == ServerConfig().listen:
        config = replace(config, listen=[Address(host="127.0.0.1")])
    hub = ScriptedHub(broker or Broker(), limit=limit)
    server = await serve(hub, config)
    await server.set_serving(True)
    try:
        yield Running(hub, server)
    finally:
        hub.broker.close()
        await server.stop(0.5)


@pytest.fixture
async def served():
    async with running() as made:
        yield made
