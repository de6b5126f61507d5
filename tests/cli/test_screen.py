import io
import os
import pty

import pyte
import pyte.modes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rtstream.cli import screen
from rtstream.cli.screen import ERASE_REST, LiveLine, live_stream
from rtstream.cli.wrapping import wrap, wrap_transcript


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def lines(self):
        """Every state of the line."""
        return [line.removesuffix(ERASE_REST) for line in self.getvalue().split("\r")[1:]]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(screen, "terminal_columns", lambda _: 30)


def test_text_replaces_the_text_before():
    line = LiveLine(terminal := Terminal())
    line.show("one two")
    line.show("one")
    assert terminal.getvalue() == f"\rone two{ERASE_REST}\rone{ERASE_REST}"


def screen_of(written, columns=30, rows=10):
    """What a terminal shows, line by line, and what it had to scroll away."""
    shown = pyte.HistoryScreen(columns, rows, history=1000)
    shown.set_mode(pyte.modes.LNM)  # as the kernel's terminal makes of a newline
    pyte.Stream(shown).feed(written)
    gone = ["".join(line[column].data for column in range(columns)).rstrip() for line in shown.history.top]
    return [line.rstrip() for line in gone + shown.display]


QUICK = "the quick brown fox jumps over the lazy dog"


@pytest.mark.usefixtures("narrow")
def test_long_text_has_several_lines_that_break_between_words():
    line = LiveLine(terminal := Terminal())
    for end in range(1, len(QUICK) + 1):
        line.show(QUICK[:end])
    assert screen_of(terminal.getvalue())[:3] == ["the quick brown fox jumps", "over the lazy dog", ""]


@pytest.mark.usefixtures("narrow")
def test_longest_text_shows_its_newest_lines():
    line = LiveLine(terminal := Terminal())
    for count in range(1, 5):
        line.show(" ".join([QUICK] * count))
    first, *others = screen_of(terminal.getvalue())
    assert first.startswith("…")
    assert others[1].endswith("the lazy dog")
    assert others[2:] == [""] * 7


@pytest.mark.usefixtures("narrow")
def test_lines_are_cleared_without_a_trace_at_the_bottom_of_the_screen_too():
    line = LiveLine(terminal := Terminal())
    for number in range(20):
        line.show(QUICK)
        line.show("short")
        line.show(f"{QUICK} {QUICK}")
        line.clear()
        terminal.write(f"final {number}\n")
    line.show(QUICK)
    shown = screen_of(terminal.getvalue())
    assert [text for text in shown if text] == [*(f"final {number}" for number in range(20)), *wrap(QUICK, 29)]


@pytest.mark.usefixtures("narrow")
def test_progress_stands_above_a_text_that_needs_lines_of_its_own():
    clock = Clock()
    line = LiveLine(terminal := Terminal(), clock)
    line.begin(100.0)
    clock.now += 1
    line.advance(50 * 16_000)
    line.show(QUICK)
    assert screen_of(terminal.getvalue())[:3] == [" 50% 00:50 of 01:40 50.0x", *wrap(QUICK, 29)]


