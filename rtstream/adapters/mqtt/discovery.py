"""What Home Assistant is told of a device, in one message (its device discovery, from 2024.11 on)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtstream.adapters.mqtt.config import MqttConfig

EVENT_TYPES = ("final", "gap")


def discovery_topic(config: MqttConfig) -> str:
    """Where it is told."""
    return f"{config.discovery}/device/{config.device}/config"


def discovery_message(config: MqttConfig, *, version: str, model: str) -> dict[str, Any]:
    """The device and its entities. A text may be longer than a state, so it is an attribute of an event."""
    base, device = config.base, config.device

    def diagnostic(name: str, key: str) -> dict[str, Any]:
        return {
            "platform": "sensor",
            "unique_id": f"{device}_{key}",
            "name": name,
            "state_topic": f"{base}/health",
            "value_template": f"{{{{ value_json.{key} }}}}",
            "device_class": "duration",
            "unit_of_measurement": "s",
            "state_class": "measurement",
            "entity_category": "diagnostic",
        }

    components: dict[str, dict[str, Any]] = {
        "transcript": {
            "platform": "event",
            "unique_id": f"{device}_transcript",
            "name": "Transcript",
            "icon": "mdi:text-recognition",
            "event_types": list(EVENT_TYPES),
            "state_topic": f"{base}/final",
        },
        "hearing": {
            "platform": "binary_sensor",
            "unique_id": f"{device}_hearing",
            "name": "Hearing",
            "device_class": "sound",
            "state_topic": f"{base}/hearing",
        },
        "fault": {
            "platform": "binary_sensor",
            "unique_id": f"{device}_fault",
            "name": "Fault",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": f"{base}/fault",
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": f"{base}/fault",
        },
        "audio_age": diagnostic("Time since audio came", "audio_age"),
        "backlog": diagnostic("Backlog", "backlog"),
    }
    if config.mute:
        components["mute"] = {
            "platform": "switch",
            "unique_id": f"{device}_mute",
            "name": "Mute",
            "icon": "mdi:microphone-off",
            "state_topic": f"{base}/mute",
            "command_topic": f"{base}/mute/set",
        }
    return {
        "device": {
            "identifiers": [f"rtstream_{device}"],
            "name": config.name,
            "manufacturer": "rtstream",
            "model": model,
            "sw_version": version,
        },
        "origin": {"name": "rtstream", "sw_version": version},
        "availability_topic": f"{base}/status",
        "components": components,
    }
