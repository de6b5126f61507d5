"""What a Wyoming server says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wyoming.audio import AudioFormat
from wyoming.info import AsrModel, AsrProgram, Attribution, Info, MicProgram

from rtstream.events import SAMPLE_RATE

if TYPE_CHECKING:
    from rtstream.wire.values import Status

ASR = "rtstream"
MIC = "rtstream-mic"
WIDTH = 2
"""Bytes of a sample that we send."""
_ATTRIBUTION = Attribution(name="rtstream", url="")


def asr_info(status: Status, *, external_vad: bool) -> Info:
    """Speech to text, by the model that is loaded."""
    model = AsrModel(
        name=status.model,
        attribution=_ATTRIBUTION,
        installed=True,
        description=f"rtstream's model {status.model}",
        version=status.version,
        languages=list(status.recognized_languages),
    )
    program = AsrProgram(
        name=ASR,
        attribution=_ATTRIBUTION,
        installed=True,
        description="Streaming speech to text on the device itself",
        version=status.version,
        models=[model],
        supports_transcript_streaming=True,
        requires_external_vad=external_vad,
        prefers_auto_gain_enabled=False,  # a segment's level is evened out before it is recognised
    )
    return Info(asr=[program])


def mic_info(status: Status) -> Info:
    """The microphone of the service."""
    program = MicProgram(
        name=MIC,
        attribution=_ATTRIBUTION,
        installed=True,
        description="The audio that rtstream recognises",
        version=status.version,
        mic_format=AudioFormat(rate=SAMPLE_RATE, width=WIDTH, channels=1),
    )
    return Info(mic=[program])
