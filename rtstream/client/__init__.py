"""What a program in Python needs to hear what a running service hears.

    from rtstream.client import Client, Final

    with Client() as client:
        for event in client.subscribe():
            if isinstance(event, Final):
                print(event.text)

:class:`Client` works anywhere, in a notebook too; :class:`AsyncClient` is for programs of asyncio. All times are in
seconds. It loads gRPC, but neither numpy nor a model; to read recordings takes numpy and soundfile.
"""

from rtstream.client.asynchronous import AsyncClient
from rtstream.client.connection import ClientTls
from rtstream.client.requests import Container, Flush
from rtstream.client.resuming import ConnectionState
from rtstream.client.server_error import ServerError
from rtstream.client.synchronous import Client
from rtstream.client.transcript import Transcript
from rtstream.errors import AudioError, ConfigError, RtstreamError
from rtstream.events import DeviceState, Fault, Flushed
from rtstream.publish.items import Gap, Position
from rtstream.publish.seconds import (
    AudioLost,
    Event,
    Final,
    Partial,
    RecognizedEvent,
    Speech,
    Translation,
    Word,
)
from rtstream.wire.values import Device, Phase, Status

__all__ = [
    "AsyncClient",
    "AudioError",
    "AudioLost",
    "Client",
    "ClientTls",
    "ConfigError",
    "ConnectionState",
    "Container",
    "Device",
    "DeviceState",
    "Event",
    "Fault",
    "Final",
    "Flush",
    "Flushed",
    "Gap",
    "Partial",
    "Phase",
    "Position",
    "RecognizedEvent",
    "RtstreamError",
    "ServerError",
    "Speech",
    "Status",
    "Transcript",
    "Translation",
    "Word",
]
