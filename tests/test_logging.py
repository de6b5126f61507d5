"""The log: what must never be in it, and that it never breaks what is logged."""

import errno
import io
import json
import logging
import os

import pytest
import structlog

from rtstream.logging import configure


@pytest.fixture(autouse=True)
def _defaults():
    yield
    structlog.reset_defaults()
    for handler in [each for each in logging.getLogger().handlers if type(each).__module__ == "rtstream.logging"]:
        logging.getLogger().removeHandler(handler)


def test_stream_that_is_closed_breaks_nothing():
    stream = io.StringIO()
    configure("info", stream)
    stream.close()
    structlog.get_logger().error("nobody hears this")


def test_reader_that_has_gone_breaks_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stream:
        configure("info", stream)
        for _ in range(3):
            structlog.get_logger().error("nobody hears this either")
        with pytest.raises(BrokenPipeError):  # it is as broken as was meant
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


def test_traceback_on_a_terminal_shows_no_values():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    configure("info", stream)
    said = "what was said " * 2
    try:
        len(said) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    assert "ZeroDivisionError" in stream.getvalue()
    assert said not in stream.getvalue()


def test_what_libraries_tell_are_entries_like_all_others():
    stream = io.StringIO()
    configure("info", io.StringIO())
    configure("info", stream)  # each once
    library = logging.getLogger("a.library")
    try:
        len([]) / 0
    except ZeroDivisionError:
        library.exception("it failed\nat length")
    library.info("of no interest")
    [entry] = map(json.loads, stream.getvalue().splitlines())
    assert (entry["event"], entry["level"], entry["library"]) == ("it failed", "error", library.name)
    assert "Traceback" in entry["exception"]


def test_descriptor_that_was_closed_before_the_event_loop_came_to_it_is_no_error():
    stream = io.StringIO()
    configure("info", stream)
    asyncio_s = logging.getLogger("asyncio")
    asyncio_s.error("Exception in callback", exc_info=OSError(errno.EBADF, "Bad file descriptor"))
    assert stream.getvalue() == ""
    asyncio_s.error("Exception in callback", exc_info=OSError(errno.EIO, "broken"))
    assert json.loads(stream.getvalue())["library"] == "asyncio"
