"""The ``rtstream`` program: finds the command, runs it, and turns every failure into one line and an exit code."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import select
import sys
import traceback
from typing import TYPE_CHECKING

import click

from rtstream import __version__
from rtstream.cli.standard_streams import OutputError, abandon_output, hold_standard_streams
from rtstream.errors import RtstreamError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Mapping[str, tuple[str, str]] = {
    "replay": ("rtstream.cli.replay", "Transcribe audio files, partial by partial."),
    "serve": ("rtstream.cli.serve", "Listen all day and serve any number of subscribers."),
    "listen": ("rtstream.cli.listen", "Show what a running service hears."),
    "notes": ("rtstream.cli.notes", "Write what a running service hears into a Markdown file a day."),
    "transcribe": ("rtstream.cli.transcribe", "Transcribe audio files with a running service."),
    "status": ("rtstream.cli.status", "Ask a running service how it is."),
    "mute": ("rtstream.cli.mute", "Have a running service drop what its microphone hears."),
    "unmute": ("rtstream.cli.unmute", "Have it listen again."),
    "devices": ("rtstream.cli.devices", "List the microphones of this machine."),
    "doctor": ("rtstream.cli.doctor", "Check what the service needs, and say what to do."),
    "config": ("rtstream.cli.config", "Show and check the settings of the service."),
    "bench": ("rtstream.cli.bench", "Measure speed, delay and memory on this machine."),
    "eval": ("rtstream.cli.eval", "Measure word and character error rates on test sets."),
    "eval-translation": ("rtstream.cli.eval_translation", "Measure translations, whole and while people speak."),
    "train": ("rtstream.cli.train", "Train a model from a recipe."),
    "ablation": ("rtstream.cli.ablation", "Train several structures on equal terms and compare them."),
    "model": ("rtstream.cli.model", "Look into a model, or make one."),
}
"""Every command: its module, which holds the click command as ``command``, and the line that describes it."""

ADVICE = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EBADF: "send it to a file or another program",
    errno.EACCES: "check its owner and mode",
}
"""What to do about what the system says."""

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130
"""What shells report for a program that SIGINT ended: 128 + 2."""
EXIT_BROKEN_PIPE = 141
"""What shells report for a program that SIGPIPE ended: 128 + 13."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is asked for, so that ``--help`` is quick."""

    def __init__(self, table: Mapping[str, tuple[str, str]], **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # click's own options, passed on as they came
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands' names, in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Import the module of ``cmd_name`` and take its command."""
        if cmd_name not in self._table:
            return None
        command = importlib.import_module(self._table[cmd_name][0]).command
        if not isinstance(command, click.Command):
            message = f"{self._table[cmd_name][0]}.command is not a click command"
            raise TypeError(message)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but for a name that is almost right."""
        name = args[0]
        if name not in self._table and not name.startswith("-"):
            close = difflib.get_close_matches(name, self._table, 1)
            ctx.fail(f"there is no command '{name}'" + (f"; did you mean '{close[0]}'?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """Write the table; click itself would import every module for its first line of help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._table.items()])


@click.command(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="'rtstream COMMAND --help' shows the options of a command and an example.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="Least severity of what is logged to standard error.",
)
@click.version_option(__version__, prog_name="rtstream")
def cli(log_level: str) -> None:
    """Streaming speech recognition on the device itself: no cloud, no account, audio never leaves."""
    from rtstream.logging import configure  # noqa: PLC0415  # --help and --version do without

    configure(log_level)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with ``argv`` (by default the process's own) and return its exit code."""
    hold_standard_streams()
    return run(cli, sys.argv[1:] if argv is None else argv)


def run(command: click.Command, argv: Sequence[str]) -> int:
    """Run ``command`` and return the exit code: whatever goes wrong is one line on standard error.

    A command reports that it failed by raising RtstreamError, or by ``ctx.exit(code)`` after its own report.
    RTSTREAM_DEBUG=1 in the environment adds the traceback.
    """
    try:
        code = _invoke(command, argv)
        sys.stdout.flush()  # here a reader that has gone can still be handled; at interpreter exit it cannot
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the outermost frame: nobody else would report it
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            return EXIT_BROKEN_PIPE
        if isinstance(error, OutputError):
            abandon_output()
        if os.environ.get("RTSTREAM_DEBUG") == "1":
            traceback.print_exc()
        click.echo(f"rtstream: error: {_one_line(error)}", err=True)
        return EXIT_FAILURE
    return code


def _invoke(command: click.Command, argv: Sequence[str]) -> int:
    """Do what click's own ``main`` does, without its handling of interrupts and broken pipes."""
    try:
        with command.make_context("rtstream", list(argv)) as context:
            command.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.message = printable(error.message)  # type: ignore[misc]  # what the user wrote is in it
        error.show()
        return error.exit_code
    return 0


def _one_line(error: Exception) -> str:
    """What to tell the user about ``error``."""
    text = printable(" ".join(str(error).split()))
    match error:
        case OSError(filename=str(name), strerror=str(reason)):
            advice = ADVICE.get(error.errno or 0)
            return f"{printable(name)}: {reason}" + (f"; {advice}" if advice else "")
        case RtstreamError() | OSError():
            return text or type(error).__name__
        case ModuleNotFoundError(name=str(name)) if not name.startswith("rtstream"):
            return f"the Python package that provides '{name}' is not installed: pip install 'rtstream[train]' may help"
        case _:
            return f"internal error, {type(error).__name__}: {text} (RTSTREAM_DEBUG=1 shows where)"


def _reader_has_gone() -> bool:
    """Whether the pipe that broke is standard output; if so, drop what is still to be written there.

    Otherwise the interpreter's last flush would fail on it again, and say so.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors alone, which need not be asked for
    if not poll.poll(0):
        return False
    abandon_output()
    return True
