"""The client of rtstream's own commands: its events are those of the recogniser, with times in samples."""

from __future__ import annotations

from rtstream.client.calls import Calls
from rtstream.events import Final, StreamEvent, Translation
from rtstream.publish.items import Item


class SampleClient(Calls[Item, StreamEvent, Final, Translation]):
    """A connection to the service, as :class:`AsyncClient`, whose events can be written as those of ``replay`` are."""

    def _item(self, item: Item) -> Item:
        return item

    def _event(self, event: StreamEvent) -> StreamEvent:
        return event

    def _final(self, final: Final) -> Final:
        return final

    def _translation(self, translation: Translation) -> Translation:
        return translation
