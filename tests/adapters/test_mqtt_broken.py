"""The MQTT publisher and a broker that breaks down."""

import asyncio
import gc

from rtstream.adapters.mqtt.config import MqttConfig
from rtstream.adapters.mqtt.publisher import MqttPublisher
from rtstream.publish.broker import Broker
from tests.rpc.hubs import ScriptedHub

ACCEPTED = bytes([0x20, 2, 0, 0])
"""CONNACK of MQTT 3.1.1."""


async def test_nothing_is_left_of_a_connection_that_broke():
    complaints, faults = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))

    async def breaks(reader, writer):
        await reader.read(1000)
        writer.write(ACCEPTED)
        await asyncio.sleep(0.1)
        writer.close()

    async with await asyncio.start_server(breaks, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        settings = MqttConfig("127.0.0.1", port, "d", "D", retry_seconds=(0.05, 0.1), answer_seconds=0.5, tls=None)
        broker = Broker()
        publisher = MqttPublisher(ScriptedHub(broker), settings, faults.append)
        async with asyncio.timeout(60):
            while sum(not fault.recovered for fault in faults) < 3:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        broker.close()
        await publisher.stop(1)
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
