"""Set-up of the program's log: for people on a terminal, one JSON object a line elsewhere, always standard error.

Standard output belongs to transcripts, and transcripts never go into the log.
"""

from __future__ import annotations

import errno
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

# structlog takes rich where there is one, for tracebacks in colour that are never written here: 5 MB of memory. That
# there is none is how Python is told that nothing imports it.
_modules = cast("dict[str, ModuleType | None]", sys.modules)
_modules.setdefault("rich", None)
try:
    import structlog
finally:
    if _modules["rich"] is None:
        del _modules["rich"]

if TYPE_CHECKING:
    from types import ModuleType

    from structlog.typing import Processor


def configure(level: str = "warning", stream: TextIO | None = None) -> None:
    """Send log entries of at least ``level`` ("debug" to "error") to ``stream``, by default standard error."""
    stream = sys.stderr if stream is None else stream
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if stream.isatty():
        # Its own traceback would show the values of variables: what was said, among others.
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Unfailing(stream))),
    )


class _Libraries(logging.Handler):
    """Makes entries of what libraries tell by Python's own logging, which else would be lines of another form."""

    def emit(self, record: logging.LogRecord) -> None:
        level, exception = record.levelno, record.exc_info and record.exc_info[1]
        if record.name == "asyncio" and isinstance(exception, OSError) and exception.errno == errno.EBADF:
            level = logging.DEBUG  # closed before the event loop came to watch it: whoever closed it knows
        told = record.getMessage().partition("\n")[0]
        structlog.get_logger().log(level, told, library=record.name, exc_info=exception or None)


class _Unfailing:
    """Writes to a stream as long as that goes: a log that nobody can read any more must not end what is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a full disk, a reader that has gone; closed
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()
