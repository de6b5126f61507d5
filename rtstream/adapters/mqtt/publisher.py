"""Publishes what the service hears to an MQTT broker, for Home Assistant, and for fleets of devices.

Finals go with QoS 1, one after the other: the next one when the broker has taken the last. Where the connection breaks
they wait where all finals do, in the service's history, and go on after the last that was taken. One may come twice,
never none: epoch and sequence tell.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog
from aiomqtt import Client, MqttError, Will

from rtstream.adapters.mqtt.discovery import discovery_message, discovery_topic
from rtstream.errors import ConfigError
from rtstream.events import DeviceState, Fault, Final, Partial, Speech, Translation
from rtstream.publish.items import Gap, Position, SinceFinal, SlowSubscriberError
from rtstream.publish.lines import item_fields, read_position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rtstream.adapters.mqtt.config import MqttConfig
    from rtstream.publish.items import Item, Published
    from rtstream.publish.subscription import Subscription
    from rtstream.rpc.hub import Hub

log = structlog.get_logger()

ONLINE, OFFLINE = "online", "offline"
FAULT = "MQTT_UNREACHABLE"
STAMPEDE_SECONDS = 3.0
"""In which the devices of a house, or of a fleet, answer Home Assistant's start, each at a moment of its own."""
JITTER = 0.25
FAREWELL_SECONDS = 2.0
MOST_COMMANDS = 64
"""That wait to be obeyed; whoever may write to the topic may write a great many."""
DEVICE_ON = frozenset({"capturing", "muted", "paused"})


