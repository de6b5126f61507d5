"""Events as messages of the wire, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from rtstream.events import (
    SAMPLE_RATE,
    AudioLost,
    DeviceState,
    Fault,
    Final,
    Flushed,
    Partial,
    Speech,
    Translation,
    Word,
)
from rtstream.publish.items import Gap, Position, Published
from rtstream.wire.v1 import rtstream_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.events import ServiceEvent, StreamEvent
    from rtstream.publish.items import Item

NANOSECONDS = 1_000_000_000 // SAMPLE_RATE
"""Of a sample: 62500, without remainder, so that offsets survive the way there and back."""

_SOURCES = {"decoder": pb.FINAL_SOURCE_DECODER, "ctc": pb.FINAL_SOURCE_CTC}
_REASONS = {
    "overflow": pb.AUDIO_LOSS_REASON_OVERFLOW,
    "behind": pb.AUDIO_LOSS_REASON_BEHIND,
    "device": pb.AUDIO_LOSS_REASON_DEVICE,
}
_STATES = {
    "starting": pb.CAPTURE_STATE_STARTING,
    "capturing": pb.CAPTURE_STATE_CAPTURING,
    "muted": pb.CAPTURE_STATE_MUTED,
    "paused": pb.CAPTURE_STATE_PAUSED,
    "stalled": pb.CAPTURE_STATE_STALLED,
    "lost": pb.CAPTURE_STATE_LOST,
    "ended": pb.CAPTURE_STATE_ENDED,
}
_SPEECH = {"started": pb.SPEECH_STATE_STARTED, "ended": pb.SPEECH_STATE_ENDED}
_GAPS = {"expired": pb.GAP_REASON_EXPIRED, "unknown_epoch": pb.GAP_REASON_UNKNOWN_EPOCH}
_SOURCE_NAMES = {number: name for name, number in _SOURCES.items()}
_REASON_NAMES = {number: name for name, number in _REASONS.items()}
_STATE_NAMES = {number: name for name, number in _STATES.items()}
_SPEECH_NAMES = {number: name for name, number in _SPEECH.items()}
_GAP_NAMES = {number: name for name, number in _GAPS.items()}


def duration(samples: int) -> Duration:
    """A number of samples at 16 kHz, exactly."""
    seconds, rest = divmod(samples, SAMPLE_RATE)
    return Duration(seconds=seconds, nanos=rest * NANOSECONDS)


def samples(offset: Duration) -> int:
    """The number of samples of an offset, exactly for what :func:`duration` made."""
    return offset.seconds * SAMPLE_RATE + round(offset.nanos / NANOSECONDS)


def from_seconds(seconds: float) -> Duration:
    """A time that is not an offset, to the nanosecond."""
    whole, nanos = divmod(round(seconds * 1e9), 10**9)
    return Duration(seconds=whole, nanos=nanos)


def to_seconds(offset: Duration) -> float:
    """Seconds, as a float."""
    return offset.seconds + offset.nanos / 1e9


def timestamp(time: float | None) -> Timestamp | None:
    """A time of day in Unix seconds, to the millisecond; None stays None."""
    if time is None:
        return None
    seconds, milliseconds = divmod(round(time * 1000), 1000)
    return Timestamp(seconds=seconds, nanos=milliseconds * 10**6)


def read_time(
    message: pb.Partial | pb.Final | pb.Translation | pb.AudioLost | pb.DeviceState | pb.Fault | pb.Speech,
) -> float | None:
    """The time of day of an event in Unix seconds, None if it says none."""
    return round(message.time.seconds + message.time.nanos / 1e9, 3) if message.HasField("time") else None


def position_message(position: Position) -> pb.Position:
    """The number of a final."""
    return pb.Position(epoch=position.epoch, sequence=position.sequence)


def partial_message(partial: Partial, *, words: bool) -> pb.Partial:
    """A partial; its words only if asked for."""
    return pb.Partial(
        segment=partial.segment,
        start=duration(partial.start),
        end=duration(partial.end),
        text=partial.text,
        words=_words(partial.words) if words else (),
        time=timestamp(partial.time),
        language=partial.language,
    )


def final_message(final: Final, *, words: bool, position: Position | None = None) -> pb.Final:
    """A final; its words only if asked for."""
    return pb.Final(
        segment=final.segment,
        start=duration(final.start),
        end=duration(final.end),
        text=final.text,
        words=_words(final.words) if words else (),
        source=_SOURCES[final.source],
        position=None if position is None else position_message(position),
        time=timestamp(final.time),
        confidence=final.confidence,
        language=final.language,
    )


def translation_message(translation: Translation, *, translates: Position | None = None) -> pb.Translation:
    """A translation; ``translates``: the number of its final."""
    return pb.Translation(
        segment=translation.segment,
        start=duration(translation.start),
        end=duration(translation.end),
        text=translation.text,
        language=translation.language,
        final=translation.final,
        position=None if translates is None else position_message(translates),
        time=timestamp(translation.time),
    )


def fault_message(fault: Fault) -> pb.Fault:
    """A fault."""
    return pb.Fault(code=fault.code, message=fault.message, recovered=fault.recovered, time=timestamp(fault.time))


def device_state_message(device: DeviceState) -> pb.DeviceState:
    """What the source is doing."""
    return pb.DeviceState(
        device=device.device, state=_STATES[device.state], detail=device.detail, time=timestamp(device.time)
    )


def audio_lost_message(lost: AudioLost) -> pb.AudioLost:
    """Audio that was lost."""
    return pb.AudioLost(
        start=duration(lost.position),
        duration=duration(lost.samples),
        reason=_REASONS[lost.reason],
        time=timestamp(lost.time),
    )


def speech_message(speech: Speech) -> pb.Speech:
    """Somebody begins to speak, or has stopped."""
    return pb.Speech(
        segment=speech.segment,
        state=_SPEECH[speech.state],
        offset=duration(speech.position),
        time=timestamp(speech.time),
    )


def subscribe_response(item: Item | Position, *, words: bool = False) -> pb.SubscribeResponse:  # noqa: PLR0911 - a table
    """An item of a subscription, or a heartbeat at a position."""
    if isinstance(item, Position):
        return pb.SubscribeResponse(heartbeat=pb.Heartbeat(position=position_message(item)))
    if isinstance(item, Gap):
        gap = pb.Gap(requested=position_message(item.requested), reason=_GAPS[item.reason], missed=item.missed or 0)
        return pb.SubscribeResponse(gap=gap)
    match item.event:
        case Partial() as event:
            return pb.SubscribeResponse(partial=partial_message(event, words=words))
        case Final() as event:
            return pb.SubscribeResponse(final=final_message(event, words=words, position=item.position))
        case Translation() as event:
            return pb.SubscribeResponse(translation=translation_message(event, translates=item.translates))
        case AudioLost() as event:
            return pb.SubscribeResponse(audio_lost=audio_lost_message(event))
        case DeviceState() as event:
            return pb.SubscribeResponse(device_state=device_state_message(event))
        case Fault() as event:
            return pb.SubscribeResponse(fault=fault_message(event))
        case Speech() as event:
            return pb.SubscribeResponse(speech=speech_message(event))


def recognize_response(event: StreamEvent, *, words: bool = False) -> pb.RecognizeResponse:  # noqa: PLR0911 - a table
    """An event of a client's own stream."""
    match event:
        case Partial():
            return pb.RecognizeResponse(partial=partial_message(event, words=words))
        case Final():
            return pb.RecognizeResponse(final=final_message(event, words=words))
        case Translation():
            return pb.RecognizeResponse(translation=translation_message(event))
        case AudioLost():
            return pb.RecognizeResponse(audio_lost=audio_lost_message(event))
        case Fault():
            return pb.RecognizeResponse(fault=fault_message(event))
        case Speech():
            return pb.RecognizeResponse(speech=speech_message(event))
        case Flushed():
            return pb.RecognizeResponse(flushed=pb.Flushed())


