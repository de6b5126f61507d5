"""A plan's runs trained from one start and measured, each from where it stands: what ``rtstream ablation`` does."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from rtstream.constants import DEFAULT_CHUNK_MS
from rtstream.engine.open import load_bundle
from rtstream.errors import RtstreamError, TrainingError
from rtstream.evaluation.evaluate import evaluate, spread
from rtstream.export.bundles import save_bundle
from rtstream.nn.quantized import choose_engine
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.research.ablation.outcome import read_outcome, write_results, write_whole
from rtstream.research.ablation.plot import draw_ablation
from rtstream.research.ablation.table import ablation_table
from rtstream.training.core.loop import CHECKPOINT
from rtstream.training.corpus.data import find_shard
from rtstream.training.speech.run import load_checkpoint, load_start, make_trainer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rtstream.nn.model import SpeechModel
    from rtstream.research.ablation.outcome import Outcome
    from rtstream.research.ablation.plan import Plan, Run
    from rtstream.training.corpus.data import Clip
    from rtstream.training.speech.trainer import Trainer

TABLE, FIGURE, START = "table.md", "figure.png", "start.json"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a plan's runs are kept, each in a directory of its name, and what they need is found.

    ``audio`` are the folders of the shards, ``texts`` is that of the vocabulary's files, ``taught`` that of what the
    teacher made of clips. ``start``: a run, its checkpoint or a bundle, the teacher where it is None.
    """

    runs: Path
    audio: tuple[Path, ...]
    texts: Path
    teacher: Path
    taught: Path
    start: Path | None = None


class Viewer(Protocol):
    """Shows how it goes."""

    def doing(self, text: str) -> None:
        """Show what is being done, in place of what was before."""

    def done(self, text: str) -> None:
        """Show what has been done, for good."""

    def train(self, trainer: Trainer) -> bool:
        """Let the trainer run and show that. Returns whether it came to its last step."""


def run_plan(plan: Plan, places: Places, viewer: Viewer, *, arms: Collection[str], clips: int | None) -> bool:
    """Train and measure the runs of ``arms``, one after the other, and draw what there is after each.

    ``clips``: how many of each set are recognised, None for all. Returns False where training was stopped; the same
    call goes on. Raises TrainingError: at once where a set is missing; in the end, naming the runs that failed, when
    all others are done.
    """
    sets = {name: find_shard(places.audio, name) for name in plan.sets}
    failures: dict[str, str] = {}
    first: Exception | None = None
    going = True
    # What is fastest here can change from load to load: all are measured with what the first was.
    rows = (row for outcome in read_outcomes(plan, places.runs) for row in outcome.rows)
    engine = next((row["engine"] for row in rows), None) or choose_engine().name
    for run in plan.runs:
        if run.arm not in arms:
            continue
        try:
            going = _train(plan, run, places, viewer)
            if going:
                _measure(run, places, viewer, sets, clips, engine=engine)
        except Exception as error:  # noqa: BLE001  # the other arms can still be trained
            first = first or error
            failures[run.recipe.name] = _told_of(error)
            viewer.done(f"{run.recipe.name}: failed: {_told_of(error)}")
        draw(plan, places.runs, clips=clips, failures=failures)
        if not going:
            break
    if failures:
        whole = "; ".join(f"{name}: {failure}" for name, failure in failures.items())
        msg = f"{len(failures)} of {plan.name}'s {len(plan.runs)} runs failed, the same command tries again: {whole}"
        raise TrainingError(msg) from first
    return going


def redraw(plan: Plan, runs: Path, *, clips: int | None) -> Path:
    """Draw what is in ``runs``, on ``clips`` of each set, by default on as many as most has been measured on.

    Raises TrainingError where no run has been begun.
    """
    outcomes = read_outcomes(plan, runs)
    if not any(outcome.step or outcome.failure for outcome in outcomes):
        msg = f"{runs}: no run of {plan.name} has been begun there: nothing to draw yet"
        raise TrainingError(msg)
    counts = Counter(row["asked"] for outcome in outcomes for row in outcome.rows if row["set"] in plan.sets)
    if clips is None and counts:
        clips = counts.most_common(1)[0][0]
    return draw(plan, runs, clips=clips)


def draw(plan: Plan, runs: Path, *, clips: int | None, failures: Mapping[str, str] | None = None) -> Path:
    """Write table and figure of what there is into the plan's directory, each whole; ``failures`` by a run's name.

    Returns the table's path.
    """
    directory = runs / plan.name
    directory.mkdir(parents=True, exist_ok=True)
    outcomes = [
        replace(outcome, failure=(failures or {}).get(outcome.run.recipe.name, outcome.failure))
        for outcome in read_outcomes(plan, runs)
    ]
    drawn = draw_ablation(plan, outcomes, clips, directory / FIGURE)
    text = ablation_table(plan, outcomes, clips, start=_start_name(directory), figure=FIGURE if drawn else None)
    write_whole(directory / TABLE, text)
    return directory / TABLE


