"""A server in a process of its own, which publishes finals without end, each after a partial, and may be killed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVER = """
import asyncio, sys
from rtstream.logging import configure
from rtstream.publish.broker import Broker
from rtstream.publish.store import Store
from rtstream.rpc.security import Address
from rtstream.rpc.server import ServerConfig, serve
from tests.publish.finals import final, partial
from tests.rpc.hubs import ScriptedHub

async def main(path, socket, pause):
    broker = Broker(Store(path, max_age_seconds=1e6, max_bytes=1 << 24))
    server = await serve(ScriptedHub(broker), ServerConfig(listen=[Address(path=socket)]))
    number = broker.last.sequence
    print("ready", flush=True)
    while True:
        await asyncio.sleep(float(pause))
        number += 1
        broker.publish(partial(number))
        broker.publish(final(number))

configure()
asyncio.run(main(*sys.argv[1:]))
"""


def start_server(folder, pause=0.002):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, folder / "finals.db", folder / "socket", str(pause)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    return process