def read_event(  # noqa: PLR0911 - a table
    message: pb.SubscribeResponse | pb.RecognizeResponse,
) -> ServiceEvent | Flushed | None:
    """The event in a message; None for a heartbeat, a gap, and what a newer service may send."""
    match message.WhichOneof("event"):
        case "partial":
            partial = message.partial
            return Partial(
                partial.segment,
                samples(partial.start),
                samples(partial.end),
                partial.text,
                read_words(partial.words),
                read_time(partial),
                partial.language,
            )
        case "final":
            return read_final(message.final)
        case "translation":
            return read_translation(message.translation)
        case "audio_lost":
            lost = message.audio_lost
            reason = _REASON_NAMES.get(lost.reason, "behind")
            start, length = samples(lost.start), samples(lost.duration)
            return AudioLost(start, length, reason, read_time(lost))  # type: ignore[arg-type]  # a table
        case "device_state" if isinstance(message, pb.SubscribeResponse):
            return read_device_state(message.device_state)
        case "fault":
            return read_fault(message.fault)
        case "speech":
            return read_speech(message.speech)
        case "flushed" if isinstance(message, pb.RecognizeResponse):
            return Flushed()
        case _:
            return None


def read_item(message: pb.SubscribeResponse, epoch: str) -> Item | None:
    """The item in a message, None for heartbeats and what is not known; ``epoch``: of what has no number."""
    if message.WhichOneof("event") == "gap":
        gap = message.gap
        reason = _GAP_NAMES.get(gap.reason, "expired")
        return Gap(read_position(gap.requested), reason, gap.missed or None)  # type: ignore[arg-type]  # a table
    event = read_event(message)
    if event is None or isinstance(event, Flushed):
        return None
    if isinstance(event, Final):
        position = read_position(message.final.position)
        return Published(event, position.epoch, position.sequence)
    if isinstance(event, Translation) and message.translation.HasField("position"):
        return Published(event, epoch, translates=read_position(message.translation.position))
    return Published(event, epoch)