def read_outcomes(plan: Plan, runs: Path) -> list[Outcome]:
    """What has come of each run so far."""
    return [read_outcome(run, runs / run.recipe.name) for run in plan.runs]


def _train(plan: Plan, run: Run, places: Places, viewer: Viewer) -> bool:
    """Bring a run to its last step, if it is not there."""
    name, directory = run.recipe.name, places.runs / run.recipe.name
    outcome = read_outcome(run, directory)
    if outcome.failure is not None:
        raise TrainingError(outcome.failure)
    if outcome.finished:
        return True
    viewer.doing(f"{name}: reading teacher and data")
    start = None
    if not (directory / CHECKPOINT).exists():
        if places.start is not None:
            start = load_start(places.start)
        _keep_start(plan, places, start[0] if start is not None else None)
    trainer = make_trainer(
        run.recipe,
        directory=directory,
        audio=places.audio,
        texts=places.texts,
        teacher_directory=places.teacher,
        taught=places.taught,
        start=start,
        report=lambda shard, done, total: viewer.doing(f"{name}: {shard}: teacher has {done} of {total} clips"),
    )
    return viewer.train(trainer)


def _measure(
    run: Run, places: Places, viewer: Viewer, sets: Mapping[str, list[Clip]], asked: int | None, *, engine: str
) -> None:
    """Recognise what has not been, with the run's model as a bundle holds it, and keep the figures of each set."""
    name, directory = run.recipe.name, places.runs / run.recipe.name
    outcome = read_outcome(run, directory)
    missing = {key: clips for key, clips in sets.items() if outcome.measured(key, asked) is None}
    if not missing:
        return
    viewer.doing(f"{name}: writing its bundle")
    with TemporaryDirectory() as temporary:
        bundle = Path(temporary) / name
        save_bundle(bundle, name, *load_checkpoint(directory / CHECKPOINT), f"# {name}\n")
        loaded = load_bundle(bundle, engine)
    recognizer = Recognizer(loaded, RecognizerConfig(chunk_ms=DEFAULT_CHUNK_MS))
    rows = list(outcome.rows)
    for key, clips in missing.items():
        chosen = spread(clips, asked)
        score = evaluate(recognizer, _told(chosen, f"{name}: {key}", viewer))
        if not score.words:
            msg = f"{key}: none of {len(chosen)} clips has a text to compare with"
            raise TrainingError(msg)
        setting = {"set": key, "asked": asked, "taken": len(chosen), "of": len(clips)}
        rows.append(setting | {"engine": loaded.engine.name, "chunk_ms": DEFAULT_CHUNK_MS} | score.figures())
        write_results(outcome, directory, rows)
        viewer.done(f"{name}: {key}: WER {score.wer:.1f} % finals, {score.shown_wer:.1f} % partials as shown")


def _told_of(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text and isinstance(error, RtstreamError | OSError) else f"{type(error).__name__}: {text}"


def _told(clips: Sequence[Clip], what: str, viewer: Viewer) -> Iterator[Clip]:
    for number, clip in enumerate(clips, start=1):
        viewer.doing(f"{what}: clip {number} of {len(clips)}")
        yield clip


def _keep_start(plan: Plan, places: Places, model: SpeechModel | None) -> None:
    """Note what the plan's runs start from. Raises TrainingError where others of them started from something else."""
    path = places.runs / plan.name / START
    start = {"name": "teacher", "weights": ""}
    if places.start is not None and model is not None:
        within = places.start.parent if places.start.name == CHECKPOINT else places.start
        start = {"name": within.resolve().name, "weights": _fingerprint(model)}
    begun = any((places.runs / run.recipe.name / CHECKPOINT).exists() for run in plan.runs)
    if not path.exists() or not begun:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(start) + "\n")
    known = json.loads(path.read_text(encoding="utf-8"))
    if known["weights"] != start["weights"]:
        msg = (
            f"{places.start or 'the teacher'}: other runs of {plan.name} started from {known['name']}, other weights: "
            "give the same --from to all, or another --out"
        )
        raise TrainingError(msg)


def _start_name(directory: Path) -> str | None:
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads((directory / START).read_text(encoding="utf-8"))["name"])
    return None


def _fingerprint(model: SpeechModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
