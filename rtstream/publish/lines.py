"""What subscribers receive, as JSON."""

from __future__ import annotations

import json
from typing import Any

from rtstream.events import SAMPLE_RATE, AudioLost, DeviceState, Fault, Final, Partial, Speech, Translation
from rtstream.formats.lines import json_line, time_field
from rtstream.publish.items import Gap, Item, Position, Published

MOST_DIGITS = 19


def item_line(item: Item, *, words: bool = False) -> str:
    """An item as JSON: partials and finals as replay writes them, finals with ``epoch`` and ``sequence`` besides."""
    return json.dumps(item_fields(item, words=words), ensure_ascii=False)


def read_position(text: str) -> Position | None:
    """``EPOCH:N``; None if it is not that, or no number that a store or a message could hold."""
    epoch, colon, sequence = text.rpartition(":")
    if not (colon and epoch and sequence.isdecimal()) or len(sequence) > MOST_DIGITS or int(sequence) >= 1 << 63:
        return None
    return Position(epoch, int(sequence))


def item_fields(item: Item, *, words: bool = False) -> dict[str, Any]:
    """An item as what :func:`item_line` writes."""
    if isinstance(item, Gap):
        after = {"epoch": item.requested.epoch, "sequence": item.requested.sequence}
        return {"type": "gap", "after": after, "reason": item.reason, "missed": item.missed}
    match item.event:
        case Partial() | Final() | Translation() as event:
            fields: dict[str, Any] = json.loads(json_line(event, words=words))
            return fields | _number(item)
        case AudioLost(position, samples, reason, time):
            start, end = round(position / SAMPLE_RATE, 3), round((position + samples) / SAMPLE_RATE, 3)
            return {"type": "audio_lost", "start": start, "end": end, "reason": reason, **time_field(time)}
        case DeviceState(device, state, detail, time):
            return {"type": "device_state", "device": device, "state": state, "detail": detail, **time_field(time)}
        case Speech(segment, position, state, time):
            start = round(position / SAMPLE_RATE, 3)
            return {"type": "speech", "segment": segment, "state": state, "start": start, **time_field(time)}
        case Fault(code, message, recovered, time):
            return {"type": "fault", "code": code, "message": message, "recovered": recovered, **time_field(time)}


def _number(item: Published) -> dict[str, str | int]:
    """The number of a final, or of the final that is translated."""
    position = item.position or item.translates
    return {} if position is None else {"epoch": position.epoch, "sequence": position.sequence}
