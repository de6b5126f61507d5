"""The log: what must never be in it, and that it never breaks what is logged."""

import io
import os

import pytest
import structlog

from rtstream.logging import configure


@pytest.fixture(autouse=True)
def _defaults():
    yield
    structlog.reset_defaults()


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
