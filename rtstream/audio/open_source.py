"""From the name of a source to the source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rtstream.audio.capture_protocol import CaptureRequest
from rtstream.audio.fifo import FifoSource
from rtstream.audio.file_source import FileSource
from rtstream.audio.microphone import Microphone, MicrophoneConfig
from rtstream.audio.open import open_audio

if TYPE_CHECKING:
    from rtstream.audio.source import Source, SourceSpec


def open_source(spec: SourceSpec, request: CaptureRequest, config: MicrophoneConfig) -> Source:
    """Make the source; ``request`` and ``config`` are for microphones, whose device ``spec`` names.

    Raises AudioError where a file cannot be played: unlike a device it will not appear by itself.
    """
    match spec.kind:
        case "mic":
            named = CaptureRequest(spec.target, request.rate, request.channels, request.ring_seconds)
            return Microphone(named, config)
        case "fifo":
            return FifoSource(spec.target, spec.rate or 16_000, pause_seconds=spec.pause, create=spec.create)
        case "wav":
            if Path(spec.target).is_file() or not Path(spec.target).exists():
                open_audio(spec.target).close()
            return FileSource(spec.target, speed=spec.speed, loop=spec.loop)
        case "stdin":
            return FileSource("-", speed=0.0, raw_rate=spec.rate)
