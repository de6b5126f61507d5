"""What a training run shows: a bar on a terminal, now and then a line elsewhere."""

import io

import pytest
from rich.console import Console

from rtstream.cli.training_progress import TrainingProgress, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def metrics(step, **changes):
    values = {"distance": 0.4, "ctc": 2.0, "decoder": 1.0, "seconds": 60.0, "step": step, "hours": step / 60}
    return values | changes


def run(steps, *, terminal, seconds=4.0, done=0, total=10, width=120):
    """What is written when each of ``steps`` takes ``seconds``."""
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width)
    with TrainingProgress(console, steps=total, done=done, clock=clock) as progress:
        for step in steps:
            clock.now += seconds
            progress.report(step)
    return out.getvalue()


def test_line_tells_step_audio_losses_speed_and_time_left():
    (line,) = run([metrics(1)], terminal=False).splitlines()
    assert line == "step 1/10  0.02 h  distance 0.40  ctc 2.00  decoder 1.00  15.0x  0:36 left"


def test_lines_come_every_half_minute():
    lines = run([metrics(step) for step in range(1, 11)], terminal=False, seconds=10.0).splitlines()
    assert [line.split("/")[0] for line in lines] == ["step 1", "step 4", "step 7", "step 10"]


def test_terminal_gets_a_bar():
    shown = run([metrics(4)], terminal=True, done=3)
    assert "4/10" in shown
    assert "15.0x" in shown
    assert "━" in shown


def test_all_fits_on_one_line_of_a_usual_terminal():
    shown = run([metrics(1234, hours=23.45)], terminal=True, width=80, total=2000, seconds=40.0)
    last = [line for line in shown.replace("\x1b[2K", "\n").splitlines() if "decoder" in line][-1]
    assert "1234/2000" in last
    assert "left" in last


def test_losses_are_smoothed_and_unknown_ones_do_not_count():
    steps = [metrics(1), metrics(2, ctc=float("nan")), metrics(3, ctc=0.0), metrics(4, ctc=3.0)]
    lines = run(steps, terminal=False, seconds=40.0).splitlines()
    assert [line.split("ctc ")[1].split()[0] for line in lines] == ["2.00", "2.00", "2.00", "2.03"]


def test_distance_goes_when_the_teacher_rests():
    lines = run([metrics(1), metrics(2, distance=0.0)], terminal=False, seconds=40.0).splitlines()
    assert "distance" in lines[0]
    assert "distance" not in lines[1]


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:00"), (42, "0:42"), (725, "12:05"), (11_525, "3:12:05")])
def test_durations_are_read_as_on_a_clock(seconds, text):
    assert duration(seconds) == text
