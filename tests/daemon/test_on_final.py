"""The user's command for every final: real processes, one at a time, bounded in number and time."""

import json
import sys
import threading
import time

import pytest

from rtstream.config import Service
from rtstream.daemon import on_final
from rtstream.daemon.on_final import OnFinal
from rtstream.events import Fault, Final
from tests.audio.sound_server import until
from tests.recognizer.tiny_bundle import DATA

LONG = 120.0


def final(number, text=None):
    return Final(
        number,
        0,
        16_000,
        f"final {number}" if text is None else text,
        confidence=0.5,
        time=1_700_000_000.25,
        language="es",
    )


def python(code, *arguments):
    return (sys.executable, "-c", code, *arguments)


@pytest.fixture
def made():
    """A runner of a command; what it publishes; it is let go of in the end."""
    runners = []

    def make(command, seconds=LONG):
        published = []
        runner = OnFinal(lambda: Service(on_final=command, on_final_seconds=seconds), published.append)
        runners.append(runner)
        return runner, published

    yield make
    for runner in runners:
        runner.finish(0)


def test_text_is_standard_input_and_no_shell_sees_it(made, tmp_path):
    written = tmp_path / "written"
    code = "import os, sys; open(sys.argv[1], 'a').write(sys.stdin.read() + ' '.join(sorted(k + '=' + v for k, v in "
    code += "os.environ.items() if k.startswith('RTSTREAM_')) + [sys.argv[2]]) + '\\n')"
    runner, published = made(python(code, str(written), "$HOME; `x`"))
    for event in (final(1), final(2, ""), final(3, "$(rm x) \"quoted\" 'too' é")):
        runner.submit(event)
    runner.finish(LONG)
    about = "RTSTREAM_CONFIDENCE=0.500 RTSTREAM_LANGUAGE=es RTSTREAM_SEGMENT={} RTSTREAM_TIME=2023-11-14T22:13:20.250Z"
    about += " $HOME; `x`"
    assert written.read_text().splitlines() == [
        "final 1",
        about.format(1),
        "$(rm x) \"quoted\" 'too' é",
        about.format(3),
    ]
    assert published == []


def test_failure_is_a_fault_until_it_works_again(made, tmp_path):
    code = "import os, sys; os.path.exists(sys.argv[1]) or sys.exit('no note can be written')"
    runner, published = made(python(code, str(tmp_path / "there")))
    told = threading.Event()
    runner._publish = lambda fault: (published.append(fault), told.set())
    runner.submit(final(1))
    assert told.wait(LONG)
    (tmp_path / "there").touch()
    runner.submit(final(2))
    runner.finish(LONG)
    name = f"on_final: {sys.executable}"
    assert published == [
        Fault("ON_FINAL_FAILED", f"{name} has failed with exit code 1: no note can be written"),
        Fault("ON_FINAL_FAILED", f"{name} works again", recovered=True),
    ]


def test_thread_that_cannot_be_started_is_a_fault_and_tried_again(made, monkeypatch):
    runner, published = made(python("pass"))

    def start(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", start)
        runner.submit(final(1))
    (fault,) = published
    assert "can't start new thread" in fault.message
    runner.submit(final(2))
    runner.finish(LONG)
    assert [fault.recovered for fault in published] == [False, True]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/no/such/program",), "cannot be started: No such file or directory; check service.on_final"),
        (("nul\0byte",), "cannot be started: embedded null byte; check service.on_final"),
        (python("import os; os.abort()"), "was ended by signal 6"),
        (python("import os; os.close(0); raise SystemExit(3)"), "has failed with exit code 3"),
    ],
)
def test_what_goes_wrong_is_one_line(made, command, said):
    runner, published = made(command)
    runner.submit(final(1, "x" * 1_000_000))
    runner.finish(LONG)
    (fault,) = published
    assert fault.message.endswith(said)
    assert "\n" not in fault.message


def test_command_that_hangs_is_ended_with_what_it_started(made, tmp_path):
    started = tmp_path / "pids"
    code = "import os, subprocess, sys, time; child = subprocess.Popen(['sleep', '1000']); "
    code += "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}'); time.sleep(1000)"
    runner, published = made(python(code, str(started)), seconds=5.0)
    runner.submit(final(1))
    runner.finish(LONG)
    (fault,) = published
    assert "was not done after 5 s and was ended" in fault.message
    deadline = time.monotonic() + 60
    while not all(map(_is_gone, pids(started))) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert all(map(_is_gone, pids(started)))


def pids(file):
    return file.read_text().split() if file.exists() else []


def _is_gone(number):
    """Whether a process has ended; its state may wait for whoever started it."""
    try:
        with open(f"/proc/{number}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_finals_that_come_faster_than_the_command_are_passed_over_and_told(made, tmp_path, monkeypatch):
    monkeypatch.setattr(on_final, "WAITING", 3)
    go, written = tmp_path / "go", tmp_path / "written"
    code = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
    code += "open(sys.argv[2], 'a').write(sys.stdin.read())"
    runner, published = made(python(code, str(go), str(written)))
    runner.submit(final(0))
    with runner._changed:
        assert runner._changed.wait_for(lambda: runner._busy or not runner._waiting, LONG)
    for number in range(1, 9):
        runner.submit(final(number))
    go.touch()
    runner.finish(LONG)
    assert written.read_text().splitlines() == [f"final {number}" for number in (0, 6, 7, 8)]
    assert [fault.message.rpartition(" takes ")[2] for fault in published] == [
        "longer than people talk: 5 finals were passed over",
        published[1].message.rpartition(" takes ")[2],
    ]
    assert published[1].recovered


def test_service_runs_it_for_every_final_to_its_end(serve, tmp_path):
    written = tmp_path / "written"
    command = json.dumps(python("import sys; open(sys.argv[1], 'a').write(sys.stdin.read())", str(written)))
    settings = f"[service]\non_final = {command}\non_final_seconds = 600.0\ndrain_seconds = 600.0\n"
    daemon = serve("--source", f"wav:{DATA / 'libri-669-long.flac'}?speed=max", settings=settings).ready()
    subscriber = daemon.subscribe(from_start=True)
    until(lambda: len(subscriber.of("final")) >= 4, "finals")
    assert daemon.stop() == 0
    texts = [event.text for event in subscriber.of("final") if event.text]
    assert len(texts) >= 4
    assert written.read_text().splitlines() == texts
    assert not subscriber.of("fault")


def test_end_of_the_service_ends_the_command(made):
    runner, published = made(python("import time; time.sleep(1000)"))
    runner.submit(final(1))
    with runner._changed:
        assert runner._changed.wait_for(lambda: runner._process is not None, LONG)
    runner.finish(0)
    runner._thread.join(LONG)
    assert not runner._thread.is_alive()
    assert "was ended by signal 9" in published[0].message
    runner.submit(final(2))
    assert not runner._waiting
