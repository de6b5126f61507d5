"""The client for programs of asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.client.calls import Calls
from rtstream.publish.seconds import (
    Event,
    Final,
    RecognizedEvent,
    Translation,
    read_event,
    read_final,
    read_item,
    read_translation,
)

if TYPE_CHECKING:
    from rtstream import events
    from rtstream.publish.items import Item


class AsyncClient(Calls[Event, RecognizedEvent, Final, Translation]):
    """A connection to the service at ``target``: ``unix:PATH`` or ``HOST:PORT``; without a port 7660.

    ``token``: a bearer token; ``tls``: None for an unencrypted connection. Connects when first needed, and again when
    the connection is lost. Use it as a context manager on one event loop, or :meth:`close` it. All times are in
    seconds. Every method raises ServerError. Making one raises ConfigError for an impossible target, or TLS files that
    cannot be used.
    """

    def _item(self, item: Item) -> Event:
        return read_item(item)

    def _event(self, event: events.StreamEvent) -> RecognizedEvent:
        return read_event(event)

    def _final(self, final: events.Final) -> Final:
        return read_final(final)

    def _translation(self, translation: events.Translation) -> Translation:
        return read_translation(translation)
