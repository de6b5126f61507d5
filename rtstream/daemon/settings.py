"""From the settings tree to what each stage takes, and what the tree alone cannot check."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypedDict

from rtstream.adapters.http.config import HttpConfig
from rtstream.adapters.mqtt.config import MqttConfig, MqttTls, device_id, read_broker
from rtstream.adapters.networks import read_networks
from rtstream.adapters.wyoming.config import Limits, WyomingConfig
from rtstream.audio.capture_protocol import CaptureRequest
from rtstream.audio.microphone import MicrophoneConfig
from rtstream.audio.source import parse_source
from rtstream.daemon.segments import VadSettings
from rtstream.errors import ConfigError, TranslationError
from rtstream.languages import ENGLISH
from rtstream.recognizer.phrases import Phrase, parse_phrases
from rtstream.rpc.security import Address, ServerTls, check_public
from rtstream.rpc.server import ServerConfig
from rtstream.translation.models import model_paths
from rtstream.translation.source import text_languages
from rtstream.translation.stabilizer import StabilizerConfig
from rtstream.vad.open_gates import open_gates
from rtstream.vad.segmenter import SegmenterConfig

if TYPE_CHECKING:
    from pathlib import Path

    from rtstream.config import Audio, Config, Publish, Recognition, Server, Translation, Vad
    from rtstream.recognizer.recognizer import Translated


SPARE_RECOGNITIONS = 8
"""Recognize calls that may be open besides those that are recognised: to be told that they cannot be."""


def check_settings(config: Config) -> None:
    """Raise ConfigError for all settings that do not go together."""
    told = []
    for check in (
        partial(parse_source, config.audio.source),
        partial(segmenter_config, config.vad),
        partial(server_config, config.server),
        partial(metrics_address, config),
        partial(wyoming_config, config),
        partial(http_config, config),
        partial(mqtt_config, config),
        partial(translation_models, config.translation),
        partial(phrases, config.recognition),
    ):
        try:
            check()
        except ConfigError as error:
            told.append(str(error))
    if told:
        raise ConfigError("; ".join(told))


def server_config(server: Server, max_streams: int = 8) -> ServerConfig:
    """What the gRPC server takes. Raises ConfigError."""
    if (server.tls_certificate is None) != (server.tls_key is None):
        raise ConfigError("server.tls_certificate and server.tls_key belong together: set both or none")
    if server.tls_client_ca is not None and server.tls_certificate is None:
        raise ConfigError("server.tls_client_ca needs TLS: set server.tls_certificate and server.tls_key")
    tls = None
    if server.tls_certificate is not None and server.tls_key is not None:
        tls = ServerTls(server.tls_certificate, server.tls_key, server.tls_client_ca)
    return ServerConfig(
        listen=[Address.parse(text) for text in server.listen],
        tls=tls,
        tokens=server.tokens,
        insecure_public=server.insecure_public,
        unix_mode=int(server.unix_mode, 8),
        message_bytes=server.max_message_bytes,
        streams=server.max_calls,
        streams_per_client=server.max_calls_per_client,
        recognitions=max_streams + SPARE_RECOGNITIONS,
        connections=server.max_connections,
        connections_per_client=server.max_connections_per_client,
        idle_seconds=server.idle_seconds,
        pause_seconds=server.pause_seconds,
    )


def metrics_address(config: Config) -> Address | None:
    """Where metrics are served, None for nowhere. Raises ConfigError, as for an address of the server."""
    if not config.metrics.listen:
        return None
    address = _address(
        "metrics.listen",
        config.metrics.listen,
        insecure_public=config.server.insecure_public,
        encrypted=config.server.tls_certificate is not None,
    )
    if address.path:
        raise ConfigError(f"metrics.listen: {address}: give HOST:PORT")
    return address


def wyoming_config(config: Config) -> WyomingConfig | None:
    """What the Wyoming server takes, None where it is off. Raises ConfigError."""
    settings, server = config.wyoming, config.server
    if not settings.listen:
        if settings.microphone:
            raise ConfigError("wyoming.microphone: set wyoming.listen too")
        return None
    _need("wyoming", "wyoming.listen")
    if settings.announce:
        _need("zeroconf", "wyoming.announce", extra="wyoming")
        if settings.listen.startswith("unix:"):
            raise ConfigError("wyoming.announce: a Unix socket cannot be announced; listen on tcp://HOST:PORT")

    def address(name: str, text: str) -> Address:
        return _address(f"wyoming.{name}", text.removeprefix("tcp://"), insecure_public=settings.insecure_public)

    return WyomingConfig(
        address("listen", settings.listen),
        address("microphone", settings.microphone) if settings.microphone else None,
        external_vad=settings.external_vad,
        announced_as=settings.announce,
        allow=read_networks(settings.allow, "wyoming.allow"),
        insecure_public=settings.insecure_public,
        unix_mode=int(server.unix_mode, 8),
        limits=Limits(
            settings.max_connections,
            settings.max_connections_per_client,
            server.idle_seconds,
            server.pause_seconds,
        ),
    )


def mqtt_config(config: Config) -> MqttConfig | None:
    """What the MQTT publisher takes, None where it is off. Raises ConfigError."""
    settings = config.mqtt
    if not settings.broker:
        return None
    _need("aiomqtt", "mqtt.broker", extra="mqtt")
    host, port, encrypted = read_broker(settings.broker, insecure=settings.insecure)
    if (settings.certificate is None) != (settings.key is None):
        raise ConfigError("mqtt.certificate and mqtt.key belong together: set both or none")
    if settings.password_file is not None and settings.username is None:
        raise ConfigError("mqtt.password_file: set mqtt.username too")
    tls = MqttTls(settings.ca, settings.certificate, settings.key)
    if encrypted:
        tls.context()
    elif tls != MqttTls():
        raise ConfigError("mqtt.ca, mqtt.certificate and mqtt.key need TLS: write mqtts:// in mqtt.broker")
    device = device_id(settings.device)
    return MqttConfig(
        host,
        port,
        device,
        settings.name or f"rtstream {device}",
        tls=tls if encrypted else None,
        username=settings.username,
        password=settings.password_file,
        topic=settings.topic,
        discovery=settings.discovery,
        partials=settings.partials,
        mute=settings.mute,
        state=settings.state,
    )


def _address(name: str, text: str, *, insecure_public: bool, encrypted: bool = False) -> Address:
    """Where an adapter or the metrics listen, by the setting's ``name``. Raises ConfigError."""
    try:
        address = Address.parse(text)
        check_public(address, encrypted=encrypted, insecure_public=insecure_public)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    return address


