"""The program around the commands: help, version, exit codes, one-line errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rtstream import __version__
from rtstream.cli.main import COMMANDS, LazyGroup, main, run
from rtstream.errors import AudioError


def failing(error: BaseException) -> click.Command:
    """Make a command that raises ``error``."""

    @click.command
    def command() -> None:
        raise error

    return command


def test_help_lists_every_command_with_its_summary(capsys):
    assert main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} {summary}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"rtstream {name} " in shown.split("Example", 1)[1]
    assert "daemon" not in shown  # it is the service, everywhere


def test_version_is_the_package_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rtstream, version {__version__}\n"


def test_group_imports_the_module_of_the_asked_command_only():
    group = LazyGroup(
        {"wanted": ("json_command_for_test", "Here."), "other": ("no_such_module_anywhere", "Not here.")}, name="group"
    )
    module = type(sys)("json_command_for_test")
    module.command = click.Command("wanted", callback=lambda: None)
    sys.modules[module.__name__] = module
    try:
        assert run(group, ["wanted"]) == 0
        assert run(group, ["--help"]) == 0
    finally:
        del sys.modules[module.__name__]


def test_no_arguments_shows_help_and_fails(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_unknown_command_is_a_usage_error(capsys):
    assert main(["no-such-command"]) == 2
    assert "no-such-command" in capsys.readouterr().err


def test_command_that_is_almost_right_is_suggested(capsys):
    assert main(["reply", "talk.flac"]) == 2
    assert "there is no command 'reply'; did you mean 'replay'?" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["re\x1b[31m", "--form\x1b[31m"])
def test_what_a_terminal_would_obey_is_printed_escaped(argument, capsys):
    assert main(["replay" if argument.startswith("-") else argument, argument]) == 2
    shown = capsys.readouterr().err
    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown


def test_names_that_are_no_text_are_escaped_in_errors():
    assert str(AudioError("a\x1b[31m\tb\n\udcff: no")) == "a\\x1b[31m b \\xff: no"


def program(*arguments, **streams):
    command = [sys.executable, "-c", "import sys; from rtstream.cli.main import main; sys.exit(main())", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **streams)


@pytest.mark.parametrize("arguments", [["config", "show"], ["--version"]])
def test_full_disk_is_told_with_the_name_of_the_file(arguments):
    with Path("/dev/full").open("w") as full:
        done = program(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "rtstream: error: /dev/full: No space left on device; free some space, or write elsewhere\n"


def test_closed_output_is_told():
    done = program("config", "show", preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert done.stderr == "rtstream: error: standard output: it is closed; send it to a file or another program\n"


def test_closed_streams_are_not_taken_by_the_next_file(tmp_path):
    # Else what is printed would be written into it.
    code = """
import os, sys
from rtstream.cli.main import main
main(["--version"])
with open(sys.argv[1], "w") as file:
    os.write(2, b"to nobody")
    sys.exit(file.fileno() < 3)
"""
    command = [sys.executable, "-c", code, tmp_path / "file"]
    done = subprocess.run(command, check=False, preexec_fn=lambda: os.closerange(0, 3))
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "")


def test_own_error_is_one_line_and_exit_code_1(capsys):
    assert run(failing(AudioError("talk.wav: not audio\n  that we can read")), []) == 1
    captured = capsys.readouterr()
    assert captured.err == "rtstream: error: talk.wav: not audio that we can read\n"
    assert captured.out == ""


def test_system_error_is_one_line(capsys):
    assert run(failing(OSError(28, "No space left on device", "out.srt")), []) == 1
    told = capsys.readouterr().err
    assert told == "rtstream: error: out.srt: No space left on device; free some space, or write elsewhere\n"


def test_unforeseen_error_is_one_line_that_says_how_to_see_more(capsys, monkeypatch):
    monkeypatch.delenv("RTSTREAM_DEBUG", raising=False)
    assert run(failing(ZeroDivisionError("division by zero")), []) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("rtstream: error: internal error, ZeroDivisionError: division by zero")
    assert "RTSTREAM_DEBUG=1" in shown
    assert shown.count("\n") == 1


def test_missing_package_is_named(capsys):
    assert run(failing(ModuleNotFoundError("No module named 'jiwer'", name="jiwer")), []) == 1
    shown = capsys.readouterr().err
    assert "'jiwer'" in shown
    assert "rtstream[train]" in shown
    assert shown.count("\n") == 1


def test_debug_adds_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("RTSTREAM_DEBUG", "1")
    assert run(failing(AudioError("talk.wav: not audio")), []) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("rtstream: error: talk.wav: not audio\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupt_is_silent_and_exits_as_shells_expect(error, capsys):
    assert run(failing(error), []) == 130
    assert capsys.readouterr() == ("", "")


def test_command_may_choose_its_exit_code():
    @click.command
    @click.pass_context
    def command(ctx: click.Context) -> None:
        ctx.exit(3)

    assert run(command, []) == 3


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("lines", [1, 100_000])
def test_reader_that_leaves_early_is_no_error(lines, buffered):
    # If buffered, one line is still buffered when the command returns, many fill the pipe before.
    program = f"""
import sys, click
from rtstream.cli.main import run
@click.command
def command():
    sys.stdin.read()  # until the reader has gone
    for n in range({lines}):
        sys.stdout.write("line\\n")
sys.exit(run(command, []))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"},
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_broken_pipe_that_is_not_standard_output_is_an_error(capfd):
    assert run(failing(BrokenPipeError(32, "Broken pipe")), []) == 1
    assert capfd.readouterr().err == "rtstream: error: [Errno 32] Broken pipe\n"


def test_log_goes_to_standard_error_as_json_when_it_is_no_terminal():
    program = """
import structlog
from rtstream.logging import configure
configure("info")
log = structlog.get_logger()
log.debug("unseen")
log.info("engine chosen", engine="onednn")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b""
    (line,) = done.stderr.splitlines()
    entry = json.loads(line)
    assert entry.pop("timestamp")
    assert entry == {"event": "engine chosen", "engine": "onednn", "level": "info"}


def test_help_imports_nothing_heavy():
    program = """
import sys
from rtstream.cli.main import main
assert main(["--help"]) == 0
heavy = {"torch", "numpy", "soundfile", "soxr", "rich", "structlog", "pydantic"} & sys.modules.keys()
sys.exit(", ".join(heavy) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
