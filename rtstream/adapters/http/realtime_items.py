"""The turns of a realtime session: from what is recognised to OpenAI's events, in their order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtstream.events import SAMPLE_RATE, Fault, Final, Flushed, Partial, Speech

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rtstream.events import StreamEvent

TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass(slots=True)
class _Item:
    """A turn; ``shown``: of the open segment, as deltas. ``texts``: of its finals."""

    name: str
    shown: str = ""
    texts: list[str] = field(default_factory=list)
    samples: int = 0
    committed: bool = False


class Items:
    """With the service's turn detection each segment is an item; without it, what is between two commits."""

    def __init__(self, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._events = itertools.count(1)
        self._server_vad = True
        self._open: dict[int, _Item] = {}  # by segment, or by the number of the commit
        self._commits = 0
        self._answered = 0
        self._previous: str | None = None

    def event_id(self) -> str:
        """A new one."""
        return f"event_{next(self._events)}"

    def restart(self, *, server_vad: bool) -> None:
        """Take the events of a new stream."""
        self._server_vad = server_vad
        self._open = {}
        self._commits = self._answered = 0

    def forget(self) -> None:
        """Drop what is not complete."""
        self._open = {}

    def begin(self) -> None:
        """Begin the item that the next commit ends."""
        self._item(self._commits)

    async def commit(self) -> None:
        """End the item that the client fills."""
        item = self._item(self._commits)
        self._commits += 1
        await self._tell_commit(item)

    async def take(self, event: StreamEvent) -> None:
        """Send what follows from an event of the stream."""
        match event:
            case Speech(segment, position, "started") if self._server_vad:
                item = self._item(segment)
                at = round(position * 1000 / SAMPLE_RATE)
                await self._send(
                    {"type": "input_audio_buffer.speech_started", "audio_start_ms": at, "item_id": item.name}
                )
            case Speech(segment, position, "ended") if self._server_vad:
                item = self._item(segment)
                at = round(position * 1000 / SAMPLE_RATE)
                await self._send(
                    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": at, "item_id": item.name}
                )
                await self._tell_commit(item)
            case Partial() | Final():
                await self._text(event)
            case Flushed():
                if self._server_vad:
                    await self.end()
                else:
                    await self._complete(self._answered)
                    self._answered += 1
            case Fault():
                for key in list(self._open):
                    item = self._open.pop(key)
                    error = {"type": "server_error", "code": event.code.lower(), "message": event.message}
                    await self._send({"type": f"{TRANSCRIPTION}.failed", **_part(item), "error": error})

    async def end(self) -> None:
        """Complete all that is open: nothing more comes."""
        for key in list(self._open):
            await self._complete(key)

    async def _text(self, event: Partial | Final) -> None:
        key = event.segment if self._server_vad else self._answered
        for before in [known for known in self._open if known < key]:
            await self._complete(before)  # nothing was recognised in it
        item = self._item(key)
        if event.text.startswith(item.shown) and len(event.text) > len(item.shown):
            space = " " if item.texts and not item.shown else ""
            delta = f"{space}{event.text[len(item.shown) :]}"
            item.shown = event.text
            await self._send({"type": f"{TRANSCRIPTION}.delta", **_part(item), "delta": delta})
        if isinstance(event, Final):
            item.shown = ""
            item.samples += event.end - event.start
            if event.text:
                item.texts.append(event.text)
            if self._server_vad:
                await self._complete(key)

    async def _complete(self, key: int) -> None:
        item = self._open.pop(key, None)
        if item is None:
            return
        if not item.committed:
            await self._tell_commit(item)
        usage = {"type": "duration", "seconds": round(item.samples / SAMPLE_RATE, 3)}
        text = " ".join(item.texts)
        await self._send({"type": f"{TRANSCRIPTION}.completed", **_part(item), "transcript": text, "usage": usage})

    async def _tell_commit(self, item: _Item) -> None:
        if item.committed:
            return
        item.committed = True
        before, self._previous = self._previous, item.name
        await self._send({"type": "input_audio_buffer.committed", "item_id": item.name, "previous_item_id": before})
        content = [{"type": "input_audio", "transcript": None}]
        about = {"id": item.name, "type": "message", "role": "user", "status": "completed", "content": content}
        for kind in ("added", "done"):
            await self._send({"type": f"conversation.item.{kind}", "item": about, "previous_item_id": before})

    def _item(self, key: int) -> _Item:
        if key not in self._open:
            self._open[key] = _Item(f"item_{next(self._numbers)}")
        return self._open[key]


def _part(item: _Item) -> dict[str, object]:
    return {"item_id": item.name, "content_index": 0}
