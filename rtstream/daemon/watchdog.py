"""Whether the service makes progress, which is what feeds systemd's watchdog."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.audio.source import Source
    from rtstream.daemon.engine import Engine


class Progress:
    """Compares the service with itself at the last look.

    Audio must have come, where some is to be expected; of a microphone that is absent, to have looked for it is as
    much as can be done. Recognition must have done something, or have nothing to do. A device that is open and gives
    nothing, a reading thread that hangs, or one that computes for ever: nothing of that is progress.
    ``publishing``: whether what is recognised is handed out.
    """

    def __init__(self, source: Source, engine: Engine, publishing: Callable[[], bool] = lambda: True) -> None:
        self._source = source
        self._engine = engine
        self._publishing = publishing
        self._signs = source.signs
        self._steps = engine.load.steps

    def made(self) -> bool:
        """Whether there was progress since it was asked last; if not, the next look compares with the same state."""
        signs, steps = self._source.signs, self._engine.load.steps
        heard = signs != self._signs or self._source.idle
        recognised = steps != self._steps or self._engine.idle
        if heard and recognised:
            self._signs, self._steps = signs, steps
        return heard and recognised and self._publishing()
