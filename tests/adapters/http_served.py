"""The HTTP adapter in this process, on a free port of the loopback interface."""

import asyncio
import json
import math
import socket
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import soundfile
import websockets

from rtstream.adapters.http.config import HttpConfig
from rtstream.adapters.http.server import HttpServer
from rtstream.publish.broker import Broker
from rtstream.rpc.security import Address
from tests.rpc.hubs import ScriptedHub

LOOPBACK = Address(host="127.0.0.1")
PATIENT = aiohttp.ClientTimeout(120)


class Served:
    """``url``: where it is; ``session``: of aiohttp, with paths below it."""

    def __init__(self, hub, server):
        self.hub, self.server, self.broker = hub, server, hub.broker
        self.port = server.addresses[0].port
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = aiohttp.ClientSession(self.url, timeout=PATIENT)


@asynccontextmanager
async def serving(broker=None, *, limit=8, **settings):
    hub = ScriptedHub(broker or Broker(), limit=limit)
    server = await HttpServer.start(hub, HttpConfig(**{"listen": [LOOPBACK], **settings}))
    served = Served(hub, server)
    try:
        yield served
    finally:
        await served.session.close()
        await server.stop(0.0)
        hub.broker.close()


def recording(path, seconds=2.5, *, rate=16_000, kind=None, **options):
    """A file whose samples are each 0.5 or -0.5."""
    samples = np.full(math.floor(seconds * rate), 0.5, np.float32)
    samples[::2] *= -1
    soundfile.write(path, samples, rate, format=kind, **options)
    return path


def multipart(data, name="talk.wav", **fields):
    form = aiohttp.FormData()
    form.add_field("file", data, filename=name)
    for key, value in fields.items():
        for entry in value if isinstance(value, list) else [value]:
            form.add_field(key, entry)
    return form


async def unread(served, request):
    """A connection that asks and then reads nothing."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)  # noqa: FBT003 - the library's signature
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", served.port))
    await loop.sock_sendall(slow, request)
    return slow


async def to_the_end(websocket):
    """The messages that still come over a connection of the library websockets, and the close frame behind them."""
    messages = []
    async with asyncio.timeout(120):
        try:
            while True:
                messages.append(json.loads(await websocket.recv()))
        except websockets.ConnectionClosed as closed:
            return messages, closed.rcvd
