"""``rtstream train``: a run from a recipe, shown while it goes on, and kept however it ends."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from rich.console import Console

    from rtstream.training.core.loop import Loop

CACHE = Path("~/.cache/rtstream")
SHARED = Path("../shared/data")
RUN_OPTIONS = (
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        multiple=True,
        default=(SHARED / "audio", CACHE / "audio"),
        show_default=True,
        help="Directory of the shards that the recipe names, each a .tar and a .jsonl; may be given more than once, "
        "the first that has a shard counts.",
    ),
    click.option(
        "--texts",
        type=click.Path(path_type=Path),
        multiple=True,
        default=(SHARED / "text", CACHE / "text"),
        show_default=True,
        help="Directory of the texts that a vocabulary is made of, and of a translation's pairs; may be given more "
        "than once, the first that has a file counts.",
    ),
    click.option(
        "--teacher",
        type=click.Path(path_type=Path),
        default=CACHE / "teacher" / "whisper-base",
        show_default=True,
        help="Directory of a Whisper checkpoint: Hugging Face safetensors or CTranslate2.",
    ),
    click.option(
        "--from",
        "start",
        type=click.Path(path_type=Path),
        help="Where a new run starts: another run (its directory or checkpoint) or a bundle.  [default: the "
        "teacher; for translation, nothing]",
    ),
    click.option(
        "--threads", type=click.IntRange(1), help="Threads that compute, of each process.  [default: torch's own]"
    ),
)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add RUN_OPTIONS, what a run is made of and the threads, to a click command."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  rtstream train base
  rtstream train en-x-small --threads 2
  rtstream train en-x-small --from models/en-x-small --out further
  rtstream train shared.toml --from ~/.cache/rtstream/runs/base --threads 2
  torchrun --nproc-per-node 2 --no-python rtstream train base
"""
)
@click.argument("recipe")
@run_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help=f"Directory of the run.  [default: {CACHE / 'runs' / 'NAME'}]",
)
@click.option(
    "--lattice",
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="The bundle of few bits a weight whose numbers the matrices learn to be: for a recipe with lattice = true.",
)
@click.option(
    "--guide",
    metavar="RUN|BUNDLE",
    type=click.Path(path_type=Path),
    help="The model whose decoder is imitated: for a recipe with decoder.guided = true.",
)
@click.option("--plot", is_flag=True, help="Only draw the curves of the run as it stands.")
def command(
    recipe: str,
    *,
    data: tuple[Path, ...],
    texts: tuple[Path, ...],
    teacher: Path,
    start: Path | None,
    out: Path | None,
    lattice: Path | None,
    guide: Path | None,
    threads: int | None,
    plot: bool,
) -> None:
    """Train a model as RECIPE says: a TOML file, or the name of a shipped recipe.

    The run's directory gets checkpoint.pt, metrics.jsonl (a line a step) and curves.png. A run that was stopped, by
    Ctrl-C, SIGTERM or worse, goes on from its last checkpoint when the same command is given again.
    """
    # Here, because torch takes seconds that --help does without. Plots first: what the extra [train] brings must be
    # there before hours have gone into a run.
    import torch  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from rtstream.export.rounding import rounded_tensors  # noqa: PLC0415
    from rtstream.training.core.loop import join_processes  # noqa: PLC0415
    from rtstream.training.core.plots import CURVES, draw_curves  # noqa: PLC0415
    from rtstream.training.recipe import find_recipe, load_recipe  # noqa: PLC0415
    from rtstream.training.speech.lattice import Lattice  # noqa: PLC0415
    from rtstream.training.speech.run import load_start, make_trainer  # noqa: PLC0415
    from rtstream.training.text.recipe import TranslationRecipe  # noqa: PLC0415
    from rtstream.training.text.translation import load_translation_start, make_translation_trainer  # noqa: PLC0415

    loaded = load_recipe(find_recipe(recipe))
    directory = (CACHE / "runs" / loaded.name if out is None else out).expanduser()
    if plot:
        files = [directory / name for name in CURVES]
        if not draw_curves(*files):
            raise click.ClickException(f"{files[0]}: no steps to draw yet")
        click.echo(files[-1])
        return

    if threads is not None:
        torch.set_num_threads(threads)
    rank, world = join_processes()
    console = Console(stderr=True, quiet=rank > 0)
    folders = [folder.expanduser() for folder in texts]
    trainer: Loop
    shards = [folder.expanduser() for folder in data]
    if isinstance(loaded, TranslationRecipe):
        console.print(f"{loaded.name}: reading pairs", highlight=False)
        trainer = make_translation_trainer(
            loaded,
            directory=directory,
            texts=folders,
            start=None if start is None else load_translation_start(start.expanduser()),
            rank=rank,
            world=world,
        )
    else:
        console.print(f"{loaded.name}: reading teacher and data", highlight=False)
        with console.status("") as status:
            trainer = make_trainer(
                loaded,
                directory=directory,
                audio=shards,
                texts=folders[0],
                teacher_directory=teacher.expanduser(),
                taught=(CACHE / "taught").expanduser(),
                start=None if start is None else load_start(start.expanduser()),
                guide=None if guide is None else load_start(guide.expanduser()),
                lattice=None if lattice is None else Lattice(rounded_tensors(lattice.expanduser())),
                rank=rank,
                world=world,
                report=lambda shard, done, total: status.update(f"{shard}: teacher has {done} of {total} clips"),
            )
    show_run(trainer, console)


def show_run(trainer: Loop, console: Console) -> bool:
    """Let a run go on to its last step, or to a signal, shown on ``console``, its metrics and curves kept beside it.

    Returns whether it came to its last step.
    """
    from rtstream.cli.training_progress import TrainingProgress  # noqa: PLC0415  # as above
    from rtstream.cli.writing import writing  # noqa: PLC0415
    from rtstream.training.core.loop import write_metrics  # noqa: PLC0415
    from rtstream.training.core.plots import CURVES, draw_curves  # noqa: PLC0415

    if trainer.step:
        console.print(f"{trainer.directory}: goes on after step {trainer.step}", highlight=False)
    metrics, scores, curves = (trainer.directory / name for name in CURVES)
    write = write_metrics(metrics, trainer.step) if trainer.batches.rank == 0 else None

    steps = trainer.recipe.optimizer.steps
    with TrainingProgress(console, steps=steps, done=trainer.step) as progress, stop_on_signals() as stopped:

        def report(step: dict[str, object]) -> None:
            if write is not None:
                write(step)
            progress.report(step)

        with writing(trainer.directory):
            finished = trainer.run(report, stopped=stopped, saved=lambda: draw_curves(metrics, scores, curves))
    how = "finished" if finished else "stopped; the same command goes on"
    console.print(f"{trainer.checkpoint}: step {trainer.step}, {trainer.progress}; {how}", highlight=False)
    return finished


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within, the first SIGINT or SIGTERM only makes the value tell True; a second SIGINT interrupts as usual."""
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def receive(number: int, _: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    for number in previous:
        signal.signal(number, receive)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
