"""How to publish over MQTT. Without its library: settings are checked where it may be missing."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rtstream.errors import ConfigError
from rtstream.rpc.security import Address
from rtstream.wire.pem import read_pem

if TYPE_CHECKING:
    from pathlib import Path

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class MqttTls:
    """PEM files: of who signs brokers, None for the system's; and if the broker asks for that, of this device."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises ConfigError naming the file."""
        context = ssl.create_default_context()
        if self.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=read_pem(self.ca).decode("latin-1"))
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"mqtt.certificate: {self.certificate} and its key cannot be used: {error}") from None
        return context


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """``device`` is the name in topics below ``topic``, ``name`` the one that people see.

    ``discovery``: Home Assistant's prefix, empty: it is told of nothing. ``state``: file that remembers the last final
    that the broker has taken. ``mute``: whether whoever may write to the topic may mute the service.
    """

    host: str
    port: int
    device: str
    name: str
    tls: MqttTls | None = None
    username: str | None = None
    password: Path | None = None
    topic: str = "rtstream"
    discovery: str = "homeassistant"
    partials: bool = False
    mute: bool = True
    state: Path | None = None
    health_seconds: float = 30.0
    answer_seconds: float = 10.0
    retry_seconds: tuple[float, float] = (1.0, 60.0)
    """Between attempts to connect: the shortest pause, and the longest."""

    @property
    def base(self) -> str:
        """Where all topics of this device begin."""
        return f"{self.topic}/{self.device}"


def read_broker(text: str, *, insecure: bool) -> tuple[str, int, bool]:
    """Host, port and whether TLS is used, of ``mqtt://HOST:PORT`` or ``mqtts://``. Raises ConfigError."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in PORTS or parts.path not in {"", "/"} or parts.username or parts.query:
        raise ConfigError(f"mqtt.broker: {text!r} is not possible: give mqtts://HOST or mqtt://HOST, with :PORT or not")
    encrypted = parts.scheme == "mqtts"
    if Address(host=host, port=port or 1).public and not encrypted and not insecure:
        raise ConfigError(
            f"mqtt.broker: {text}: what is said would go over the network unencrypted; use mqtts://, or say "
            "mqtt.insecure if the network is yours alone"
        )
    return host, port or PORTS[parts.scheme], encrypted


def device_id(given: str) -> str:
    """The name of a device in topics: the one that is ``given``, or this machine's. Raises ConfigError."""
    found = given or re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().partition(".")[0]) or "rtstream"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):
        raise ConfigError(f"mqtt.device: {given!r} is not possible: letters, digits, - and _, 64 at most")
    return found