def _need(package: str, name: str, extra: str = "") -> None:
    """Raise ConfigError if a package is missing that a setting needs."""
    if find_spec(package) is None:
        told = f"the package {package} is missing; install it: pip install 'rtstream[{extra or package}]'"
        raise ConfigError(f"{name}: {told}")


def http_config(config: Config) -> HttpConfig | None:
    """What the HTTP adapter takes, None where it is off. Raises ConfigError."""
    settings, server = config.http, config.server
    if not settings.listen:
        return None
    _need("aiohttp", "http.listen", extra="http")
    rules = server_config(server)
    encrypted = rules.tls is not None
    return HttpConfig(
        listen=[
            _address("http.listen", text, insecure_public=server.insecure_public, encrypted=encrypted)
            for text in settings.listen
        ],
        tls=rules.tls,
        tokens=rules.tokens,
        insecure_public=rules.insecure_public,
        unix_mode=rules.unix_mode,
        hosts=settings.hosts,
        mute=settings.mute,
        connections=settings.max_connections,
        connections_per_client=settings.max_connections_per_client,
        upload_bytes=settings.max_upload_megabytes << 20,
        longest_seconds=settings.max_audio_minutes * 60,
        idle_seconds=server.idle_seconds,
        pause_seconds=server.pause_seconds,
    )


def segmenter_config(vad: Vad) -> SegmenterConfig:
    """Where segments begin and end. Raises ConfigError for lengths that do not go together."""
    lengths = {name: getattr(vad, name) for name in SegmenterConfig.__dataclass_fields__}
    try:
        return SegmenterConfig(**lengths)
    except ValueError as error:
        raise ConfigError(f"vad: {error}") from None


def vad_settings(vad: Vad) -> VadSettings:
    """The gates, with their model loaded, and the segmenter's settings. Raises ConfigError, GateMissingError."""
    new_gate = open_gates(
        vad.engine,
        aggressiveness=vad.aggressiveness,
        frame_ms=vad.frame_ms,
        threshold=vad.threshold,
        model=vad.model,
    )
    return VadSettings(new_gate, segmenter_config(vad))


def phrases(recognition: Recognition) -> tuple[Phrase, ...]:
    """What is to be found in all streams. Raises ConfigError."""
    try:
        return parse_phrases(recognition.phrases)
    except ConfigError as error:
        raise ConfigError(f"recognition.phrases: {error}") from None


class StoreLimits(TypedDict):
    """How much a :class:`~rtstream.publish.store.Store` keeps."""

    max_age_seconds: float
    max_bytes: int


def store_limits(publish: Publish) -> StoreLimits:
    """What the store keeps."""
    return {
        "max_age_seconds": publish.store_max_age_hours * 3600,
        "max_bytes": publish.store_max_megabytes << 20,
    }


def translation_models(translation: Translation) -> dict[str, Path]:
    """The directory of the model for each language into which texts are translated. Raises ConfigError for none."""
    try:
        return model_paths(text_languages(translation.languages), translation.model, translation.models)
    except TranslationError as error:
        raise ConfigError(f"translation.languages: {error}") from None


def translated_speech(translation: Translation) -> Translated:
    """What of speech in other languages is to be written in English."""
    if ENGLISH not in translation.languages:
        return "nothing"
    return "all" if translation.partials else "finals"


def stabilizer_config(translation: Translation) -> StabilizerConfig:
    """How partials are translated."""
    return StabilizerConfig(translation.mask, translation.keep, translation.context)


def capture_request(audio: Audio) -> CaptureRequest:
    """What to ask of a microphone, but for its name."""
    return CaptureRequest("default", audio.rate, audio.channels, audio.ring_seconds)


def microphone_config(audio: Audio) -> MicrophoneConfig:
    """When to give it up and try again."""
    return MicrophoneConfig(audio.open_seconds, audio.stall_seconds, min(0.5, audio.retry_seconds), audio.retry_seconds)