def read_final(final: pb.Final) -> Final:
    """A final."""
    source = _SOURCE_NAMES.get(final.source, "decoder")
    return Final(
        final.segment,
        samples(final.start),
        samples(final.end),
        final.text,
        read_words(final.words),
        source,  # type: ignore[arg-type]  # a table
        final.confidence if final.HasField("confidence") else None,
        read_time(final),
        final.language,
    )


def read_translation(translation: pb.Translation) -> Translation:
    """A translation."""
    return Translation(
        translation.segment,
        samples(translation.start),
        samples(translation.end),
        translation.text,
        translation.language,
        translation.final,
        read_time(translation),
    )


def read_speech(speech: pb.Speech) -> Speech | None:
    """Somebody begins to speak, or has stopped; None if it says neither."""
    state = _SPEECH_NAMES.get(speech.state)
    if state is None:
        return None
    return Speech(speech.segment, samples(speech.offset), state, read_time(speech))  # type: ignore[arg-type]  # a table


def read_fault(fault: pb.Fault) -> Fault:
    """A fault."""
    return Fault(fault.code, fault.message, fault.recovered, read_time(fault))


def read_device_state(device: pb.DeviceState) -> DeviceState:
    """What the source is doing."""
    state = _STATE_NAMES.get(device.state, "starting")
    return DeviceState(device.device, state, device.detail, read_time(device))  # type: ignore[arg-type]  # a table


def read_position(position: pb.Position) -> Position:
    """The number of a final."""
    return Position(position.epoch, position.sequence)


def read_words(words: Sequence[pb.Word]) -> tuple[Word, ...]:
    """Words with times."""
    return tuple(Word(word.text, samples(word.start), samples(word.end), word.confidence) for word in words)


def _words(words: Sequence[Word]) -> list[pb.Word]:
    return [
        pb.Word(text=word.text, start=duration(word.start), end=duration(word.end), confidence=word.confidence)
        for word in words
    ]
