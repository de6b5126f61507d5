"""Status and devices as messages, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE
from rtstream.wire.convert import (
    device_state_message,
    fault_message,
    from_seconds,
    read_device_state,
    read_fault,
    to_seconds,
)
from rtstream.wire.v1 import rtstream_pb2 as pb
from rtstream.wire.values import Device, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

_PHASES = {
    "starting": pb.PHASE_STARTING,
    "loading": pb.PHASE_LOADING,
    "ready": pb.PHASE_READY,
    "degraded": pb.PHASE_DEGRADED,
    "stopping": pb.PHASE_STOPPING,
}
_PHASE_NAMES = {number: name for name, number in _PHASES.items()}


def status_message(status: Status) -> pb.GetStatusResponse:
    """A status for the wire."""
    age = status.audio_age_seconds
    return pb.GetStatusResponse(
        version=status.version,
        phase=_PHASES[status.phase],
        model=status.model,
        engine=status.engine,
        device=None if status.device is None else device_state_message(status.device),
        uptime=from_seconds(status.uptime_seconds),
        audio_age=None if age is None else from_seconds(age),
        real_time_factor=status.real_time_factor,
        rss_bytes=status.rss_bytes,
        subscribers=status.subscribers,
        streams=status.streams,
        counters=dict(status.counters),
        faults=[fault_message(fault) for fault in status.faults],
        languages=status.languages,
        recognized_languages=status.recognized_languages,
        sample_rate=status.sample_rate,
        backlog=from_seconds(status.backlog_seconds),
    )


def read_status(message: pb.GetStatusResponse) -> Status:
    """The status in a message."""
    return Status(
        version=message.version,
        phase=_PHASE_NAMES.get(message.phase, "starting"),  # type: ignore[arg-type]  # a table
        model=message.model,
        engine=message.engine,
        device=read_device_state(message.device) if message.HasField("device") else None,
        uptime_seconds=to_seconds(message.uptime),
        audio_age_seconds=to_seconds(message.audio_age) if message.HasField("audio_age") else None,
        real_time_factor=message.real_time_factor if message.HasField("real_time_factor") else None,
        rss_bytes=message.rss_bytes,
        subscribers=message.subscribers,
        streams=message.streams,
        counters=dict(message.counters),
        faults=tuple(read_fault(fault) for fault in message.faults),
        languages=tuple(message.languages),
        recognized_languages=tuple(message.recognized_languages),
        sample_rate=message.sample_rate or SAMPLE_RATE,
        backlog_seconds=to_seconds(message.backlog),
    )


def devices_message(devices: Sequence[Device]) -> pb.ListDevicesResponse:
    """Devices for the wire."""
    return pb.ListDevicesResponse(
        devices=[
            pb.Device(
                name=device.name,
                index=device.index,
                channels=device.channels,
                sample_rate=device.rate,
                is_default=device.default,
                in_use=device.used,
            )
            for device in devices
        ]
    )


def read_devices(message: pb.ListDevicesResponse) -> list[Device]:
    """The devices in a message."""
    return [
        Device(device.name, device.index, device.channels, device.sample_rate, device.is_default, device.in_use)
        for device in message.devices
    ]
