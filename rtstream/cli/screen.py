"""Lines of a terminal that are written over and over: how far a long recording has come, and the newest words."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len

from rtstream.cli.wrapping import wrap
from rtstream.events import SAMPLE_RATE, Final, Partial, Translation
from rtstream.formats.lines import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.events import Event

ERASE_REST, ERASE_BELOW = "\x1b[K", "\x1b[J"
"""Erase from the cursor to the end of the line, or of the screen, on every terminal but a "dumb" one."""
LIVE_LINES = 3
"""So many of the newest lines are shown."""
LONG_SECONDS = 60.0
"""From this length on a recording shows how far it has come."""
BAR_CELLS = 20
BAR_COLUMNS = 80
"""Narrower terminals have no room for the bar, only for its numbers."""
REFRESH_SECONDS = 0.1


def live_stream(*, beside_output: bool) -> TextIO | None:
    """The terminal for the live line, None where there is none.

    It is standard error, or standard output if ``beside_output``: what goes there can stand on the same terminal.
    """
    if os.environ.get("TERM") == "dumb":
        return None
    return next((s for s in (sys.stderr, sys.stdout if beside_output else None) if s is not None and s.isatty()), None)


class LiveText:
    """The words of the segment that is being spoken, and of its translations."""

    def __init__(self) -> None:
        self._segment: int | None = None
        self._texts: dict[str, str] = {}

    def add(self, event: Event) -> str:
        """What to show after an event; nothing after the segment's final."""
        match event:
            case Final():
                self._segment = None
            case Partial():
                if event.segment != self._segment:
                    self._segment, self._texts = event.segment, {}
                self._texts[""] = event.text
            case Translation() if event.segment == self._segment:
                self._texts[event.language] = event.text
        return "" if self._segment is None else " | ".join(text for text in self._texts.values() if text)


class LiveLine:
    """The live line on ``stream``, or nothing at all where that is None. ``clock`` gives seconds.

    It grows to a few lines where the text needs them. Before anything else is written to the terminal it must be
    cleared.
    """

    def __init__(self, stream: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._drawn_at: float | None = None
        self._drawn = 1  # lines
        self._text = ""
        self.begin(0.0)

    @property
    def visible(self) -> bool:
        """Whether there is a terminal to show anything on."""
        return self._stream is not None

    def begin(self, duration: float | None) -> None:
        """Turn to a recording of ``duration`` seconds; None if that is not known."""
        self._duration = duration
        self._started = self._clock()
        self._position = 0.0

    def show(self, text: str) -> None:
        """Show ``text``, or its end where that is too long; nothing if it is empty."""
        self._text = clean(text)
        self._draw()

    def advance(self, samples: int) -> None:
        """Say how many samples of the recording are done. Drawn if it is long, and no faster than the eye sees."""
        self._position = samples / SAMPLE_RATE
        if self._is_long and (self._drawn_at is None or self._clock() - self._drawn_at >= REFRESH_SECONDS):
            self._draw()

    def clear(self) -> None:
        """Leave the line empty."""
        if self._stream is not None and self._drawn_at is not None:
            self._stream.write(f"{self._home()}{ERASE_REST if self._drawn == 1 else ERASE_BELOW}")
            self._stream.flush()
        self._drawn_at = None
        self._drawn = 1

    @property
    def _is_long(self) -> bool:
        return self._duration is None or self._duration >= LONG_SECONDS

    def _draw(self) -> None:
        if self._stream is None:
            return
        columns = terminal_columns(self._stream) - 1  # a character in the last column makes some terminals wrap
        lines = self._lines(self._bar(columns) if self._is_long else "", columns)
        below = ERASE_BELOW if self._drawn > len(lines) else ""
        self._stream.write(self._home() + "\n".join(f"{line}{ERASE_REST}" for line in lines) + below)
        self._stream.flush()
        self._drawn = len(lines)
        self._drawn_at = self._clock()

    def _lines(self, bar: str, columns: int) -> list[str]:
        """The bar and the text beside it, if there is room for them; else the bar above the newest lines."""
        if cell_len(bar) + cell_len(self._text) <= columns:
            return [bar + self._text]
        above = [bar] if bar else []
        return [*above, *_newest(self._text, columns, LIVE_LINES - len(above))]

    def _home(self) -> str:
        """To the beginning of what is drawn."""
        return "\r" if self._drawn == 1 else f"\r\x1b[{self._drawn - 1}A"

    def _bar(self, columns: int) -> str:
        speed = f"{self._position / max(self._clock() - self._started, 1e-3):.1f}x"
        if self._duration is None:
            return f"{_clock(self._position)} {speed}  "
        share = min(self._position / self._duration, 1.0)
        full = int(share * BAR_CELLS)
        drawn = f"{'━' * full}{'─' * (BAR_CELLS - full)} " if columns >= BAR_COLUMNS - 1 else ""
        return f"{share:4.0%} {drawn}{_clock(self._position)} of {_clock(self._duration)} {speed}  "


def terminal_columns(stream: TextIO) -> int:
    """How wide the terminal is, now."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _newest(text: str, columns: int, count: int) -> list[str]:
    """The last ``count`` lines of ``text``, marked if something is missing."""
    lines = wrap(text, columns)
    if len(lines) <= count:
        return lines
    lines = wrap(text, max(columns - 1, 1))[-count:]
    return [f"…{lines[0]}", *lines[1:]]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"
