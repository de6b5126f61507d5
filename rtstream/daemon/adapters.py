"""Other ways to reach the service than gRPC, each imported only where its section of the settings turns it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rtstream.daemon.settings import http_config, mqtt_config, wyoming_config
from rtstream.recognizer.phrases import MAX_PHRASES

if TYPE_CHECKING:
    from rtstream.daemon.service import Service


class Adapter(Protocol):
    """What runs on the service's event loop."""

    async def stop(self, grace_seconds: float) -> None:
        """Take no more clients, and let those that are there come to their end for so long."""
        ...


async def start_adapters(service: Service) -> list[Adapter]:
    """Start all that are on. Raises ConfigError, and then none runs."""
    started: list[Adapter] = []
    try:
        if (wyoming := wyoming_config(service.config)) is not None:
            from rtstream.adapters.wyoming.server import WyomingServer  # noqa: PLC0415 - its package is optional

            def phrase_room() -> int:
                return MAX_PHRASES - len(service.config.recognition.phrases)

            started.append(await WyomingServer.start(service, wyoming, service.audio, phrase_room))
        if (http := http_config(service.config)) is not None:
            from rtstream.adapters.http.server import HttpServer  # noqa: PLC0415 - aiohttp, where it is wanted

            started.append(await HttpServer.start(service, http))
        if (mqtt := mqtt_config(service.config)) is not None:
            from rtstream.adapters.mqtt.publisher import MqttPublisher  # noqa: PLC0415 - as above

            started.append(MqttPublisher(service, mqtt, service.publish))
    except BaseException:
        for adapter in started:
            await adapter.stop(0.0)
        raise
    return started