class MqttPublisher:
    """Connects, publishes, connects again, until :meth:`stop`. ``publish`` takes its own faults."""

    def __init__(self, hub: Hub, config: MqttConfig, publish: Callable[[Fault], None]) -> None:
        self._hub = hub
        self._config = config
        self._publish = publish
        self._taken = self._remembered()
        self._since_final = SinceFinal()
        self._hearing = False
        self._told: dict[str, str] = {}  # of what is retained, by topic
        self._finished = self._connected = False
        self._task = asyncio.ensure_future(self._run())

    async def stop(self, grace_seconds: float) -> None:
        """Publish what was said last, for ``grace_seconds`` at most, and say goodbye."""
        await asyncio.wait({self._task}, timeout=grace_seconds if self._connected else 0)
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=FAREWELL_SECONDS)

    async def _run(self) -> None:
        config = self._config
        shortest, longest = config.retry_seconds
        pause = shortest
        while not self._finished:
            try:
                async with _told_of_its_end(self._client()) as client:
                    self._publish(Fault(FAULT, f"connected to {config.host}:{config.port}", recovered=True))
                    log.info("connected to the MQTT broker", host=config.host, port=config.port)
                    pause = shortest
                    self._connected = True
                    await self._serve(client)
            except (MqttError, OSError, ConfigError) as error:
                told = f"no connection to the MQTT broker {config.host}:{config.port}: {error}; trying again"
                self._publish(Fault(FAULT, told))
            finally:
                self._connected = False
            if not self._finished:
                await asyncio.sleep(pause * random.uniform(1 - JITTER, 1 + JITTER))
                pause = min(longest, 2 * pause)

    def _client(self) -> Client:
        config = self._config
        password = None
        if config.password is not None:
            try:
                password = config.password.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"mqtt.password_file: {config.password} cannot be read: {error}") from None
        return Client(
            config.host,
            config.port,
            identifier=f"rtstream-{config.device}",
            username=config.username,
            password=password,
            tls_context=None if config.tls is None else config.tls.context(),
            will=Will(f"{config.base}/status", OFFLINE, qos=1, retain=True),
            timeout=config.answer_seconds,
            logger=_silent(),
            keepalive=30,
            max_queued_incoming_messages=MOST_COMMANDS,
        )

    async def _serve(self, client: Client) -> None:
        """Publish until the service ends. Raises MqttError."""
        self._told.clear()
        config = self._config
        if config.mute:
            await client.subscribe(f"{config.base}/mute/set", qos=1)
        if config.discovery:
            await client.subscribe(f"{config.discovery}/status", qos=0)
        subscription = self._subscribe()  # whoever sees that the service is online misses nothing from there on
        tasks: list[asyncio.Future[None]] = []
        try:
            await self._introduce(client)
            works = (self._events(client, subscription), self._health(client), self._commands(client))
            tasks += map(asyncio.ensure_future, works)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            self._finished = True  # the service has ended, and all that it said is published
        finally:
            subscription.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._finished or self._task.cancelling():
                await client.publish(f"{config.base}/status", OFFLINE, qos=1, retain=True, timeout=FAREWELL_SECONDS)

    async def _introduce(self, client: Client) -> None:
        config = self._config
        if config.discovery:
            status = self._hub.status()
            message = discovery_message(config, version=status.version, model=status.model)
            await client.publish(discovery_topic(config), json.dumps(message), qos=1, retain=True)
        await client.publish(f"{config.base}/status", ONLINE, qos=1, retain=True)

    def _subscribe(self) -> Subscription:
        subscription = self._hub.broker.subscribe(
            resume_after=self._taken, partials=self._config.partials, partial_translations=False
        )
        if self._taken is None:
            self._taken = subscription.position
        return subscription

    async def _events(self, client: Client, subscription: Subscription) -> None:
        """Publish what happens, until the service ends."""
        while True:
            async with subscription:
                try:
                    async for item in subscription:
                        await self._pass_on(client, item)
                except SlowSubscriberError:
                    pass  # it is behind: from the history then
                else:
                    return
            subscription = self._subscribe()

    async def _pass_on(self, client: Client, item: Item) -> None:
        base = self._config.base
        if isinstance(item, Gap):
            await client.publish(f"{base}/final", _json("gap", item_fields(item)), qos=1)
            return
        match item.event:
            case Final():
                await client.publish(f"{base}/final", _json("final", item_fields(item, words=True)), qos=1)
                self._take(item)
            case Translation(language=language):
                if not self._since_final.has(item):
                    fields = _json("translation", item_fields(item))
                    await client.publish(f"{base}/translation/{language}", fields, qos=1)
                    self._since_final.take(item)
            case Partial():
                await client.publish(f"{base}/partial", _json("partial", item_fields(item)), qos=0)
            case Speech(state=state):
                self._hearing = state == "started"
                await self._retain(client, "hearing", _on(self._hearing))
            case DeviceState(state=state):
                if state not in DEVICE_ON and self._hearing:
                    self._hearing = False
                    await self._retain(client, "hearing", _on(self._hearing))
                await self._tell_state(client)
            case Fault():
                await self._tell_state(client)

    async def _health(self, client: Client) -> None:
        while True:
            await self._retain(client, "hearing", _on(self._hearing))
            await self._tell_state(client)
            await asyncio.sleep(self._config.health_seconds)

    async def _tell_state(self, client: Client) -> None:
        status = self._hub.status()
        faults = [{"code": fault.code, "message": fault.message} for fault in status.faults if fault.code != FAULT]
        await self._retain(client, "fault", json.dumps({"state": _on(bool(faults)), "faults": faults}))
        await self._retain(client, "mute", _on(self._hub.muted))
        device = None if status.device is None else {"name": status.device.device, "state": status.device.state}
        age = status.audio_age_seconds
        health = {
            "audio_age": None if age is None else round(age, 1),
            "backlog": round(status.backlog_seconds, 1),
            "phase": status.phase,
            "device": device,
            "real_time_factor": status.real_time_factor,
            "rss_bytes": status.rss_bytes,
        }
        await self._retain(client, "health", json.dumps(health))

    async def _commands(self, client: Client) -> None:
        async for message in client.messages:
            payload = message.payload.decode("utf-8", "replace")
            if message.topic.matches(f"{self._config.base}/mute/set"):
                if message.retain or payload not in {"ON", "OFF"}:
                    # What is retained would be obeyed again at each connection, long after it was meant.
                    log.warning("a command over MQTT is passed over: send ON or OFF, not retained", topic="mute/set")
                    continue
                self._hub.mute(payload == "ON")
                await self._tell_state(client)
            elif payload == ONLINE:  # Home Assistant has started
                await asyncio.sleep(random.uniform(0, STAMPEDE_SECONDS))
                self._told.clear()
                await self._introduce(client)
                await self._retain(client, "hearing", _on(self._hearing))
                await self._tell_state(client)

    async def _retain(self, client: Client, name: str, payload: str) -> None:
        if self._told.get(name) != payload:
            self._told[name] = payload
            await client.publish(f"{self._config.base}/{name}", payload, qos=1, retain=True)

    def _take(self, item: Published) -> None:
        """Note that the broker has a final."""
        self._taken = item.position
        self._since_final.take(item)
        if self._config.state is not None and item.position is not None:
            new = self._config.state.with_name(self._config.state.name + ".new")
            try:
                new.write_text(f"{item.position.epoch}:{item.position.sequence}\n")
                new.replace(self._config.state)
            except OSError as error:
                log.warning("mqtt.state cannot be written", file=str(self._config.state), error=error.strerror)

    def _remembered(self) -> Position | None:
        """The last final that the broker has taken, as far as that is known."""
        if self._config.state is None:
            return None
        try:
            return read_position(self._config.state.read_text("utf-8").strip())
        except (OSError, UnicodeDecodeError):
            return None


@asynccontextmanager
async def _told_of_its_end(client: Client) -> AsyncIterator[Client]:
    """The client's own context, behind which nothing is left of how its connection ended.

    The library keeps that in a future which only reading messages looks at; asyncio logs what nobody has looked at.
    """
    connected = False
    try:
        async with client:
            connected = True
            yield client
    except MqttError:
        if connected:
            with suppress(MqttError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    async for _ in client.messages:  # until it says that, or how, the connection has ended
                        pass
        raise


def _silent() -> logging.Logger:
    """For the library, whose warnings are the faults that are published here."""
    silent = logging.Logger("aiomqtt")  # noqa: LOG001 - none that is shared
    silent.addHandler(logging.NullHandler())
    return silent


def _json(event_type: str, fields: dict[str, Any]) -> str:
    """Fields as an event of Home Assistant's, which wants its type under this name."""
    fields = {"event_type": event_type, **fields}
    del fields["type"]
    return json.dumps(fields, ensure_ascii=False)


def _on(state: bool) -> str:  # noqa: FBT001 - it is what it says
    return "ON" if state else "OFF"
