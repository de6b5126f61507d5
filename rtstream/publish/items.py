"""What a subscriber receives, and how finals are numbered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from rtstream.errors import RtstreamError
from rtstream.events import DeviceState, Fault, Partial, Speech, Translation

if TYPE_CHECKING:
    from rtstream.events import ServiceEvent


class Position(NamedTuple):
    """The number of a final. ``sequence`` counts from 1; 0 stands before the first.

    Within an epoch numbers only grow and none is given twice. They grow across epochs too, unless history was lost.
    """

    epoch: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Published:
    """An event on its way to subscribers; finals alone have a ``sequence``.

    ``translates``: the number of the final that a translation is of; ``follows``: that of the last final before it,
    which may be a later one. ``uptime``: when it was published, in seconds from when the machine was switched on.
    """

    event: ServiceEvent
    epoch: str
    sequence: int | None = None
    translates: Position | None = None
    follows: int = field(default=0, compare=False)
    uptime: float = field(default=0.0, compare=False)

    @property
    def position(self) -> Position | None:
        """The number of a final, None for any other event."""
        return None if self.sequence is None else Position(self.epoch, self.sequence)

    @property
    def is_held(self) -> bool:
        """Whether it is held for who returns: finals, and their translations."""
        return self.sequence is not None or self.translates is not None

    @property
    def place(self) -> int:
        """Of what is held: where it is in its history, a final before the translations that follow it."""
        return self.follows if self.sequence is None else self.sequence


def passing_kind(event: ServiceEvent) -> tuple[str, ...] | None:
    """What an event is the newest of, if a newer one makes up for its loss: partials, their translations, speech.

    None for what must not be lost.
    """
    match event:
        case Partial():
            return ("partial",)
        case Speech():
            return ("speech",)
        case Translation(final=False):
            return ("translation", event.language)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Gap:
    """Finals that the subscriber asked for are not held any more; the next final is the oldest that is.

    ``expired``: older than what is kept, or never stored because the disk was full. ``unknown_epoch``: the number is of
    a history that is gone, so everything that is held follows; what the subscriber has seen may be among it.
    ``missed`` says how many finals are missing where that is known.
    """

    requested: Position
    reason: Literal["expired", "unknown_epoch"]
    missed: int | None = None


Item = Published | Gap


class SinceFinal:
    """Which translations somebody has had since the last final: who resumes after that one is given them again."""

    def __init__(self) -> None:
        self._had: set[tuple[int, str]] = set()

    def take(self, item: Published) -> bool:
        """Note an item; False for the translation of a final that was noted before."""
        if item.sequence is not None:
            self._had.clear()
        elif isinstance(item.event, Translation) and item.event.final:
            key = (item.event.segment, item.event.language)
            if key in self._had:
                return False
            self._had.add(key)
        return True

    def has(self, item: Published) -> bool:
        """Whether a translation was noted."""
        return isinstance(item.event, Translation) and (item.event.segment, item.event.language) in self._had


PASSING_FAULTS = frozenset(
    {"RECOGNITION_FAILED", "STORE_DAMAGED", "STORE_DELETED", "FINALS_LOST", "TRANSLATION_FAILED", "TRANSLATIONS_LOST"}
)
"""Faults that are over when they are told."""


class Standing:
    """What holds until there is news of it: the state of the device, and faults that have not recovered."""

    def __init__(self) -> None:
        self._newest: dict[str, Published] = {}  # by code; a device's has none

    def note(self, item: Published) -> None:
        """Take what was published."""
        match item.event:
            case DeviceState():
                self._newest[""] = item
            case Fault(code=code) if code not in PASSING_FAULTS:
                self._newest[code] = item

    def news(self, known: dict[str, Published]) -> list[Published]:
        """What somebody who has ``known`` does not know; afterwards it has."""
        told = [
            (code, item)
            for code, item in self._newest.items()
            if item is not known.get(code) and (code in known or not _is_over(item))
        ]
        known.update(told)
        return [item for _, item in told]


def _is_over(item: Published) -> bool:
    return isinstance(item.event, Fault) and item.event.recovered


class SlowSubscriberError(RtstreamError):
    """A subscriber did not read and its queue filled with what must not be dropped. ``last`` is what it was given."""

    def __init__(self, last: Position) -> None:
        super().__init__(
            f"the subscriber reads too slowly: the last final that it was given is number {last.sequence} of epoch "
            f"{last.epoch}; subscribe again after that number"
        )
        self.last = last