@given(st.text(), st.integers(3, 100))
def test_text_never_reaches_the_edge_and_is_the_end_of_what_was_said(text, columns):
    lines = screen._newest(screen.clean(text), columns, 3)
    assert len(lines) <= 3
    assert all(cell_len(line) <= columns for line in lines)
    said = "".join(screen.clean(text).split())
    assert said.endswith("".join(lines).removeprefix("…").replace(" ", ""))


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" ")), st.integers(4, 60))
def test_wrapped_text_is_the_text_and_cuts_only_words_that_are_too_long(text, columns):
    text = " ".join(text.split())
    lines = wrap(text, columns, "  ")
    assert all(cell_len(line) <= columns for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert "".join("".join(lines).split()) == "".join(text.split())
    if all(cell_len(word) <= columns - 2 for word in text.split()):
        assert " ".join(line.strip() for line in lines) == text


def test_text_of_a_transcript_stands_beside_its_times():
    line = "[00:01.00 - 00:02.50] the quick brown fox jumps over the lazy dog\n    00:01.00 00:01.20 0.90 the\n"
    assert wrap_transcript(line, 50) == (
        "[00:01.00 - 00:02.50] the quick brown fox jumps\n"
        "                      over the lazy dog\n"
        "    00:01.00 00:01.20 0.90 the\n"
    )
    assert wrap_transcript(line, 30).splitlines()[:2] == ["[00:01.00 - 00:02.50] the", "  quick brown fox jumps over"]
    assert wrap_transcript(line, 100) == line


def test_control_codes_in_a_text_are_not_obeyed():
    line = LiveLine(terminal := Terminal())
    line.show("one\x1b[2Jtwo\nthree")
    assert terminal.lines == ["one[2Jtwo three"]


def test_cleared_line_is_empty_and_is_cleared_once():
    line = LiveLine(terminal := Terminal())
    line.clear()
    assert terminal.getvalue() == ""
    line.show("one")
    line.clear()
    line.clear()
    assert terminal.lines == ["one", ""]


def test_short_recording_has_no_progress():
    line = LiveLine(terminal := Terminal(), Clock())
    line.begin(59.0)
    line.advance(16_000)
    line.show("one")
    assert terminal.lines == ["one"]


def test_long_recording_shows_how_far_it_is_and_how_fast():
    clock = Clock()
    line = LiveLine(terminal := Terminal(), clock)
    line.begin(7200.0)
    clock.now += 60
    line.advance(1800 * 16_000)
    line.show("one")
    assert terminal.lines == [
        f" 25% {'━' * 5}{'─' * 15} 30:00 of 2:00:00 30.0x  ",
        f" 25% {'━' * 5}{'─' * 15} 30:00 of 2:00:00 30.0x  one",
    ]


@pytest.mark.usefixtures("narrow")
def test_narrow_terminal_has_the_numbers_only():
    clock = Clock()
    line = LiveLine(terminal := Terminal(), clock)
    line.begin(100.0)
    clock.now += 1
    line.advance(50 * 16_000)
    assert terminal.lines == [" 50% 00:50 of 01:40 50.0x  "]


def test_unknown_length_shows_the_position():
    clock = Clock()
    line = LiveLine(terminal := Terminal(), clock)
    line.begin(None)
    clock.now += 2
    line.advance(90 * 16_000)
    assert terminal.lines == ["01:30 45.0x  "]


def test_progress_is_drawn_ten_times_a_second_at_most():
    clock = Clock()
    line = LiveLine(terminal := Terminal(), clock)
    line.begin(1000.0)
    for block in range(1000):
        clock.now += 0.002
        line.advance(block * 1600)
    assert 15 <= len(terminal.lines) <= 20


def test_more_audio_than_promised_is_no_more_than_everything():
    line = LiveLine(terminal := Terminal(), Clock())
    line.begin(60.0)
    line.advance(90 * 16_000)
    assert terminal.lines[0].startswith("100%")


def test_without_a_terminal_nothing_is_done():
    line = LiveLine(None)
    line.begin(None)
    line.show("one")
    line.advance(16_000)
    line.clear()
    assert not line.visible


def test_width_is_that_of_the_terminal():
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 33, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        assert screen.terminal_columns(stream) == 33
    os.close(ours)


@pytest.mark.parametrize(
    ("error_is", "output_is", "beside", "wanted"),
    [(True, True, True, "err"), (False, True, True, "out"), (False, True, False, None), (False, False, True, None)],
)
def test_live_line_goes_to_standard_error_or_beside_the_output(monkeypatch, error_is, output_is, beside, wanted):
    streams = {"err": Terminal() if error_is else io.StringIO(), "out": Terminal() if output_is else io.StringIO()}
    monkeypatch.setattr("sys.stderr", streams["err"])
    monkeypatch.setattr("sys.stdout", streams["out"])
    monkeypatch.setenv("TERM", "xterm")
    assert live_stream(beside_output=beside) is streams.get(wanted)
    monkeypatch.setenv("TERM", "dumb")
    assert live_stream(beside_output=beside) is None
