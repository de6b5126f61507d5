"""When speech starts and ends in a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtstream.events import Speech

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.events import SegmentAudio


class SpeechTeller:
    """Tells of the begin and end of each segment as soon as the segmenter knows it, before anything is recognised."""

    def __init__(self, give: Callable[[Speech], None]) -> None:
        self._give = give
        self._open: int | None = None
        self._position = 0  # of the end of what was heard

    def hear(self, audio: SegmentAudio) -> None:
        """Take the next audio of a segment."""
        if self._open is None:
            self._give(Speech(audio.segment, audio.position, "started"))
        self._open = audio.segment
        self._position = audio.position + len(audio.samples)
        if audio.last:
            self._end(self._position - audio.silence)

    def abandon(self) -> None:
        """Say that nothing more comes of the open segment, if any: its recognition has failed."""
        if self._open is not None:
            self._end(self._position)

    def _end(self, position: int) -> None:
        if self._open is not None:
            self._give(Speech(self._open, position, "ended"))
        self._open = None
