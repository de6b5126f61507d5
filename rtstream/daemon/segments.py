"""A segmenter whose settings change between two segments, and whose numbers never start again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rtstream.errors import ConfigError
from rtstream.vad.segmenter import Segmenter, SegmenterConfig
from rtstream.vad.webrtc import WebRtcGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.events import AudioBlock, SegmentAudio
    from rtstream.vad.gate import Gate


@dataclass(frozen=True, slots=True)
class VadSettings:
    """What makes a stream's gate, see :func:`~rtstream.vad.open_gates.open_gates`, and the segmenter's settings."""

    new_gate: Callable[[], Gate] = WebRtcGate
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)

    def with_silence(self, milliseconds: int | None) -> VadSettings:
        """These, but for the silence that ends a segment; None: just these. Raises ConfigError if it is too long."""
        if milliseconds is None:
            return self
        try:
            return replace(self, segmenter=replace(self.segmenter, hangover_ms=milliseconds))
        except ValueError as error:
            raise ConfigError(f"silence_ms: {milliseconds} is not possible here: {error}") from None


class ChangeableSegmenter:
    """Segmenters, one after the other: new settings begin between segments, and an open segment ends as it began.

    A pipeline's :class:`~rtstream.recognizer.pipeline.Segments`. The first segment has the number ``first``.
    """

    def __init__(self, settings: VadSettings, first: int = 0) -> None:
        self.next = first
        """The number of the next segment, or of the open one."""
        self._segmenter = _segmenter(settings)
        self._first = first
        self._open = False
        self._new: VadSettings | None = None

    @property
    def quiet(self) -> bool:
        """As the segmenter's own."""
        return self._segmenter.quiet

    def change(self, settings: VadSettings) -> None:
        """Use other settings from the next segment on; any thread may call it."""
        self._new = settings

    def push(self, block: AudioBlock) -> list[SegmentAudio]:
        """As the segmenter's own."""
        if self._new is not None and not self._open:
            new, self._new = self._new, None
            self._segmenter = _segmenter(new)
            self._first = self.next
        return self._numbered(self._segmenter.push(block))

    def pause(self) -> list[SegmentAudio]:
        """As the segmenter's own."""
        return self._numbered(self._segmenter.pause())

    def finish(self) -> list[SegmentAudio]:
        """As the segmenter's own."""
        return self._numbered(self._segmenter.finish())

    def _numbered(self, given: list[SegmentAudio]) -> list[SegmentAudio]:
        numbered = [replace(audio, segment=self._first + audio.segment) for audio in given]
        if numbered:
            self._open = not numbered[-1].last
            self.next = numbered[-1].segment + numbered[-1].last
        return numbered


def _segmenter(settings: VadSettings) -> Segmenter:
    return Segmenter(settings.new_gate(), settings.segmenter)
