"""``rtstream serve``: the options; the work is done in ``rtstream.daemon``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click


@click.command(
    epilog="""\b
Examples:
  rtstream serve
  rtstream serve --source mic:USB --listen unix:/run/rtstream/rtstream.sock
  rtstream serve --source 'wav:talk.flac?speed=max' --listen 127.0.0.1:7660 --metrics 127.0.0.1:9660
  arecord -t raw -f S16_LE -r 16000 | rtstream serve --source '-?rate=16000'

\b
Exit codes:
  0   stopped by SIGTERM or SIGINT, everything that was said is published
  1   an error that nobody foresaw
  2   wrong options
  66  the file that is the source cannot be played
  69  an address cannot be listened on
  75  stopped, but what was said last could not be recognised in service.drain_seconds
  78  wrong settings
"""
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings in TOML.  [default: /etc/rtstream/rtstream.toml, if it is there]",
)
@click.option(
    "--source",
    metavar="SOURCE",
    help="mic, mic:NAME, wav:FILE?speed=max&loop=1, fifo:PATH?rate=16000&pause=10&create=1, - or -?rate=16000.",
)
@click.option("--listen", multiple=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH; may be given several times.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Directory of a model bundle, or the name of one that ships."
)
@click.option("--language", metavar="LANGUAGE[,LANGUAGE...]", help="What may be spoken, such as es, or en,es; or auto.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve Prometheus metrics there.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    file: Path | None,
    source: str | None,
    listen: tuple[str, ...],
    model: Path | None,
    language: str | None,
    metrics: str | None,
) -> None:
    """Listen all day and serve any number of subscribers over gRPC.

    The service stays up when its device, its disk or its clients fail: it says so to subscribers and in
    'rtstream status', and goes on when they are back. A file is played once in real time, and the service stays up
    after it. SIGTERM publishes what was said last and ends it; SIGHUP reads the settings again. Options are stronger
    than the environment (RTSTREAM_SECTION__KEY), that than the file: see 'rtstream config --help'.
    """
    import asyncio  # noqa: PLC0415 - what --help does without

    from rtstream.recognizer.memory import bound_kernel_cache, keep_heap_small  # noqa: PLC0415

    keep_heap_small()
    bound_kernel_cache()
    import structlog  # noqa: PLC0415

    from rtstream.config import load  # noqa: PLC0415
    from rtstream.daemon.exits import ExitCode, exit_code  # noqa: PLC0415
    from rtstream.daemon.leaving import leave  # noqa: PLC0415
    from rtstream.daemon.run import Runner  # noqa: PLC0415
    from rtstream.errors import RtstreamError  # noqa: PLC0415

    given: dict[str, dict[str, Any]] = {
        "audio": {"source": source},
        "server": {"listen": listen or None},
        "recognition": {"model": model, "language": language},
        "metrics": {"listen": metrics},
        "log": {"level": _log_level(ctx)},
    }
    overrides = {name: {k: v for k, v in keys.items() if v is not None} for name, keys in given.items()}

    async def run() -> NoReturn:
        try:
            code = await Runner(lambda: load(file, overrides)).run()
        except RtstreamError as error:
            structlog.get_logger().debug("ended by an error", exc_info=True)
            click.echo(f"rtstream: error: {error}", err=True)
            code = exit_code(error)
        except Exception:  # noqa: BLE001 - the process ends here, with this entry in the log
            structlog.get_logger().exception("an error of the service")
            code = ExitCode.FAILED
        leave(code)

    asyncio.run(run())


def _log_level(ctx: click.Context) -> str | None:
    """The program's own --log-level, if it was given; its default is not the service's."""
    root = ctx.find_root()
    given = root.get_parameter_source("log_level") is click.core.ParameterSource.COMMANDLINE
    return str(root.params["log_level"]) if given else None
